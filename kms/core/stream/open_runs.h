#ifndef KEYHOP_KMS_CORE_STREAM_OPEN_RUNS_H_
#define KEYHOP_KMS_CORE_STREAM_OPEN_RUNS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/types.h"

namespace keyhop {

// The leased bytes of a stream's source, as runs of bytes that touch: keys are taken from the
// front, each from one run. What a draw costs does not depend on how much there is.
//
// Invariant: a byte is taken at most once, and erased here as it is.
//
// Pure. Not thread-safe. Times may not go back. Sizes are in bytes; a key takes whole words.
class OpenRuns {
 public:
  uint64_t bytes() const { return bytes_; }
  size_t size() const { return runs_.size(); }
  // Of these bytes, those in keys of so many bytes: without ends of runs that are too short.
  uint64_t UsableBytes(uint64_t key_bytes) const;
  uint64_t Drawable(Instant now, uint32_t key_bytes) const;
  // Whether one of them after the other can be taken, each from the first run that has it.
  bool HoldsEach(Instant now, const std::vector<uint32_t>& key_bytes) const;
  std::optional<Instant> FirstEnd() const;

  // Leases are added in their order; `after` is the write that has to be durable before any of
  // these bytes is drawn.
  void Add(uint64_t epoch, uint64_t begin, SecretBytes bytes, Instant ends, WriteSeq after);

  struct Drawn {
    uint64_t epoch = 0;
    uint64_t offset = 0;
    SecretBytes key;
  };
  struct Draft {
    std::vector<Drawn> keys;
    WriteSeq after = 0;
  };
  // `number` keys, all; nothing, with nothing taken, if there are not as many.
  std::optional<Draft> Take(Instant now, uint64_t number, uint32_t key_bytes);
  // One key of each length, in order; HoldsEach(now, key_bytes).
  Draft TakeEach(Instant now, const std::vector<uint32_t>& key_bytes);

  // ---- What is given up; these return how many bytes that was.
  uint64_t BurnAll();
  uint64_t BurnExpired(Instant now);
  uint64_t BurnEpochsUpTo(uint64_t epoch);
  // Of the runs shorter than that the oldest, until all of them together have `keep_bytes`.
  uint64_t BurnShort(uint64_t shorter_than, uint64_t keep_bytes);

 private:
  struct Run {
    uint64_t epoch = 0;
    uint64_t begin = 0;
    uint64_t drawn = 0;  // Bytes from `begin` that are gone.
    SecretBytes bytes;
    Instant ends;
    WriteSeq after = 0;
    uint64_t left() const { return bytes.size() - drawn; }
  };
  uint64_t UsableOf(const Run& run) const { return run.left() / step_ * step_; }
  void Count(const Run& run);
  void Discount(const Run& run);
  Drawn TakeFrom(Run& run, uint32_t key_bytes);
  template <typename Goes>
  uint64_t BurnIf(Goes goes);

  std::deque<Run> runs_;
  uint64_t bytes_ = 0;
  // UsableBytes of the length that was asked for last: it is asked at each draw.
  mutable uint64_t step_ = 4;
  mutable uint64_t usable_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_OPEN_RUNS_H_
