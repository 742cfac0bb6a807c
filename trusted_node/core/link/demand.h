#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_DEMAND_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_DEMAND_H_

#include <cstdint>
#include <optional>

#include "kms/base/instant.h"

namespace keyhop {

// How large the next lease of one direction should be (DESIGN §3: by use): two seconds of recent
// use, and what was asked for and not there. Begins at 16 KiB. All sizes in bytes.
//
// Pure, not thread-safe.
class Demand {
 public:
  Demand(uint64_t lease_min, uint64_t lease_max);

  void Used(Instant now, uint64_t bytes);
  // A frame of `bytes` found too little. Remembered until one of that size is served, or 2 s.
  void FellShort(Instant now, uint64_t bytes);
  // What a new lease should bring, given `free` bytes open or under way; 0: nothing.
  uint64_t Wanted(Instant now, uint64_t free);
  // The same where memory is scarce: what the next frame needs, whatever the rate is.
  uint64_t WantedAtLeast(Instant now, uint64_t free);
  // Forgets shortages: their frames are gone.
  void Reset();

 private:
  void Roll(Instant now);

  uint64_t lease_min_;
  uint64_t lease_max_;
  uint64_t rate_ = 0;  // A second, smoothed.
  uint64_t used_ = 0;  // Since window_began_.
  std::optional<Instant> window_began_ = {};
  uint64_t shortage_ = 0;
  Instant short_until_ = {};
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_DEMAND_H_
