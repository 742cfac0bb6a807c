// What an operator sets for a node as a whole: links out of use, the memory of leases, the strict
// start, the length of paths and segments.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Duration kWait = Duration::Seconds(2);

// Draws wait, so that one question shows whether a pair delivers.
void Patient(NodeConfig& config) { config.delivery.draw_wait = kWait; }

bool Delivers(NodeWorld& world, const std::string& master, const std::string& slave) {
  world.MakePads(64 * 1024);
  const uint64_t draw = world.Draw(master, slave);
  world.Run(kWait + Duration::Millis(1));
  return world.RefusalOf(draw) == nullptr;
}

TEST(LinkSwitchTest, ALinkThatIsDownCarriesNothingAndTheOtherEndHearsOfIt) {
  NodeWorld world({"a", "b", "c"}, Patient);
  ASSERT_TRUE(Delivers(world, "a", "b"));
  ASSERT_TRUE(Delivers(world, "c", "a"));
  EXPECT_TRUE(world.switched.at(world.Switch("a", "a-b", false)).ok());
  world.Run(Duration::Seconds(2));
  const uint64_t frames = world.frames;
  // What is leased at both ends is drawn still; nothing more comes.
  for (const auto& [master, slave] : {std::pair("a", "b"), std::pair("c", "a")}) {
    for (int i = 0; i < 5000 && !world.RefusalOf(world.Draw(master, slave)); ++i) {
    }
  }
  world.Run(kWait);
  EXPECT_FALSE(Delivers(world, "a", "b"));
  EXPECT_FALSE(Delivers(world, "c", "a"));
  EXPECT_EQ(world.frames, frames);
  EXPECT_THAT(world.Snapshot("a").links_down, ElementsAre(LinkId("a-b")));
  EXPECT_THAT(world.Snapshot("b").links_down, IsEmpty());
  EXPECT_TRUE(Delivers(world, "b", "c"));

  EXPECT_TRUE(world.switched.at(world.Switch("a", "a-b", true)).ok());
  world.Run(Duration::Seconds(2));
  EXPECT_TRUE(Delivers(world, "a", "b"));
  EXPECT_TRUE(Delivers(world, "c", "a"));
}

TEST(LinkSwitchTest, AnOperatorsWordSurvivesRestarts) {
  NodeWorld world({"a", "b"}, Patient);
  world.Switch("a", "a-b", false);
  for (int i = 0; i < 2; ++i) {
    world.Crash("a");
    world.Start("a");
    world.Run(Duration::Seconds(2));
    EXPECT_THAT(world.Snapshot("a").links_down, ElementsAre(LinkId("a-b")));
    EXPECT_FALSE(Delivers(world, "a", "b"));
    EXPECT_FALSE(Delivers(world, "b", "a"));
  }
  EXPECT_EQ(world.frames, 0u);
  world.Switch("a", "a-b", true);
  world.Crash("a");
  world.Start("a");
  world.Run(Duration::Seconds(2));
  EXPECT_THAT(world.Snapshot("a").links_down, IsEmpty());
  EXPECT_TRUE(Delivers(world, "a", "b"));
  EXPECT_TRUE(Delivers(world, "b", "a"));
}

TEST(LinkSwitchTest, SayingItAgainSucceedsAndAnUnknownLinkIsNotFound) {
  NodeWorld world({"a", "b"});
  for (const bool up : {true, false, false, true}) {
    EXPECT_TRUE(world.switched.at(world.Switch("a", "a-b", up)).ok());
    EXPECT_EQ(world.Snapshot("a").links_down.empty(), up);
  }
  EXPECT_EQ(world.switched.at(world.Switch("a", "b-c", false)).code(), absl::StatusCode::kNotFound);
}

Refusal::Kind WhyNot(NodeWorld& world, uint64_t request) {
  const Refusal* refusal = world.RefusalOf(request);
  return refusal == nullptr ? Refusal::Kind::kInternal : refusal->kind;
}

TEST(SaeSwitchTest, ASuspendedSaeIsRefusedThroughRestartsUntilItIsTakenBack) {
  NodeWorld world({"a", "b"}, Patient);
  ASSERT_TRUE(Delivers(world, "a", "b"));
  const KeyId id = world.Keys(world.Draw("b", "a")).keys.at(0).id;
  EXPECT_TRUE(world.switched.at(world.SwitchSae("a", "a", false)).ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(WhyNot(world, world.Draw("a", "b")), Refusal::Kind::kUnauthorized);
    EXPECT_EQ(WhyNot(world, world.Fetch("a", "b", {id})), Refusal::Kind::kUnauthorized);
    world.Crash("a");
    world.Start("a");
    world.Run(Duration::Seconds(2));
  }
  EXPECT_TRUE(Delivers(world, "b", "a")) << "others go on";
  EXPECT_TRUE(world.switched.at(world.SwitchSae("a", "a", true)).ok());
  EXPECT_TRUE(Delivers(world, "a", "b"));
  EXPECT_EQ(world.Keys(world.Fetch("a", "b", {id})).keys.size(), 1u) << "drawn for it before";
  world.Crash("a");
  world.Start("a");
  world.Run(Duration::Seconds(2));
  EXPECT_TRUE(Delivers(world, "a", "b"));
}

TEST(SaeSwitchTest, ADrawThatWaitsEndsWhenItsSaeIsSuspended) {
  NodeWorld world({"a", "b"}, Patient);
  world.Run(Duration::Seconds(3));
  const uint64_t draw = world.Draw("a", "b");
  ASSERT_FALSE(world.answered(draw));
  world.SwitchSae("a", "a", false);
  world.Run(kWait + Duration::Millis(1));
  EXPECT_EQ(WhyNot(world, draw), Refusal::Kind::kUnauthorized);
}

TEST(SaeSwitchTest, OnlyAnSaeOfThisNodeIsFound) {
  NodeWorld world({"a", "b"});
  world.Run(Duration::Seconds(3));
  for (const bool active : {true, false, false, true}) {
    EXPECT_TRUE(world.switched.at(world.SwitchSae("a", "a", active)).ok());
  }
  EXPECT_EQ(world.switched.at(world.SwitchSae("a", "b", false)).code(),
            absl::StatusCode::kNotFound);
}

struct Leased {
  uint64_t most = 0;
  uint64_t sum = 0;  // Over all looks.
};

// Relays all the time for 8 s; what is leased meanwhile at each of a, b, c.
std::map<std::string, Leased> LeasedUnderLoad(NodeWorld& world) {
  std::map<std::string, Leased> leased;
  for (int i = 0; i < 160; ++i) {
    world.MakePads(24 * 1024);
    for (const auto& [master, slave] : {std::pair("a", "c"), std::pair("c", "a")}) {
      world.Draw(master, slave, 64);
    }
    world.Run(Duration::Millis(50));
    for (const char* node : {"a", "b", "c"}) {
      const uint64_t bytes = world.Snapshot(node).leased_bytes;
      leased[node].most = std::max(leased[node].most, bytes);
      leased[node].sum += bytes;
    }
  }
  return leased;
}

TEST(LeaseMemoryTest, AllLeasesTogetherStayNearTheBudgetAndNothingStops) {
  constexpr uint64_t kBudget = 64 * 1024;
  NodeWorld without({"a", "b", "c"}, Patient);
  auto more = LeasedUnderLoad(without);
  NodeWorld world({"a", "b", "c"}, [](NodeConfig& config) {
    Patient(config);
    config.lease_memory_bytes_max = kBudget;
  });
  auto leased = LeasedUnderLoad(world);
  uint64_t drawn = 0;
  for (const auto& [token, answer] : world.answers) {
    if (const auto* keys = std::get_if<KeyContainer>(&answer)) drawn += keys->keys.size();
  }
  // What is under way when the budget is used up comes still: one lease in each direction of each
  // link.
  const std::map<std::string, uint64_t> under_way = {{"a", 2}, {"b", 4}, {"c", 2}};
  for (const char* node : {"a", "b", "c"}) {
    EXPECT_LE(leased[node].most, kBudget + under_way.at(node) * 64 * 1024) << node;
    EXPECT_LT(leased[node].sum * 5 / 4, more[node].sum) << node << ": the budget does not bind";
    EXPECT_GT(world.Snapshot(node).counters["lease_memory_full"], 0u) << node;
    EXPECT_EQ(without.Snapshot(node).counters["lease_memory_full"], 0u) << node;
  }
  EXPECT_GT(drawn, 1000u);
  EXPECT_TRUE(Delivers(world, "b", "a"));
}

TEST(LeaseMemoryTest, WithTheBudgetUsedUpAKeyIsAtHandStill) {
  NodeWorld world({"a", "b"}, [](NodeConfig& config) {
    config.lease_memory_bytes_max = 1;
    config.stream.lease_bytes_min = 4;
  });
  world.MakePads(64 * 1024);
  EXPECT_NE(world.RefusalOf(world.Draw("a", "b")), nullptr);  // Nobody asked before.
  for (int i = 0; i < 5; ++i) {
    world.Run(Duration::Seconds(3));
    EXPECT_EQ(world.Keys(world.Draw("a", "b")).keys.size(), 1u);
  }
}

// A key that a drew is fetched at b after b's restart.
std::optional<Refusal> FetchAfterRestart(bool burn) {
  NodeWorld world({"a", "b"}, [burn](NodeConfig& config) {
    Patient(config);
    config.burn_open_leases_on_start = burn;
  });
  EXPECT_TRUE(Delivers(world, "a", "b"));
  const KeyContainer& drawn = world.Keys(world.Draw("a", "b"));
  world.Crash("b");
  world.Start("b");
  world.Run(Duration::Seconds(2));  // The ends have spoken.
  const uint64_t fetch = world.Fetch("b", "a", {drawn.keys.at(0).id});
  std::optional<Refusal> refusal;
  if (const Refusal* found = world.RefusalOf(fetch)) refusal = *found;
  EXPECT_TRUE(Delivers(world, "a", "b"));  // The pair goes on, either way.
  return refusal;
}

TEST(StrictStartTest, AStartKeepsWhatCanStillBeFetchedUnlessItShallNot) {
  EXPECT_FALSE(FetchAfterRestart(/*burn=*/false).has_value());
  const auto refusal = FetchAfterRestart(/*burn=*/true);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->kind, Refusal::Kind::kNotFound);
}

TEST(StrictStartTest, TheBurntUnitsAreGoneFromTheDisk) {
  NodeWorld world({"a", "b"}, [](NodeConfig& config) {
    Patient(config);
    config.burn_open_leases_on_start = true;
  });
  ASSERT_TRUE(Delivers(world, "a", "b"));
  const auto leased_units = [&] {
    size_t count = 0;
    for (const auto& [key, record] : world.disk("b").image()) {
      const auto* stream = std::get_if<StreamRecord>(record.get());
      const auto* unit = stream == nullptr ? nullptr : std::get_if<UnitStateRecord>(stream);
      count += unit != nullptr && unit->leased;
    }
    return count;
  };
  ASSERT_GT(leased_units(), 0u);
  world.Crash("b");
  world.Crash("a");  // So that nothing is leased anew.
  world.Start("b");
  EXPECT_EQ(leased_units(), 0u);
}

TEST(PathLengthTest, NoPathIsLongerThanTheLimit) {
  NodeWorld world({"a", "b", "c", "d"}, [](NodeConfig& config) {
    Patient(config);
    config.routing.hops_max = 2;
  });
  world.MakePads(256 * 1024);
  world.Run(Duration::Seconds(3));
  EXPECT_TRUE(Delivers(world, "a", "c"));
  EXPECT_FALSE(Delivers(world, "a", "d"));
  EXPECT_TRUE(Delivers(world, "b", "d"));
}

TEST(SegmentSizeTest, NodesWithUnequalSegmentSizesShareKeys) {
  NodeWorld world({"a", "b"}, [](NodeConfig& config) {
    Patient(config);
    if (config.self == NodeId("a")) config.stream.segment_body_bytes = 256;
  });
  EXPECT_TRUE(Delivers(world, "a", "b"));
  EXPECT_TRUE(Delivers(world, "b", "a"));
}

TEST(SegmentSizeTest, ASizeThatNoUnitHoldsIsRefusedWithTheLimit) {
  NodeConfig config;
  config.self = config.routing.self = NodeId("a");
  config.stream.segment_body_bytes = 8192;
  class NoEntropy final : public EntropySource {
    void Fill(std::span<uint8_t>) override {}
  } entropy;
  class NoAuthority final : public LinkStateAuthority {
    std::string Sign(const std::vector<uint8_t>&) override { return ""; }
    bool Verify(const NodeId&, const std::vector<uint8_t>&, const std::string&) override {
      return false;
    }
  } authority;
  const auto core = NodeCore::Create(std::move(config), entropy, authority, {});
  EXPECT_EQ(core.status().message(),
            "stream.segment_body_bytes shall be a multiple of 4 from 64 to 4096");
}

}  // namespace
}  // namespace keyhop
