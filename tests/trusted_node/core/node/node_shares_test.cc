// Keys that come over several node-disjoint paths (keyhop_paths_min).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kms/core/delivery/extensions.h"
#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSubsetOf;
using Shape = NodeWorld::Shape;

void Patient(NodeConfig& config) { config.delivery.draw_wait = Duration::Seconds(3); }

std::vector<ExtensionParameter> Over(uint64_t paths) { return {{kPathsExtension, paths}}; }

NodeWorld Ring() {
  NodeWorld world({"a", "b", "c", "d", "e"}, Patient, Shape::kRing);
  world.MakePads(256 * 1024);
  world.Run(Duration::Seconds(2));
  return world;
}

uint64_t DrawOver(NodeWorld& world, uint64_t paths) {
  const uint64_t draw = world.Draw("a", "c", 1, Over(paths));
  world.Run(Duration::Seconds(4));
  return draw;
}

TEST(NodeSharesTest, AKeyOverTwoPathsIsTheSameAtBothEndsAndComesOnce) {
  NodeWorld world = Ring();
  const uint64_t draw = DrawOver(world, 2);
  ASSERT_EQ(world.RefusalOf(draw), nullptr);
  const DeliveredKey& key = world.Keys(draw).keys.at(0);
  const uint64_t fetch = world.Fetch("c", "a", {key.id});
  EXPECT_TRUE(world.Keys(fetch).keys.at(0).key.EqualsConstantTime(key.key));
  EXPECT_NE(world.RefusalOf(world.Fetch("c", "a", {key.id})), nullptr);
}

TEST(NodeSharesTest, NoNodeInBetweenPassesTwoSharesOfASegment) {
  NodeWorld world = Ring();
  std::map<std::pair<StreamAddress, SegmentKind>, std::map<uint8_t, std::set<std::string>>> seen;
  world.passes = [&](const std::string& from, const KxMessage& message) {
    const auto* frame = std::get_if<RelayFrame>(&message);
    if (frame != nullptr && frame->stream.paths == 2 && frame->hop > 0) {
      seen[{frame->at, frame->kind}][frame->share].insert(from);
    }
    return true;
  };
  ASSERT_EQ(world.RefusalOf(DrawOver(world, 2)), nullptr);
  int whole = 0;
  for (auto& [segment, shares] : seen) {
    EXPECT_THAT(shares[0], IsSubsetOf({"b"}));
    EXPECT_THAT(shares[1], IsSubsetOf({"d", "e"}));
    whole += shares[0].size() + shares[1].size() == 3;
  }
  EXPECT_GT(whole, 0);
}

TEST(NodeSharesTest, WithTooFewPathsTheDrawIsRefusedAndNothingWeakerIsGiven) {
  NodeWorld world = Ring();
  const uint64_t three = DrawOver(world, 3);
  ASSERT_NE(world.RefusalOf(three), nullptr);
  EXPECT_EQ(world.RefusalOf(three)->message, kExtensionUnmet);
  EXPECT_THAT(world.RefusalOf(three)->details.at("extension_mandatory_unmet"),
              HasSubstr("no 3 node-disjoint paths"));
  world.Crash("d");
  world.Run(Duration::Seconds(60));
  const uint64_t one_way_left = DrawOver(world, 2);
  ASSERT_NE(world.RefusalOf(one_way_left), nullptr);
  EXPECT_EQ(world.RefusalOf(one_way_left)->message, kExtensionUnmet);
  EXPECT_EQ(world.RefusalOf(world.Draw("a", "c")), nullptr) << "who asks for less gets it";
}

TEST(NodeSharesTest, WhatWasDrawnBeforeAPathWentIsStillFetched) {
  NodeWorld world = Ring();
  const uint64_t draw = DrawOver(world, 2);
  ASSERT_EQ(world.RefusalOf(draw), nullptr);
  world.Crash("d");
  world.Crash("c");
  world.Start("c");
  world.Run(Duration::Seconds(3));
  const DeliveredKey& key = world.Keys(draw).keys.at(0);
  const uint64_t fetch = world.Fetch("c", "a", {key.id});
  EXPECT_TRUE(world.Keys(fetch).keys.at(0).key.EqualsConstantTime(key.key));
}

TEST(NodeSharesTest, AFetchMayNameKeysOfSeveralStreamsAndTakesAllOrNone) {
  NodeWorld world = Ring();
  const uint64_t split = DrawOver(world, 2);
  const uint64_t plain = world.Draw("a", "c", 2);
  ASSERT_EQ(world.RefusalOf(plain), nullptr);
  const KeyContainer& two = world.Keys(plain);
  const DeliveredKey& one = world.Keys(split).keys.at(0);
  const std::vector<KeyId> ids = {two.keys[0].id, one.id, two.keys[1].id};
  std::vector<KeyId> with_a_stranger = ids;
  with_a_stranger.push_back(KeyId{1, 2, 3});
  EXPECT_NE(world.RefusalOf(world.Fetch("c", "a", with_a_stranger)), nullptr);
  const KeyContainer& got = world.Keys(world.Fetch("c", "a", ids));
  EXPECT_TRUE(got.keys.at(0).key.EqualsConstantTime(two.keys[0].key));
  EXPECT_TRUE(got.keys.at(1).key.EqualsConstantTime(one.key));
  EXPECT_TRUE(got.keys.at(2).key.EqualsConstantTime(two.keys[1].key));
}

TEST(NodeSharesTest, APolicyHoldsForEveryDrawOfItsPair) {
  NodeWorld world(
      {"a", "b", "c", "d", "e"},
      [](NodeConfig& config) {
        Patient(config);
        config.delivery.paths_min_with[NodeId("c")] = 2;
      },
      Shape::kRing);
  world.MakePads(256 * 1024);
  world.Run(Duration::Seconds(2));
  const auto draws = [&](const char* slave) {
    const uint64_t draw = world.Draw("a", slave);
    world.Run(Duration::Seconds(4));
    return world.RefusalOf(draw) == nullptr;
  };
  EXPECT_TRUE(draws("c"));
  world.Crash("e");
  world.Run(Duration::Seconds(60));
  for (int i = 0; i < 5000 && draws("c"); ++i) {
  }
  EXPECT_FALSE(draws("c")) << "it had more than it could draw";
  EXPECT_TRUE(draws("d")) << "without a policy";
}

TEST(NodeSharesTest, AShareThatNeverComesIsForgotten) {
  NodeWorld world = Ring();
  bool lose = true;
  world.passes = [&](const std::string& from, const KxMessage& message) {
    const auto* frame = std::get_if<RelayFrame>(&message);
    return !(lose && frame != nullptr && frame->stream.paths == 2 && from == "b");
  };
  EXPECT_NE(world.RefusalOf(DrawOver(world, 2)), nullptr);
  lose = false;
  world.Run(Duration::Seconds(120));
  EXPECT_EQ(world.RefusalOf(DrawOver(world, 2)), nullptr);
}

}  // namespace
}  // namespace keyhop
