#include "trusted_node/core/link/demand.h"

#include <algorithm>

namespace keyhop {
namespace {

constexpr Duration kWindow = Duration::Millis(250);
constexpr Duration kShortageLife = Duration::Seconds(2);
constexpr uint64_t kFirstLeaseBytes = 16 * 1024;
constexpr int64_t kWindowsMax = 32;  // After as many idle windows nothing is left of a rate.

}  // namespace

Demand::Demand(uint64_t lease_min, uint64_t lease_max)
    : lease_min_(lease_min), lease_max_(lease_max), rate_(kFirstLeaseBytes / 2) {}

void Demand::Roll(Instant now) {
  if (!window_began_) window_began_ = now;
  const Duration elapsed = now - *window_began_;
  if (shortage_ != 0 && now >= short_until_) shortage_ = 0;
  if (elapsed < kWindow) return;
  const uint64_t sample = used_ * 1000 / static_cast<uint64_t>(elapsed.millis());
  const int64_t windows = std::min(elapsed.ns / kWindow.ns, kWindowsMax);
  for (int64_t i = 0; i < windows; ++i) rate_ = (rate_ * 3 + sample) / 4;
  used_ = 0;
  window_began_ = now;
}

void Demand::Used(Instant now, uint64_t bytes) {
  Roll(now);
  used_ += bytes;
  if (bytes >= shortage_) shortage_ = 0;
}

void Demand::FellShort(Instant now, uint64_t bytes) {
  Roll(now);
  shortage_ = std::max(shortage_, std::min(bytes, 2 * lease_max_));
  short_until_ = now + kShortageLife;
}

uint64_t Demand::Wanted(Instant now, uint64_t free) {
  Roll(now);
  const uint64_t target = std::clamp(2 * rate_ + shortage_, lease_min_, lease_max_);
  return free >= std::max(target / 2, shortage_) ? 0 : target;
}

uint64_t Demand::WantedAtLeast(Instant now, uint64_t free) {
  Roll(now);
  const uint64_t least = std::max(lease_min_, std::min(shortage_, lease_max_));
  return free >= std::max(least / 2, shortage_) ? 0 : least;
}

void Demand::Reset() { shortage_ = 0; }

}  // namespace keyhop
