#ifndef KEYHOP_TRUSTED_NODE_ADMIN_TOPOLOGY_H_
#define KEYHOP_TRUSTED_NODE_ADMIN_TOPOLOGY_H_

#include <cstdint>
#include <map>
#include <vector>

#include "trusted_node/core/routing/routing.h"

namespace keyhop {

// Fewest links from `self` to each node that can be reached over links which both of their ends
// say are up. `self` is 0.
std::map<NodeId, uint32_t> HopsFrom(const NodeId& self, const std::vector<LinkState>& database);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_ADMIN_TOPOLOGY_H_
