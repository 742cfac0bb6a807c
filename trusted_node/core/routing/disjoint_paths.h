#ifndef KEYHOP_TRUSTED_NODE_CORE_ROUTING_DISJOINT_PATHS_H_
#define KEYHOP_TRUSTED_NODE_CORE_ROUTING_DISJOINT_PATHS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace keyhop {

// A directed edge of a graph of numbered vertices. Both directions of a link are there, edge 2i and
// 2i + 1, whether they can be used or not.
struct DisjointEdge {
  uint32_t from = 0;
  uint32_t to = 0;
  std::optional<uint64_t> cost;  // Nothing: not to be used in this direction.
};

// `count` paths from `start` to `end`, both included, no two of which have a vertex in between in
// common, with the least cost in all; shortest first, then the lowest vertices. Empty when there
// are fewer. `barred`: by vertex, whether it must not lie in between.
//
// Successive shortest paths in the graph whose vertices are split in two, with an edge of capacity
// one between the halves: after k rounds the flow is the k paths of least cost, which rerouting
// what earlier rounds chose may need (Suurballe, Networks 4, 1974; Bhandari, Survivable Networks,
// 1999). O(count · vertices · edges) at worst, far less in networks. The same in every process.
std::vector<std::vector<uint32_t>> FindDisjointPaths(const std::vector<DisjointEdge>& edges,
                                                     const std::vector<char>& barred,
                                                     uint32_t start, uint32_t end, size_t count);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_ROUTING_DISJOINT_PATHS_H_
