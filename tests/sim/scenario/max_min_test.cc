#include "sim/scenario/max_min.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/net/prng.h"

namespace keyhop::sim {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

constexpr double kNear = 1e-6;

TEST(MaxMinTest, OneLinkIsSharedAlikeAndNobodyGetsMoreThanItAsksFor) {
  const std::vector<Flow> flows = {{.demand = 1, .uses = {{0, 1}}},
                                   {.demand = 9, .uses = {{0, 1}}},
                                   {.demand = 9, .uses = {{0, 1}}}};
  EXPECT_THAT(MaxMinRates(flows, {10}),
              ElementsAre(DoubleNear(1, kNear), DoubleNear(4.5, kNear), DoubleNear(4.5, kNear)));
}

// The line of Bertsekas and Gallager: a long flow shares each link with a short one.
TEST(MaxMinTest, ALongFlowIsHeldByItsNarrowestLink) {
  const std::vector<Flow> flows = {{.demand = 100, .uses = {{0, 1}, {1, 1}}},
                                   {.demand = 100, .uses = {{0, 1}}},
                                   {.demand = 100, .uses = {{1, 1}}}};
  EXPECT_THAT(MaxMinRates(flows, {10, 30}),
              ElementsAre(DoubleNear(5, kNear), DoubleNear(5, kNear), DoubleNear(25, kNear)));
}

TEST(MaxMinTest, WeightsScaleWhatIsFair) {
  const std::vector<Flow> flows = {{.demand = 100, .weight = 3, .uses = {{0, 1}}},
                                   {.demand = 100, .weight = 1, .uses = {{0, 1}}}};
  EXPECT_THAT(MaxMinRates(flows, {8}), ElementsAre(DoubleNear(6, kNear), DoubleNear(2, kNear)));
}

TEST(MaxMinTest, AFlowThatUsesNothingGetsWhatItAsksForAndADeadLinkGivesNothing) {
  const std::vector<Flow> flows = {{.demand = 7, .uses = {}}, {.demand = 7, .uses = {{0, 1}}}};
  EXPECT_THAT(MaxMinRates(flows, {0}), ElementsAre(DoubleNear(7, kNear), DoubleNear(0, kNear)));
}

// What defines it: each flow has what it asks for or a full link on which no other flow has more
// for its weight.
TEST(MaxMinTest, EachFlowIsServedOrHasABottleneck) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Prng prng(seed);
    const size_t links = 1 + prng.Below(8);
    std::vector<double> capacity;
    for (size_t l = 0; l < links; ++l) capacity.push_back(static_cast<double>(prng.Below(1000)));
    std::vector<Flow> flows(1 + prng.Below(12));
    for (Flow& flow : flows) {
      flow.demand = static_cast<double>(1 + prng.Below(500));
      flow.weight = static_cast<double>(1 + prng.Below(4));
      for (size_t l = 0; l < links; ++l) {
        if (prng.Chance(400)) flow.uses.push_back({l, 0.5 + static_cast<double>(prng.Below(3))});
      }
    }
    const std::vector<double> rates = MaxMinRates(flows, capacity);
    std::vector<double> used(links, 0);
    for (size_t i = 0; i < flows.size(); ++i) {
      for (const Flow::Use& use : flows[i].uses) used[use.resource] += rates[i] * use.part;
    }
    for (size_t l = 0; l < links; ++l) ASSERT_LE(used[l], capacity[l] + kNear) << "seed " << seed;
    for (size_t i = 0; i < flows.size(); ++i) {
      if (rates[i] >= flows[i].demand - kNear) continue;
      const bool held =
          std::any_of(flows[i].uses.begin(), flows[i].uses.end(), [&](const Flow::Use& use) {
            if (used[use.resource] < capacity[use.resource] - 1e-3) return false;
            for (size_t j = 0; j < flows.size(); ++j) {
              const bool there = std::any_of(
                  flows[j].uses.begin(), flows[j].uses.end(),
                  [&](const Flow::Use& other) { return other.resource == use.resource; });
              if (there && rates[j] / flows[j].weight > rates[i] / flows[i].weight + 1e-3) {
                return false;
              }
            }
            return true;
          });
      ASSERT_TRUE(held) << "flow " << i << " of seed " << seed;
    }
  }
}

TEST(JainIndexTest, IsOneForEqualSharesAndOneInNForOneOwner) {
  EXPECT_DOUBLE_EQ(JainIndex({2, 2, 2, 2}), 1);
  EXPECT_DOUBLE_EQ(JainIndex({3, 0, 0, 0}), 0.25);
  EXPECT_DOUBLE_EQ(JainIndex({}), 1);
}

}  // namespace
}  // namespace keyhop::sim
