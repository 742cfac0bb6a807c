// Draws that wait for fresh key (DESIGN §6).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/trusted_node/core/node/node_world.h"
#include "trusted_node/core/node/rate.h"

namespace keyhop {
namespace {

constexpr Duration kWait = Duration::Seconds(2);

NodeWorld::Tune WithWait(Duration wait) {
  return [wait](NodeConfig& config) { config.delivery.draw_wait = wait; };
}

class NodeDrawsTest : public ::testing::Test {
 protected:
  static std::vector<KeyId> IdsOf(const KeyContainer& keys) {
    std::vector<KeyId> ids;
    for (const DeliveredKey& key : keys.keys) ids.push_back(key.id);
    return ids;
  }
};

TEST_F(NodeDrawsTest, APairThatNobodyAskedForIsFilledWithinTheRequest) {
  NodeWorld world({"a", "b", "c"}, WithWait(kWait));
  world.MakePads(128 * 1024);
  world.Run(Duration::Seconds(3));
  ASSERT_TRUE(world.Snapshot("a").pools.empty());
  const uint64_t draw = world.Draw("a", "c", 3);
  const Instant asked = world.now();
  while (!world.answered(draw) && world.now() < asked + kWait) world.Run(Duration::Millis(10));
  const KeyContainer& drawn = world.Keys(draw);
  ASSERT_EQ(drawn.keys.size(), 3u);
  EXPECT_LT(world.now(), asked + kWait);
  EXPECT_EQ(world.Snapshot("a").counters["draws_waited"], 1u);
  const KeyContainer& fetched = world.Keys(world.Fetch("c", "a", IdsOf(drawn)));
  ASSERT_EQ(fetched.keys.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(fetched.keys[i].key.EqualsConstantTime(drawn.keys[i].key));
  }
}

TEST_F(NodeDrawsTest, WhatDoesNotComeInTimeIsRefusedAtTheDeadlineAndNotBefore) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.Run(Duration::Seconds(3));  // Without pads nothing can come.
  const uint64_t draw = world.Draw("a", "b");
  world.Run(kWait - Duration::Millis(1));
  EXPECT_FALSE(world.answered(draw));
  world.Run(Duration::Millis(2));
  const Refusal* refusal = world.RefusalOf(draw);
  ASSERT_NE(refusal, nullptr);
  EXPECT_EQ(refusal->kind, Refusal::Kind::kUnavailable);
  EXPECT_TRUE(refusal->retry_after.has_value());
  EXPECT_EQ(world.Snapshot("a").counters["draws_refused"], 1u);
  EXPECT_EQ(world.Snapshot("a").counters["refusal_draw_unavailable"], 1u);
}

TEST_F(NodeDrawsTest, WithoutADeadlineADrawIsRefusedAtOnce) {
  NodeWorld world({"a", "b"}, WithWait(Duration{}));
  world.Run(Duration::Seconds(3));
  EXPECT_NE(world.RefusalOf(world.Draw("a", "b")), nullptr);
}

// Whether the draw is answered at this time and not a millisecond before.
void ExpectEndsAfter(NodeWorld& world, uint64_t draw, Duration wait) {
  world.Run(wait - Duration::Millis(1));
  EXPECT_FALSE(world.answered(draw));
  world.Run(Duration::Millis(2));
  ASSERT_NE(world.RefusalOf(draw), nullptr);
  EXPECT_EQ(world.RefusalOf(draw)->kind, Refusal::Kind::kUnavailable);
  EXPECT_EQ(world.RefusalOf(draw)->details.at("bits_asked"), "256");
  EXPECT_EQ(world.RefusalOf(draw)->details.at("bits_at_hand"), "0");
}

TEST_F(NodeDrawsTest, ARequestMayAskForALongerOrAShorterWait) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.Run(Duration::Seconds(3));
  ExpectEndsAfter(world, world.Draw("a", "b", 1, {{"keyhop_deadline_ms", 200}}),
                  Duration::Millis(200));
  ExpectEndsAfter(world, world.Draw("a", "b", 1, {{"keyhop_deadline_ms", 9000}}),
                  Duration::Millis(9000));
  EXPECT_NE(world.RefusalOf(world.Draw("a", "b", 1, {{"keyhop_deadline_ms", 0}})), nullptr);
  NodeWorld hasty({"a", "b"}, WithWait(Duration{}));
  hasty.Run(Duration::Seconds(3));
  ExpectEndsAfter(hasty, hasty.Draw("a", "b", 1, {{"keyhop_deadline_ms", 300}}),
                  Duration::Millis(300));
}

TEST_F(NodeDrawsTest, ADrawBehindOneThatMayWaitLongerEndsAtItsOwnDeadline) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.Run(Duration::Seconds(3));
  const uint64_t patient = world.Draw("a", "b", 1, {{"keyhop_deadline_ms", 9000}});
  const uint64_t hasty = world.Draw("a", "b", 1, {{"keyhop_deadline_ms", 100}});
  const uint64_t now = world.Draw("a", "b", 1, {{"keyhop_deadline_ms", 0}});
  ASSERT_NE(world.RefusalOf(now), nullptr) << "does not wait behind others";
  EXPECT_EQ(world.RefusalOf(now)->kind, Refusal::Kind::kUnavailable);
  ExpectEndsAfter(world, hasty, Duration::Millis(100));
  EXPECT_FALSE(world.answered(patient));
  world.MakePads(128 * 1024);
  world.Run(Duration::Seconds(3));
  EXPECT_EQ(world.Keys(patient).keys.size(), 1u);
}

TEST_F(NodeDrawsTest, ADrawWithADeadlineGetsTheKeyThatComesInTime) {
  NodeWorld world({"a", "b"}, WithWait(Duration{}));
  world.Run(Duration::Seconds(3));
  const uint64_t draw = world.Draw("a", "b", 1, {{"keyhop_deadline_ms", 5000}});
  EXPECT_FALSE(world.answered(draw));
  world.MakePads(128 * 1024);
  world.Run(Duration::Seconds(4));
  EXPECT_EQ(world.Keys(draw).keys.size(), 1u);
}

// What status announces as the most of one request is more than a pool holds by default: it grows.
TEST_F(NodeDrawsTest, TheLargestRequestAllowedIsServedOnceThePoolHasGrown) {
  for (const Duration wait : {Duration{}, Duration::Seconds(60)}) {
    NodeWorld world({"a", "b"}, [wait](NodeConfig& config) {
      config.delivery.draw_wait = wait;
      config.pool.target_bytes = 8 * 1024;
    });
    world.MakePads(4 * 1024 * 1024);
    world.Run(Duration::Seconds(3));
    const auto ask = [&] {
      return world.Draw(
          "a", DrawRequest{
                   .caller = SaeId("A"), .slave = SaeId("B"), .number = 128, .size_bits = 16'384});
    };
    uint64_t draw = ask();
    const Instant until = world.now() + Duration::Seconds(60);
    while (world.now() < until && (!world.answered(draw) || world.RefusalOf(draw) != nullptr)) {
      if (world.answered(draw)) {
        EXPECT_EQ(wait, Duration{});
        draw = ask();
      }
      world.Run(Duration::Millis(500));
    }
    ASSERT_EQ(world.RefusalOf(draw), nullptr) << world.RefusalOf(draw)->message;
    EXPECT_EQ(world.Keys(draw).keys.size(), 128u);
  }
}

TEST(RecentRateTest, CountsTheLastTenSeconds) {
  const auto at = [](int64_t s) { return Instant{} + Duration::Seconds(s); };
  RecentRate rate(at(0));
  EXPECT_EQ(rate.PerSecond(at(0)), 0u);
  rate.Note(at(1), 100);
  EXPECT_EQ(rate.PerSecond(at(2)), 50u) << "since two seconds";
  rate.Note(at(20), 100);
  EXPECT_EQ(rate.PerSecond(at(20)), 0u) << "nothing came lately";
  for (int s = 21; s <= 40; ++s) rate.Note(at(s), 100 + 70 * static_cast<uint64_t>(s - 20));
  EXPECT_EQ(rate.PerSecond(at(40)), 70u);
  EXPECT_EQ(rate.PerSecond(at(45)), 35u);
  EXPECT_EQ(rate.PerSecond(at(50)), 0u);
}

TEST_F(NodeDrawsTest, WhatTheStandardRefusesDoesNotWait) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.Run(Duration::Seconds(3));
  const uint64_t waiting = world.Draw("a", "b");
  const uint64_t wrong = world.Draw("a", "b", 0);
  EXPECT_FALSE(world.answered(waiting));
  ASSERT_NE(world.RefusalOf(wrong), nullptr);
  EXPECT_EQ(world.RefusalOf(wrong)->kind, Refusal::Kind::kBadRequest);
}

TEST_F(NodeDrawsTest, WaitingDrawsAreServedInTheOrderOfTheirArrival) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.Run(Duration::Seconds(3));
  std::vector<uint64_t> draws;
  for (uint64_t number : {100, 1, 50, 1}) draws.push_back(world.Draw("a", "b", number));
  for (uint64_t draw : draws) EXPECT_FALSE(world.answered(draw));
  bool earlier = true;
  for (int i = 0; i < 400 && !world.answered(draws.back()); ++i) {
    world.MakePads(4096);
    for (size_t k = 1; k < draws.size(); ++k) {
      earlier = earlier && (world.answered(draws[k - 1]) || !world.answered(draws[k]));
    }
    world.Run(Duration::Millis(20));
  }
  EXPECT_TRUE(earlier) << "a later draw was served first";
  for (uint64_t draw : draws) world.Keys(draw);
}

TEST_F(NodeDrawsTest, APairThatCannotBeFilledHoldsABoundedNumberOfDraws) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.Run(Duration::Seconds(3));
  std::vector<uint64_t> draws;
  for (int i = 0; i < 65; ++i) draws.push_back(world.Draw("a", "b"));
  EXPECT_FALSE(world.answered(draws[63]));
  ASSERT_NE(world.RefusalOf(draws[64]), nullptr);
  EXPECT_EQ(world.RefusalOf(draws[64])->kind, Refusal::Kind::kExhausted);
  world.Run(kWait + Duration::Millis(1));
  for (uint64_t draw : draws) EXPECT_NE(world.RefusalOf(draw), nullptr);
}

TEST_F(NodeDrawsTest, ADrawWaitsForTheDestinationToComeBack) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.MakePads(128 * 1024);
  world.Draw("a", "b");
  world.Run(Duration::Seconds(3));
  world.Crash("a");
  world.Start("a");
  const uint64_t draw = world.Draw("a", "b");
  world.Run(kWait);
  EXPECT_EQ(world.Keys(draw).keys.size(), 1u);
}

TEST_F(NodeDrawsTest, ACallersDeadlineBoundsItsWaitWhoeverIsBeforeIt) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.Run(Duration::Seconds(3));
  const uint64_t patient = world.Draw("a", "b");
  const uint64_t hasty = 1000;
  world.Feed(
      "a",
      DrawAsked{hasty,
                {.caller = SaeId("A"), .slave = SaeId("B"), .wait_max = Duration::Millis(100)}});
  world.Run(Duration::Millis(99));
  EXPECT_FALSE(world.answered(hasty));
  world.Run(Duration::Millis(2));
  ASSERT_NE(world.RefusalOf(hasty), nullptr);
  EXPECT_EQ(world.RefusalOf(hasty)->kind, Refusal::Kind::kUnavailable);
  EXPECT_FALSE(world.answered(patient));
  world.Feed("a", DrawAsked{hasty + 1,
                            {.caller = SaeId("A"), .slave = SaeId("B"), .wait_max = Duration{}}});
  EXPECT_NE(world.RefusalOf(hasty + 1), nullptr);
}

TEST_F(NodeDrawsTest, ACancelledDrawTakesNoKey) {
  NodeWorld world({"a", "b"}, WithWait(kWait));
  world.Run(Duration::Seconds(3));
  world.Feed("a", DrawAsked{1000, {.caller = SaeId("A"), .slave = SaeId("B"), .call = 7}});
  const uint64_t next = world.Draw("a", "b");
  world.Feed("a", CallCancelled{8});
  EXPECT_FALSE(world.answered(1000));
  world.Feed("a", CallCancelled{7});
  EXPECT_NE(world.RefusalOf(1000), nullptr);
  world.MakePads(128 * 1024);
  world.Run(kWait);
  EXPECT_EQ(world.Keys(next).keys.size(), 1u);
  EXPECT_EQ(world.Snapshot("a").counters["keys_drawn"], 1u);
}

}  // namespace
}  // namespace keyhop
