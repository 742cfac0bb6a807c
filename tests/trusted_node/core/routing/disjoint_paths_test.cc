#include "trusted_node/core/routing/disjoint_paths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace keyhop {
namespace {

using Paths = std::vector<std::vector<uint32_t>>;

struct Net {
  explicit Net(uint32_t vertices) : barred(vertices, 0) {}
  void Link(uint32_t a, uint32_t b, std::optional<uint64_t> cost = 1) {
    edges.push_back({a, b, cost});
    edges.push_back({b, a, cost});
  }
  Paths Find(uint32_t from, uint32_t to, size_t count) const {
    return FindDisjointPaths(edges, barred, from, to, count);
  }
  std::vector<DisjointEdge> edges;
  std::vector<char> barred;
};

uint64_t CostOf(const Net& net, const Paths& paths) {
  uint64_t sum = 0;
  for (const auto& path : paths) {
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      const auto edge =
          std::find_if(net.edges.begin(), net.edges.end(), [&](const DisjointEdge& e) {
            return e.from == path[i] && e.to == path[i + 1] && e.cost;
          });
      EXPECT_NE(edge, net.edges.end());
      sum += *edge->cost;
    }
  }
  return sum;
}

TEST(DisjointPathsTest, ARingHasTwoAndNoThree) {
  Net net(5);
  for (uint32_t i = 0; i < 5; ++i) net.Link(i, (i + 1) % 5);
  EXPECT_EQ(net.Find(0, 2, 2), (Paths{{0, 1, 2}, {0, 4, 3, 2}}));
  EXPECT_EQ(net.Find(0, 1, 2), (Paths{{0, 1}, {0, 4, 3, 2, 1}}));
  EXPECT_TRUE(net.Find(0, 2, 3).empty());
}

// The shortest path, 0 1 2 3, uses up both of the others.
TEST(DisjointPathsTest, TakesBackTheShortestPathWhereItStandsInTheWay) {
  Net net(6);
  net.Link(0, 1, 1);
  net.Link(1, 2, 1);
  net.Link(2, 3, 1);
  net.Link(0, 4, 2);
  net.Link(4, 2, 2);
  net.Link(1, 5, 2);
  net.Link(5, 3, 2);
  EXPECT_EQ(net.Find(0, 3, 1), (Paths{{0, 1, 2, 3}}));
  EXPECT_EQ(net.Find(0, 3, 2), (Paths{{0, 1, 5, 3}, {0, 4, 2, 3}}));
}

TEST(DisjointPathsTest, ANodeThatAllWaysPassIsNoTwoPaths) {
  Net net(5);
  for (const uint32_t side : {1u, 3u}) {
    net.Link(0, side);
    net.Link(side, 2);
  }
  net.Link(2, 4);
  EXPECT_TRUE(net.Find(0, 4, 2).empty());
  EXPECT_EQ(net.Find(0, 2, 2).size(), 2u);
}

TEST(DisjointPathsTest, WhatIsBarredOrNotToBeUsedIsNotUsed) {
  Net net(4);
  net.Link(0, 1);
  net.Link(1, 3);
  net.Link(0, 2);
  net.Link(2, 3);
  EXPECT_EQ(net.Find(0, 3, 2).size(), 2u);
  net.barred[2] = 1;
  EXPECT_TRUE(net.Find(0, 3, 2).empty());
  EXPECT_EQ(net.Find(0, 3, 1), (Paths{{0, 1, 3}}));
  EXPECT_EQ(net.Find(0, 2, 2).size(), 2u) << "an end is not in between";
  net.barred[2] = 0;
  net.edges[6].cost.reset();  // 2 to 3; the way back stays.
  EXPECT_TRUE(net.Find(0, 3, 2).empty());
  EXPECT_EQ(net.Find(3, 0, 2).size(), 2u);
}

// Against all sets of disjoint paths, in small networks at random.
TEST(DisjointPathsTest, FindsTheCheapestSetOfAllThereAre) {
  uint64_t state = 1;
  const auto random = [&](uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
  };
  int found = 0;
  for (int round = 0; round < 400; ++round) {
    const uint32_t vertices = 4 + static_cast<uint32_t>(random(4));
    Net net(vertices);
    std::set<std::pair<uint32_t, uint32_t>> linked;
    for (uint64_t i = 0; i < vertices * 2; ++i) {
      const auto a = static_cast<uint32_t>(random(vertices));
      const auto b = static_cast<uint32_t>(random(vertices));
      if (a != b && linked.emplace(std::min(a, b), std::max(a, b)).second) {
        net.Link(a, b, 1 + random(9));
      }
    }
    Paths all;
    std::vector<uint32_t> path = {0};
    const std::function<void()> walk = [&] {
      if (path.back() == vertices - 1) return all.push_back(path);
      for (const DisjointEdge& e : net.edges) {
        if (e.from != path.back() || std::count(path.begin(), path.end(), e.to) != 0) continue;
        path.push_back(e.to);
        walk();
        path.pop_back();
      }
    };
    walk();
    for (const size_t count : {size_t{1}, size_t{2}, size_t{3}}) {
      std::optional<uint64_t> best;
      Paths chosen;
      const std::function<void(size_t)> choose = [&](size_t from) {
        if (chosen.size() == count) {
          const uint64_t cost = CostOf(net, chosen);
          if (!best || cost < *best) best = cost;
          return;
        }
        for (size_t i = from; i < all.size(); ++i) {
          const bool meets = std::any_of(chosen.begin(), chosen.end(), [&](const auto& other) {
            return std::find_first_of(all[i].begin() + 1, all[i].end() - 1, other.begin() + 1,
                                      other.end() - 1) != all[i].end() - 1;
          });
          if (meets) continue;
          chosen.push_back(all[i]);
          choose(i + 1);
          chosen.pop_back();
        }
      };
      choose(0);
      const Paths got = net.Find(0, vertices - 1, count);
      ASSERT_EQ(!got.empty(), best.has_value()) << "round " << round << ", " << count;
      if (!best) continue;
      ASSERT_EQ(got.size(), count);
      EXPECT_EQ(CostOf(net, got), *best) << "round " << round << ", " << count;
      std::set<uint32_t> between;
      for (const auto& p : got) {
        EXPECT_EQ(p.front(), 0u);
        EXPECT_EQ(p.back(), vertices - 1);
        for (size_t i = 1; i + 1 < p.size(); ++i) EXPECT_TRUE(between.insert(p[i]).second);
      }
      ++found;
    }
  }
  EXPECT_GT(found, 400);
}

}  // namespace
}  // namespace keyhop
