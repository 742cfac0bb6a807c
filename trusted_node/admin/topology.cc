#include "trusted_node/admin/topology.h"

#include <deque>
#include <set>
#include <utility>

namespace keyhop {

std::map<NodeId, uint32_t> HopsFrom(const NodeId& self, const std::vector<LinkState>& database) {
  std::set<std::pair<NodeId, NodeId>> said;
  for (const LinkState& state : database) {
    for (const LinkAdvert& link : state.links) {
      if (link.up) said.emplace(state.origin, link.peer);
    }
  }
  std::map<NodeId, uint32_t> hops = {{self, 0}};
  std::deque<NodeId> open = {self};
  while (!open.empty()) {
    const NodeId at = std::move(open.front());
    open.pop_front();
    const uint32_t next = hops.at(at) + 1;
    for (auto it = said.lower_bound({at, NodeId{}}); it != said.end() && it->first == at; ++it) {
      if (said.contains({it->second, at}) && hops.emplace(it->second, next).second) {
        open.push_back(it->second);
      }
    }
  }
  return hops;
}

}  // namespace keyhop
