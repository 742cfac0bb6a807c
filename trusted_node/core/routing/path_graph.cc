#include "trusted_node/core/routing/path_graph.h"

#include <algorithm>
#include <bit>
#include <boost/graph/dijkstra_shortest_paths.hpp>
#include <boost/property_map/function_property_map.hpp>
#include <boost/range/iterator_range.hpp>
#include <deque>

#include "kms/base/check.h"
#include "trusted_node/core/routing/disjoint_paths.h"

namespace keyhop {
namespace {

// Whether `peer` says that its link `link` leads to `origin` and is up.
bool ConfirmedBy(const std::vector<LinkAdvert>& peer, const LinkId& link, const NodeId& origin) {
  const auto it =
      std::lower_bound(peer.begin(), peer.end(), link,
                       [](const LinkAdvert& advert, const LinkId& id) { return advert.link < id; });
  return it != peer.end() && it->link == link && it->peer == origin && it->up;
}

uint64_t FreeBytesOf(const std::vector<LinkAdvert>& links, const LinkId& link) {
  const auto it =
      std::lower_bound(links.begin(), links.end(), link,
                       [](const LinkAdvert& advert, const LinkId& id) { return advert.link < id; });
  return it != links.end() && it->link == link ? it->free_bytes : 0;
}

}  // namespace

uint64_t HopCost(uint64_t free_bytes) {
  const uint64_t missing_doublings = 64 - static_cast<uint64_t>(std::bit_width(free_bytes));
  return (uint64_t{1} << 32) + missing_doublings * missing_doublings;
}

std::optional<PathGraph::Vertex> PathGraph::Find(const NodeId& node) const {
  const auto it = std::lower_bound(ids_.begin(), ids_.end(), node);
  if (it == ids_.end() || *it != node) return std::nullopt;
  return static_cast<Vertex>(it - ids_.begin());
}

void PathGraph::Rebuild(const Adverts& adverts) {
  ids_.clear();
  for (const auto& [id, links] : adverts) ids_.push_back(id);
  free_bytes_.clear();
  edges_.assign(ids_.size(), {});
  std::vector<std::pair<Vertex, Vertex>> ends;
  std::vector<Hop> hops;
  for (const auto& [id, links] : adverts) {
    const Vertex u = *Find(id);
    for (const LinkAdvert& link : *links) {
      if (!link.up || link.peer < id) continue;  // Each link once, from its lower end.
      const auto peer = adverts.find(link.peer);
      if (peer == adverts.end() || !ConfirmedBy(*peer->second, link.link, id)) continue;
      const Vertex v = *Find(link.peer);
      const uint32_t out = static_cast<uint32_t>(free_bytes_.size());
      free_bytes_.push_back(link.free_bytes);
      free_bytes_.push_back(FreeBytesOf(*peer->second, link.link));
      ends.insert(ends.end(), {{u, v}, {v, u}});
      hops.insert(hops.end(), {Hop{out}, Hop{out + 1}});
      edges_[u].emplace_back(link.link, out);
      edges_[v].emplace_back(link.link, out + 1);
    }
  }
  graph_ = Graph(boost::edges_are_unsorted_multi_pass, ends.begin(), ends.end(), hops.begin(),
                 ids_.size());
}

void PathGraph::UpdateFreeBytes(const NodeId& origin, const std::vector<LinkAdvert>& links) {
  const std::optional<Vertex> u = Find(origin);
  if (!u.has_value()) return;
  for (const auto& [link, edge] : edges_[*u]) free_bytes_[edge] = FreeBytesOf(links, link);
}

// Searches from the destination backwards: so the walk from the start can take, among the hops that
// keep the cost least, the one to the lowest ID.
std::vector<uint64_t> PathGraph::CostsTo(Vertex to, uint64_t bytes,
                                         const std::vector<char>& barred) const {
  std::vector<uint64_t> cost(ids_.size(), kUnreachable);
  const auto weight = boost::make_function_property_map<Graph::edge_descriptor, uint64_t>(
      [this, bytes, &barred](const Graph::edge_descriptor& edge) {
        const uint64_t free = free_bytes_[graph_[edge].index ^ 1];  // The travel goes against it.
        return barred[boost::target(edge, graph_)] || free < bytes ? kUnreachable : HopCost(free);
      });
  boost::dijkstra_shortest_paths(graph_, to,
                                 boost::weight_map(weight)
                                     .distance_map(boost::make_iterator_property_map(
                                         cost.begin(), boost::get(boost::vertex_index, graph_)))
                                     .distance_inf(kUnreachable)
                                     .distance_combine(boost::closed_plus<uint64_t>(kUnreachable)));
  return cost;
}

std::vector<char> PathGraph::Barred(const std::set<NodeId>& without) const {
  std::vector<char> barred(ids_.size(), 0);
  for (const NodeId& node : without) {
    if (const std::optional<Vertex> v = Find(node)) barred[*v] = 1;
  }
  return barred;
}

std::vector<std::vector<NodeId>> PathGraph::DisjointPaths(const NodeId& from, const NodeId& to,
                                                          size_t count, uint64_t bytes,
                                                          const std::set<NodeId>& without) const {
  const std::optional<Vertex> start = Find(from);
  const std::optional<Vertex> end = Find(to);
  if (!start.has_value() || !end.has_value()) return {};
  std::vector<DisjointEdge> edges(free_bytes_.size());
  for (const auto& edge : boost::make_iterator_range(boost::edges(graph_))) {
    const uint32_t index = graph_[edge].index;
    const uint64_t free = free_bytes_[index];
    edges[index] = {static_cast<uint32_t>(boost::source(edge, graph_)),
                    static_cast<uint32_t>(boost::target(edge, graph_)),
                    free < bytes ? std::nullopt : std::optional(HopCost(free))};
  }
  std::vector<std::vector<NodeId>> paths;
  for (const std::vector<uint32_t>& path :
       FindDisjointPaths(edges, Barred(without), static_cast<uint32_t>(*start),
                         static_cast<uint32_t>(*end), count)) {
    std::vector<NodeId>& named = paths.emplace_back();
    for (const uint32_t v : path) named.push_back(ids_[v]);
  }
  return paths;
}

std::vector<NodeId> PathGraph::CheapestPath(const NodeId& from, const NodeId& to, uint64_t bytes,
                                            const std::set<NodeId>& without) const {
  const std::optional<Vertex> start = Find(from);
  const std::optional<Vertex> end = Find(to);
  if (!start.has_value() || !end.has_value()) return {};
  std::vector<char> barred = Barred(without);
  barred[*start] = barred[*end] = 0;
  const std::vector<uint64_t> cost = CostsTo(*end, bytes, barred);
  if (cost[*start] == kUnreachable) return {};
  std::vector<NodeId> path = {from};
  for (Vertex u = *start; u != *end;) {
    Vertex next = ids_.size();
    for (const auto& edge : boost::make_iterator_range(boost::out_edges(u, graph_))) {
      const Vertex v = boost::target(edge, graph_);
      const uint64_t free = free_bytes_[graph_[edge].index];
      if (free < bytes || cost[v] == kUnreachable || barred[v]) continue;
      if (cost[v] + HopCost(free) == cost[u]) next = std::min(next, v);
    }
    KEYHOP_CHECK(next < ids_.size(), "a finite cost is made of hops");
    u = next;
    path.push_back(ids_[u]);
  }
  return path;
}

bool PathGraph::IsPath(const std::vector<NodeId>& nodes) const {
  for (size_t i = 0; i + 1 < nodes.size(); ++i) {
    const std::optional<Vertex> u = Find(nodes[i]);
    const std::optional<Vertex> v = Find(nodes[i + 1]);
    if (!u.has_value() || !v.has_value()) return false;
    const auto next = boost::adjacent_vertices(*u, graph_);
    if (std::find(next.first, next.second, *v) == next.second) return false;
  }
  return true;
}

std::map<NodeId, NodeId> PathGraph::NextHops(const NodeId& from) const {
  const std::optional<Vertex> start = Find(from);
  if (!start.has_value()) return {};
  // Breadth first, neighbours in ascending order: whoever finds a node first has the lowest first
  // hop among the shortest ways to it.
  const Vertex unseen = ids_.size();
  std::vector<Vertex> first(ids_.size(), unseen);
  std::deque<Vertex> queue = {*start};
  first[*start] = *start;
  std::vector<Vertex> neighbours;
  while (!queue.empty()) {
    const Vertex u = queue.front();
    queue.pop_front();
    neighbours.clear();
    for (const auto& v : boost::make_iterator_range(boost::adjacent_vertices(u, graph_))) {
      neighbours.push_back(v);
    }
    std::sort(neighbours.begin(), neighbours.end());
    for (const Vertex v : neighbours) {
      if (first[v] != unseen) continue;
      first[v] = u == *start ? v : first[u];
      queue.push_back(v);
    }
  }
  std::map<NodeId, NodeId> hops;
  for (Vertex v = 0; v < ids_.size(); ++v) {
    if (v != *start && first[v] != unseen) hops.emplace(ids_[v], ids_[first[v]]);
  }
  return hops;
}

}  // namespace keyhop
