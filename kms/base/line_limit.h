#ifndef KEYHOP_KMS_BASE_LINE_LIMIT_H_
#define KEYHOP_KMS_BASE_LINE_LIMIT_H_

#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "kms/base/instant.h"
#include "kms/base/mutex.h"

namespace keyhop {

// Bounds how many lines strangers can make a log write: `lines` in each `window`. Thread-safe.
class LineLimit {
 public:
  LineLimit(int lines, Duration window) : lines_(lines), window_(window) {}

  // Whether one more line may be written now; if so, how many were withheld since the last one.
  std::optional<uint64_t> Take(Instant now) {
    MutexLock lock(mu_);
    if (!begun_.has_value() || now >= *begun_ + window_) {
      begun_ = now;
      taken_ = 0;
    }
    if (taken_ >= lines_) {
      ++withheld_;
      return std::nullopt;
    }
    ++taken_;
    const uint64_t withheld = withheld_;
    withheld_ = 0;
    return withheld;
  }

 private:
  const int lines_;
  const Duration window_;
  Mutex mu_;
  std::optional<Instant> begun_ ABSL_GUARDED_BY(mu_);
  int taken_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t withheld_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_LINE_LIMIT_H_
