// Random networks: what PathFor and NextHop say is what a brute-force search says.

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/trusted_node/core/routing/routing_fixture.h"
#include "trusted_node/core/routing/path_graph.h"
#include "trusted_node/core/routing/routing.h"

namespace keyhop {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

struct RandomNetwork {
  std::vector<NodeId> nodes;
  std::map<NodeId, std::vector<LinkAdvert>> links;
};

uint64_t Below(std::mt19937_64& random, uint64_t end) { return random() % end; }

RandomNetwork MakeNetwork(std::mt19937_64& random) {
  RandomNetwork network;
  const int size = static_cast<int>(2 + Below(random, 11));
  for (int i = 0; i < size; ++i) network.nodes.push_back(NodeId("n" + std::to_string(100 + i)));
  for (const NodeId& a : network.nodes) network.links[a];
  for (const NodeId& a : network.nodes) {
    for (const NodeId& b : network.nodes) {
      if (!(a < b) || Below(random, 3) != 0) continue;
      const int parallel = static_cast<int>(1 + Below(random, 2));
      for (int i = 0; i < parallel; ++i) {
        const LinkId id(a.value + "-" + b.value + "-" + std::to_string(i));
        const bool lies_somewhere = Below(random, 8) == 0;
        network.links[a].push_back({id, b, true, Below(random, 1'000), 1});
        network.links[b].push_back({id, a, !lies_somewhere, Below(random, 1'000), 1});
      }
    }
  }
  return network;
}

// The cheapest usable hop from `u` to `v`.
uint64_t BestHop(const RandomNetwork& network, const NodeId& u, const NodeId& v, uint64_t bytes) {
  uint64_t best = kNone;
  for (const LinkAdvert& ours : network.links.at(u)) {
    if (ours.peer != v || !ours.up || ours.free_bytes < bytes) continue;
    for (const LinkAdvert& theirs : network.links.at(v)) {
      if (theirs.link == ours.link && theirs.peer == u && theirs.up) {
        best = std::min(best, HopCost(ours.free_bytes));
      }
    }
  }
  return best;
}

// Bellman and Ford: costs and, among equals, the lowest path from `from` to every node.
std::map<NodeId, std::pair<uint64_t, std::vector<NodeId>>> BruteForce(
    const RandomNetwork& network, const NodeId& from, uint64_t bytes,
    const std::set<NodeId>& without) {
  std::map<NodeId, std::pair<uint64_t, std::vector<NodeId>>> best;
  best[from] = {0, {from}};
  for (size_t round = 0; round < network.nodes.size(); ++round) {
    for (const NodeId& u : network.nodes) {
      if (!best.contains(u) || (u != from && without.contains(u))) continue;
      for (const NodeId& v : network.nodes) {
        const uint64_t hop = BestHop(network, u, v, bytes);
        if (hop == kNone) continue;
        std::pair<uint64_t, std::vector<NodeId>> found = best[u];
        found.first += hop;
        found.second.push_back(v);
        if (!best.contains(v) || found < best[v]) best[v] = found;
      }
    }
  }
  return best;
}

TEST(PathPropertyTest, PathsAreThoseOfABruteForceSearch) {
  int found = 0;
  int detours = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const RandomNetwork network = MakeNetwork(random);
    const NodeId& self = network.nodes[Below(random, network.nodes.size())];
    TestNode node(RoutingConfig{self});
    node.Start(At(0));
    // Half of the pads come as an update of pads alone, after the first answer was cached.
    for (const uint64_t sequence : {1, 2}) {
      for (const auto& [id, links] : network.links) {
        std::vector<LinkAdvert> told = links;
        for (LinkAdvert& link : told) link.free_bytes >>= sequence == 1 ? 3 : 0;
        if (id == self) {
          node->SetLinks(At(0), told, node.out);
        } else {
          node->OnLinkState(At(0), id, Signed(id, sequence, told), node.out);
        }
      }
      node->PathFor(network.nodes.back(), 1);
      node->NextHop(network.nodes.back());
    }
    for (const uint64_t bytes : {0, 1, 200, 600}) {
      std::set<NodeId> without;
      if (Below(random, 2) == 0) without.insert(network.nodes[Below(random, network.nodes.size())]);
      auto expected = BruteForce(network, self, bytes, without);
      for (const NodeId& destination : network.nodes) {
        const std::vector<NodeId> path = node->PathFor(destination, bytes, without);
        EXPECT_EQ(path, expected[destination].second);
        EXPECT_EQ(node->PathFor(destination, bytes, without), path);
        found += path.size() > 1 ? 1 : 0;
        detours += path.size() > 3 ? 1 : 0;
      }
    }
  }
  EXPECT_GT(found, 1'000);
  EXPECT_GT(detours, 50);
}

TEST(PathPropertyTest, NextHopsBeginTheLowestShortestPaths) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    RandomNetwork network = MakeNetwork(random);
    for (auto& [id, links] : network.links) {
      for (LinkAdvert& link : links) link.free_bytes = 0;
    }
    const NodeId& self = network.nodes.front();
    TestNode node(RoutingConfig{self});
    node.Start(At(0));
    node->SetLinks(At(0), network.links.at(self), node.out);
    for (const auto& [id, links] : network.links) {
      if (id != self) node->OnLinkState(At(0), id, Signed(id, 1, links), node.out);
    }
    auto expected = BruteForce(network, self, 0, {});
    for (const NodeId& destination : network.nodes) {
      if (destination == self) continue;
      const std::vector<NodeId>& path = expected[destination].second;
      const std::optional<NodeId> hop = node->NextHop(destination);
      EXPECT_EQ(hop.has_value(), !path.empty());
      if (hop.has_value()) {
        EXPECT_EQ(*hop, path[1]);
      }
    }
  }
}

TEST(HopCostTest, OneHopOutweighsThePenaltiesOfAnyPath) {
  const uint64_t hop = HopCost(~uint64_t{0});
  EXPECT_LT(65'536 * (HopCost(0) - hop), hop);
  for (int bit = 0; bit < 63; ++bit) {
    EXPECT_GT(HopCost(uint64_t{1} << bit), HopCost(uint64_t{1} << (bit + 1)));
  }
}

}  // namespace
}  // namespace keyhop
