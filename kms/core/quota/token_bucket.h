#ifndef KEYHOP_KMS_CORE_QUOTA_TOKEN_BUCKET_H_
#define KEYHOP_KMS_CORE_QUOTA_TOKEN_BUCKET_H_

#include <cstdint>
#include <optional>

#include "kms/base/instant.h"

namespace keyhop {

// A bucket of tokens that fills at a fixed rate up to its burst. Whole numbers only, and exact:
// what is gained between two looks, parts of a token too, does not hang on how often one looks. In
// any span it gives at most its burst and what the rate brings in that span.
//
// Pure. Not thread-safe. Time may not go back between calls.
class TokenBucket {
 public:
  // More would overflow in the arithmetic.
  static constexpr uint64_t kRateMax = 10'000'000'000;

  // Full at `now`. `per_s` from 1 to kRateMax; `burst` from 1 to what comes in 10^9 seconds.
  TokenBucket(Instant now, uint64_t per_s, uint64_t burst);

  uint64_t burst() const { return burst_; }
  uint64_t LevelAt(Instant now) const;
  // Takes `n` tokens; or takes nothing and returns false.
  bool Take(Instant now, uint64_t n);
  // Gives back what was taken and not used. The level is then what it would have been without.
  void GiveBack(Instant now, uint64_t n);
  // From when on `n` are there, if nobody takes any until then; nothing: more than the burst.
  std::optional<Instant> When(Instant now, uint64_t n) const;
  // Another rate and burst from `now` on; what is there stays, up to the new burst.
  void Set(Instant now, uint64_t per_s, uint64_t burst);

 private:
  struct Level {
    uint64_t tokens = 0;
    uint64_t parts = 0;  // Of a token: billionths.
  };
  Level At(Instant now) const;
  void Refill(Instant now);

  uint64_t per_s_;
  uint64_t burst_;
  Level level_;
  Instant at_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_QUOTA_TOKEN_BUCKET_H_
