#ifndef KEYHOP_TRUSTED_NODE_CORE_ROUTING_LINK_STATE_H_
#define KEYHOP_TRUSTED_NODE_CORE_ROUTING_LINK_STATE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "trusted_node/core/routing/routing.h"

// The rules of one link-state record: its limits, its order, and what counts as a change.

namespace keyhop {

inline constexpr uint64_t kLinkStateSequenceMax = uint64_t{1} << 62;
inline constexpr size_t kSignatureBytesMax = 1'024;

// OK if `state` is within the limits, in canonical order (links ascending by ID, SAEs ascending by
// name, no doubles) and its registration numbers differ; else INVALID_ARGUMENT. No signature is
// looked at.
absl::Status CheckShape(const LinkState& state);

// Whether going from `before` to `after` (both ascending by link) is worth a flood: another set of
// links, peers or states, or free bytes or a rate that moved past a factor of 2.
bool WorthFlooding(const std::vector<LinkAdvert>& before, const std::vector<LinkAdvert>& after);

// Same links, peers and states; free bytes and rates may differ. Both ascending by link.
bool SameTopology(const std::vector<LinkAdvert>& a, const std::vector<LinkAdvert>& b);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_ROUTING_LINK_STATE_H_
