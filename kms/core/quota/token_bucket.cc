#include "kms/core/quota/token_bucket.h"

#include <algorithm>

#include "kms/base/check.h"

namespace keyhop {
namespace {

// To fill a bucket: within what an Instant can say.
constexpr uint64_t kSecondsMax = 1'000'000'000;
constexpr uint64_t kParts = 1'000'000'000;  // Of a token, and nanoseconds of a second.

}  // namespace

TokenBucket::TokenBucket(Instant now, uint64_t per_s, uint64_t burst)
    : per_s_(per_s), burst_(burst), level_{burst, 0}, at_(now) {
  KEYHOP_CHECK(per_s >= 1 && per_s <= kRateMax, "a rate within its range");
  KEYHOP_CHECK(burst >= 1 && burst / per_s <= kSecondsMax, "a burst within its range");
}

TokenBucket::Level TokenBucket::At(Instant now) const {
  if (now <= at_) return level_;
  const uint64_t gone = static_cast<uint64_t>((now - at_).ns);
  const uint64_t seconds = gone / kParts;
  const uint64_t missing = burst_ - level_.tokens;
  // So long a gap fills any bucket: the product below would be larger than that.
  if (seconds > missing / per_s_) return {burst_, 0};
  // At most kRateMax * 10^9 + 10^9 parts: within 64 bits.
  const uint64_t parts = per_s_ * (gone % kParts) + level_.parts;
  const uint64_t gained = per_s_ * seconds + parts / kParts;
  if (gained >= missing) return {burst_, 0};
  return {level_.tokens + gained, parts % kParts};
}

void TokenBucket::Refill(Instant now) {
  level_ = At(now);
  at_ = std::max(at_, now);
}

uint64_t TokenBucket::LevelAt(Instant now) const { return At(now).tokens; }

bool TokenBucket::Take(Instant now, uint64_t n) {
  Refill(now);
  if (level_.tokens < n) return false;
  level_.tokens -= n;
  return true;
}

void TokenBucket::GiveBack(Instant now, uint64_t n) {
  Refill(now);
  if (n >= burst_ - level_.tokens) {
    level_ = {burst_, 0};
  } else {
    level_.tokens += n;
  }
}

std::optional<Instant> TokenBucket::When(Instant now, uint64_t n) const {
  if (n > burst_) return std::nullopt;
  const Level level = At(now);
  if (level.tokens >= n) return now;
  // Whole seconds first, so that nothing overflows: what is left of it is at most a second's gain,
  // of which the parts at hand are taken off.
  const uint64_t seconds = (n - level.tokens - 1) / per_s_;
  const uint64_t parts = (n - level.tokens - seconds * per_s_) * kParts - level.parts;
  const uint64_t ns = parts / per_s_ + (parts % per_s_ == 0 ? 0 : 1);
  return now + Duration::Seconds(static_cast<int64_t>(seconds)) +
         Duration{static_cast<int64_t>(ns)};
}

void TokenBucket::Set(Instant now, uint64_t per_s, uint64_t burst) {
  Refill(now);
  const Level level = level_;
  *this = TokenBucket(std::max(at_, now), per_s, burst);
  if (level.tokens < burst) level_ = level;
}

}  // namespace keyhop
