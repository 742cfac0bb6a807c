#ifndef KEYHOP_TRUSTED_NODE_CORE_ROUTING_PATH_GRAPH_H_
#define KEYHOP_TRUSTED_NODE_CORE_ROUTING_PATH_GRAPH_H_

#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "trusted_node/core/routing/routing.h"

namespace keyhop {

// The network as a graph of numbered vertices, in the order of node IDs: an edge each way for each
// link that both of its ends say is up. Answers are the same in every process: integer costs, ties
// to the lowest ID. Not thread-safe.
class PathGraph {
 public:
  // What each node says about its links, ascending by link ID.
  using Adverts = std::map<NodeId, const std::vector<LinkAdvert>*>;

  void Rebuild(const Adverts& adverts);
  // `origin`'s free bytes are now those of `links`; its topology is as at Rebuild.
  void UpdateFreeBytes(const NodeId& origin, const std::vector<LinkAdvert>& links);

  // Both ends included; empty when there is none. Fewest hops first, then the least sum of
  // penalties, then the lowest IDs from the start on. Every hop has at least `bytes` free in the
  // direction of travel. `without` does not bar the two ends.
  std::vector<NodeId> CheapestPath(const NodeId& from, const NodeId& to, uint64_t bytes,
                                   const std::set<NodeId>& without) const;
  // `count` such paths that have no node in between in common (FindDisjointPaths), with the least
  // cost in all; empty when there are fewer.
  std::vector<std::vector<NodeId>> DisjointPaths(const NodeId& from, const NodeId& to, size_t count,
                                                 uint64_t bytes,
                                                 const std::set<NodeId>& without) const;
  // Whether each hop from one of `nodes` to the next is a link of the graph.
  bool IsPath(const std::vector<NodeId>& nodes) const;
  // For each node reachable from `from` but itself: the neighbour that begins a path of fewest
  // hops, the lowest ID among them.
  std::map<NodeId, NodeId> NextHops(const NodeId& from) const;

 private:
  // Edge 2i and 2i+1 are the two directions of one link.
  struct Hop {
    uint32_t index = 0;
  };
  using Graph = boost::compressed_sparse_row_graph<boost::directedS, boost::no_property, Hop>;
  using Vertex = boost::graph_traits<Graph>::vertex_descriptor;
  static constexpr uint64_t kUnreachable = ~uint64_t{0};

  std::optional<Vertex> Find(const NodeId& node) const;
  std::vector<char> Barred(const std::set<NodeId>& without) const;  // By vertex.
  std::vector<uint64_t> CostsTo(Vertex to, uint64_t bytes, const std::vector<char>& barred) const;

  std::vector<NodeId> ids_;  // By vertex; ascending.
  Graph graph_;
  std::vector<uint64_t> free_bytes_;                             // By edge.
  std::vector<std::vector<std::pair<LinkId, uint32_t>>> edges_;  // By vertex: its outgoing edges.
};

// What one hop adds to a path's cost. One hop outweighs every penalty of a path of any length that
// a network of 2^16 nodes can have; the penalty is the square of how many times the free pad could
// be doubled until 2^64 bytes, so two half-full links are better than a full and an empty one.
uint64_t HopCost(uint64_t free_bytes);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_ROUTING_PATH_GRAPH_H_
