#ifndef KEYHOP_KMS_CORE_KEYSTREAM_PACER_H_
#define KEYHOP_KMS_CORE_KEYSTREAM_PACER_H_

#include <algorithm>
#include <cstdint>

#include "kms/base/instant.h"

namespace keyhop {

// Keeps deliveries of equal size to an even pace of `rate_bps`, of which they may run ahead by as
// much as `jitter_bps` gives in a second (ETSI GS QKD 004: the largest deviation of the delivery
// rate). What is not taken in time is not saved up. Pure.
class Pacer {
 public:
  Pacer(uint32_t rate_bps, uint32_t jitter_bps, uint64_t bits)
      : step_{static_cast<int64_t>(bits * kSecond / std::max<uint32_t>(1, rate_bps))},
        ahead_{static_cast<int64_t>(jitter_bps * kSecond / std::max<uint32_t>(1, rate_bps))} {}

  // When the next one may go; not later than now: at once.
  Instant FreeAt() const { return due_ + Duration{-ahead_.ns}; }
  void Spend(Instant now) { due_ = std::max(now, due_) + step_; }

 private:
  static constexpr uint64_t kSecond = 1'000'000'000;
  Duration step_;
  Duration ahead_;
  Instant due_ = {};  // When an even pace would give the next one.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_KEYSTREAM_PACER_H_
