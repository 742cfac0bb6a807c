// Who gets scarce key: one SAE that asks for far more than its share takes nothing from the others.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

constexpr int kSaes = 20;
constexpr uint64_t kKeysOfADraw = 4;
constexpr Duration kTick = Duration::Millis(10);
constexpr int kTicks = 6'000;

SaeId SaeAt(int i) { return SaeId(absl::StrCat("S", i)); }

// 20 SAEs at a, one slave at b, and a link that makes `pad_bytes_a_tick`.
class FairnessTest : public ::testing::Test {
 protected:
  static NodeWorld::Tune Saes(std::map<SaeId, uint32_t> weights = {}) {
    return [weights](NodeConfig& config) {
      config.delivery.draw_wait = Duration::Seconds(2);
      config.delivery.weights = weights;
      config.pool.target_bytes = 4096;
      config.stream.segment_body_bytes = 1024;
      if (config.self != NodeId("a")) return;
      for (int i = 0; i < kSaes; ++i) config.routing.saes.push_back(SaeAt(i));
    };
  }

  // Keys that each SAE got in a minute; SAE i asks `draws_per_100_ticks[i]` times in 100 ticks.
  static std::vector<uint64_t> Run(NodeWorld& world, const std::vector<int>& draws_per_100_ticks) {
    world.MakePads(64 * 1024);
    world.Run(Duration::Seconds(3));
    std::map<uint64_t, int> asked;
    uint64_t token = 1'000'000;
    std::vector<int> due(draws_per_100_ticks.size());
    for (int tick = 0; tick < kTicks; ++tick) {
      if (tick % 20 == 0) world.MakePads(4096);
      for (size_t i = 0; i < due.size(); ++i) {
        for (due[i] += draws_per_100_ticks[i]; due[i] >= 100; due[i] -= 100) {
          asked.emplace(++token, static_cast<int>(i));
          world.Feed("a", DrawAsked{token,
                                    {.caller = SaeAt(static_cast<int>(i)),
                                     .slave = SaeId("B"),
                                     .number = kKeysOfADraw}});
        }
      }
      world.Run(kTick);
    }
    std::vector<uint64_t> got(due.size());
    for (const auto& [t, outcome] : world.answers) {
      const auto who = asked.find(t);
      if (who == asked.end()) continue;
      if (const auto* keys = std::get_if<KeyContainer>(&outcome)) {
        got[static_cast<size_t>(who->second)] += keys->keys.size();
      }
    }
    return got;
  }
};

TEST_F(FairnessTest, OneThatAsksForAHundredSharesTakesNothingFromTheOthers) {
  // What the link can bring, and a share of it.
  NodeWorld flooded({"a", "b"}, Saes());
  std::vector<int> flood(1, 2'000);
  const uint64_t capacity = Run(flooded, flood)[0];
  const int share =
      static_cast<int>(capacity / kKeysOfADraw / kSaes * 100 / static_cast<uint64_t>(kTicks));
  ASSERT_GT(share, 0);

  NodeWorld alone({"a", "b"}, Saes());
  std::vector<int> one(kSaes, 0);
  one[1] = share;
  const uint64_t got_alone = Run(alone, one)[1];
  ASSERT_GT(got_alone, 100u);

  NodeWorld crowded({"a", "b"}, Saes());
  std::vector<int> all(kSaes, share);
  all[0] = 100 * share;
  const std::vector<uint64_t> got = Run(crowded, all);
  for (int i = 1; i < kSaes; ++i) {
    EXPECT_GE(got[static_cast<size_t>(i)] * 100, got_alone * 95) << SaeAt(i).value;
  }
  EXPECT_GT(got[0], 0u);
}

TEST_F(FairnessTest, WhereAllAskForMoreThanThereIsWeightsDivideIt) {
  NodeWorld world({"a", "b"}, Saes({{SaeAt(0), 3}}));
  const std::vector<uint64_t> got = Run(world, {400, 400, 400});
  ASSERT_GT(got[1], 100u);
  EXPECT_NEAR(static_cast<double>(got[0]) / static_cast<double>(got[1]), 3.0, 0.45);
  EXPECT_NEAR(static_cast<double>(got[2]) / static_cast<double>(got[1]), 1.0, 0.1);
}

TEST_F(FairnessTest, AFullQueueMakesRoomForWhoHasFewWaiting) {
  NodeWorld world({"a", "b"}, Saes());
  world.Run(Duration::Seconds(3));  // No pads: everybody waits.
  uint64_t token = 1'000'000;
  const auto ask = [&](int sae) {
    world.Feed("a", DrawAsked{++token, {.caller = SaeAt(sae), .slave = SaeId("B")}});
    return token;
  };
  std::vector<uint64_t> flood;
  for (int i = 0; i < 64; ++i) flood.push_back(ask(0));
  EXPECT_FALSE(world.answered(flood.back()));
  const uint64_t other = ask(1);
  EXPECT_FALSE(world.answered(other)) << "it waits";
  ASSERT_NE(world.RefusalOf(flood.back()), nullptr) << "the newest of the flood went";
  EXPECT_EQ(world.RefusalOf(flood.back())->kind, Refusal::Kind::kExhausted);
  EXPECT_NE(world.RefusalOf(ask(0)), nullptr);
  world.MakePads(64 * 1024);
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Keys(other).keys.size(), 1u);
}

TEST_F(FairnessTest, AnSaeGetsAPartOfTheWaitingPlacesOfTheNode) {
  NodeWorld world({"a", "b"}, [](NodeConfig& config) {
    Saes()(config);
    config.delivery.draws_waiting_max = 8;
  });
  world.Run(Duration::Seconds(3));
  uint64_t token = 1'000'000;
  const auto ask = [&](int sae) {
    world.Feed("a", DrawAsked{++token, {.caller = SaeAt(sae), .slave = SaeId("B")}});
    return token;
  };
  ask(0);
  EXPECT_FALSE(world.answered(ask(0)));
  EXPECT_TRUE(world.answered(ask(0)));
  EXPECT_FALSE(world.answered(ask(1)));
}

}  // namespace
}  // namespace keyhop
