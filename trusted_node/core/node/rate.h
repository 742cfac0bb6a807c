#ifndef KEYHOP_TRUSTED_NODE_CORE_NODE_RATE_H_
#define KEYHOP_TRUSTED_NODE_CORE_NODE_RATE_H_

#include <algorithm>
#include <cstdint>
#include <deque>

#include "kms/base/instant.h"

namespace keyhop {

// How fast a total that only grows has grown during the last ten seconds. Pure, bounded.
class RecentRate {
 public:
  explicit RecentRate(Instant since = {}) : since_(since) {}

  // Noted whenever it may have grown.
  void Note(Instant now, uint64_t total) {
    const uint64_t grown = total - total_;
    total_ = total;
    if (grown == 0) return;
    while (!steps_.empty() && steps_.front().at + kWindow <= now) steps_.pop_front();
    if (steps_.empty() || steps_.back().at + kStep <= now) steps_.push_back({now, 0});
    steps_.back().grown += grown;
  }

  uint64_t PerSecond(Instant now) const {
    uint64_t grown = 0;
    for (const Step& step : steps_) {
      if (now < step.at + kWindow) grown += step.grown;
    }
    const Duration span = std::clamp(now - since_, kStep, kWindow);
    return grown * 1000 / static_cast<uint64_t>(span.millis());
  }

 private:
  static constexpr Duration kWindow = Duration::Seconds(10);
  static constexpr Duration kStep = Duration::Seconds(1);
  struct Step {
    Instant at;
    uint64_t grown = 0;
  };
  Instant since_;
  uint64_t total_ = 0;
  std::deque<Step> steps_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_NODE_RATE_H_
