// Slaves that watch for keys drawn for them (docs/design-notes.md, "Announcements").
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

class NodeAnnounceTest : public ::testing::Test {
 protected:
  static constexpr Duration kWait = Duration::Seconds(3);

  explicit NodeAnnounceTest(NodeWorld::Tune tune = {}) : world_({"a", "b", "c"}, Tuned(tune)) {
    world_.MakePads(256 * 1024);
    // The pair's first draw makes its stream.
    world_.Draw("a", "c");
    world_.Run(kWait);
  }
  static NodeWorld::Tune Tuned(const NodeWorld::Tune& tune) {
    return [tune](NodeConfig& config) {
      config.delivery.draw_wait = Duration::Seconds(2);
      config.announce.retry = Duration::Millis(300);
      if (tune) tune(config);
    };
  }

  // key_IDs, and gaps as "gap of NODE", in the order told.
  struct Told {
    std::vector<KeyId> keys;
    std::vector<std::string> gaps;
    WatchRequest::Place seen;
  };
  Told Read(uint64_t token) {
    Told told;
    const auto answer = world_.watched.find(token);
    EXPECT_NE(answer, world_.watched.end()) << "not answered";
    if (answer == world_.watched.end()) return told;
    const auto& entries = std::get<WatchAnswer>(answer->second).entries;
    for (const WatchEntry& entry : entries) {
      if (entry.gap_at) {
        told.gaps.push_back("gap of " + entry.gap_at->value);
      } else {
        told.keys.push_back(entry.key_id);
        EXPECT_EQ(entry.master, SaeId("A"));
        EXPECT_EQ(entry.size_bits, 256u);
      }
    }
    told.seen = std::get<WatchAnswer>(answer->second).seen;
    return told;
  }
  std::vector<KeyId> DrawIds(uint64_t number) {
    const uint64_t token = world_.Draw("a", "c", number);
    world_.Run(Duration::Millis(500));
    std::vector<KeyId> ids;
    for (const DeliveredKey& key : world_.Keys(token).keys) ids.push_back(key.id);
    return ids;
  }
  // Begins to watch and reads what a new watcher is told; the place after it.
  WatchRequest::Place Begin() {
    const Told first = Read(world_.Watch("c"));
    EXPECT_THAT(first.gaps, ElementsAre("gap of "));
    const uint64_t next = world_.Watch("c", first.seen);
    world_.Run(kWait);
    const Told heard = Read(next);
    EXPECT_THAT(heard.gaps, ElementsAre("gap of a"));
    EXPECT_THAT(heard.keys, IsEmpty());
    return heard.seen;
  }

  NodeWorld world_;
};

TEST_F(NodeAnnounceTest, ASlaveIsToldOfEachKeyOnceInTheOrderOfTheDraws) {
  WatchRequest::Place seen = Begin();
  const uint64_t waiting = world_.Watch("c", seen);
  EXPECT_FALSE(world_.watched.contains(waiting));
  const std::vector<KeyId> ids = DrawIds(3);
  const Told told = Read(waiting);
  EXPECT_THAT(told.keys, ElementsAreArray(ids));
  EXPECT_THAT(told.gaps, IsEmpty());
  const std::vector<KeyId> more = DrawIds(2);
  EXPECT_THAT(Read(world_.Watch("c", told.seen)).keys, ElementsAreArray(more));
  // From an earlier place the same comes again; each can be fetched.
  EXPECT_EQ(Read(world_.Watch("c", seen)).keys.size(), 5u);
  EXPECT_EQ(world_.Keys(world_.Fetch("c", "a", ids)).keys.size(), 3u);
}

TEST_F(NodeAnnounceTest, TheListAndItsPlacesSurviveARestartOfTheSlavesNode) {
  const WatchRequest::Place seen = Begin();
  const std::vector<KeyId> ids = DrawIds(2);
  world_.Crash("c");
  const std::vector<KeyId> meanwhile = DrawIds(1);
  world_.Start("c");
  world_.Run(Duration::Seconds(5));
  const Told told = Read(world_.Watch("c", seen));
  EXPECT_THAT(told.gaps, IsEmpty());
  EXPECT_THAT(told.keys, ElementsAre(ids[0], ids[1], meanwhile[0]));
}

TEST_F(NodeAnnounceTest, WhatARestartOfTheMastersNodeLosesIsToldAsAGap) {
  WatchRequest::Place seen = Begin();
  world_.Crash("c");  // Nobody takes what is drawn now.
  DrawIds(2);
  world_.Crash("a");
  world_.Start("c");
  world_.Start("a");
  world_.Draw("a", "c");
  world_.Run(Duration::Seconds(5));
  const Told told = Read(world_.Watch("c", seen));
  EXPECT_THAT(told.gaps, ElementsAre("gap of a"));
  const std::vector<KeyId> after = DrawIds(1);
  const Told next = Read(world_.Watch("c", told.seen));
  EXPECT_THAT(next.gaps, IsEmpty());
  EXPECT_THAT(next.keys, ElementsAreArray(after));
}

TEST_F(NodeAnnounceTest, OnlySlavesThatWatchCostMessages) {
  DrawIds(4);
  EXPECT_EQ(world_.Snapshot("c").counters["announcements_dropped"], 0u);
  const Told first = Read(world_.Watch("c"));
  EXPECT_THAT(first.keys, IsEmpty());
}

TEST_F(NodeAnnounceTest, ATokenOfAnotherLifeBeginsWithAGapOfAll) {
  WatchRequest::Place seen = Begin();
  const std::vector<KeyId> ids = DrawIds(1);
  ++seen.life;
  const Told told = Read(world_.Watch("c", seen));
  EXPECT_THAT(told.gaps, ElementsAre("gap of ", "gap of a"));
  EXPECT_THAT(told.keys, ElementsAreArray(ids));
}

TEST_F(NodeAnnounceTest, OnlyASaeAtHomeWatchesAndOnlySoManyCalls) {
  const uint64_t stranger = 9000;
  WatchRequest request;
  request.caller = SaeId("A");
  world_.Feed("c", WatchAsked{stranger, request});
  EXPECT_EQ(std::get<Refusal>(world_.watched.at(stranger)).kind, Refusal::Kind::kUnauthorized);
  const WatchRequest::Place seen = Begin();
  std::vector<uint64_t> calls;
  for (size_t i = 0; i < kWatchersPerSaeMax; ++i) calls.push_back(world_.Watch("c", seen));
  const uint64_t one_more = world_.Watch("c", seen);
  EXPECT_EQ(std::get<Refusal>(world_.watched.at(one_more)).kind, Refusal::Kind::kExhausted);
  world_.Feed("c", CallCancelled{calls[0]});
  EXPECT_TRUE(std::holds_alternative<Refusal>(world_.watched.at(calls[0])));
  EXPECT_FALSE(world_.watched.contains(world_.Watch("c", seen)));
}

TEST_F(NodeAnnounceTest, AnAdditionalSlaveIsToldAtItsOwnHome) {
  const WatchRequest::Place first = Begin();
  world_.Draw("a", "b");  // Makes the pair's stream.
  world_.Run(kWait);
  const Told begun = Read(world_.Watch("b"));
  world_.Run(kWait);
  const uint64_t token = world_.Draw(
      "a", {.caller = SaeId("A"), .slave = SaeId("C"), .additional_slaves = {SaeId("B")}});
  world_.Run(kWait);
  const std::vector<KeyId> ids = {world_.Keys(token).keys.front().id};
  EXPECT_THAT(Read(world_.Watch("c", first)).keys, ElementsAreArray(ids));
  EXPECT_THAT(Read(world_.Watch("b", begun.seen)).keys, ElementsAreArray(ids));
}

TEST_F(NodeAnnounceTest, ARepeatedAnswerIsNotToldAgain) {
  const WatchRequest::Place seen = Begin();
  const DrawRequest draw{.caller = SaeId("A"), .slave = SaeId("C"), .idempotency_key = "k"};
  const KeyId id = world_.Keys(world_.Draw("a", draw)).keys.front().id;
  EXPECT_EQ(world_.Keys(world_.Draw("a", draw)).keys.front().id, id);
  world_.Run(kWait);
  EXPECT_THAT(Read(world_.Watch("c", seen)).keys, ElementsAre(id));
}

TEST_F(NodeAnnounceTest, AnSaeThatIsSuspendedIsToldNothingMore) {
  const WatchRequest::Place seen = Begin();
  const uint64_t waiting = world_.Watch("c", seen);
  world_.SwitchSae("c", "c", /*active=*/false);
  EXPECT_EQ(std::get<Refusal>(world_.watched.at(waiting)).kind, Refusal::Kind::kUnauthorized);
  const uint64_t asked = world_.Watch("c", seen);
  EXPECT_EQ(std::get<Refusal>(world_.watched.at(asked)).kind, Refusal::Kind::kUnauthorized);
  world_.SwitchSae("c", "c", /*active=*/true);
  const std::vector<KeyId> ids = DrawIds(1);
  EXPECT_THAT(Read(world_.Watch("c", seen)).keys, ElementsAreArray(ids));
}

class AnnounceAtHomeTest : public NodeAnnounceTest {
 protected:
  AnnounceAtHomeTest()
      : NodeAnnounceTest([](NodeConfig& config) {
          if (config.self == NodeId("c")) config.routing.saes.emplace_back("A2");
        }) {}
};

TEST_F(AnnounceAtHomeTest, AMasterOfTheSameHomeIsToldOfLikeAnother) {
  Begin();
  const DrawRequest draw{.caller = SaeId("A2"), .slave = SaeId("C")};
  world_.Draw("c", draw);  // Makes the pair's stream.
  world_.Run(kWait);
  WatchRequest request{.caller = SaeId("C")};
  world_.Feed("c", WatchAsked{9000, request});
  request.seen = std::get<WatchAnswer>(world_.watched.at(9000)).seen;
  const uint64_t token = world_.Draw("c", draw);
  world_.Run(kWait);
  world_.Feed("c", WatchAsked{9001, request});
  const auto& entries = std::get<WatchAnswer>(world_.watched.at(9001)).entries;
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].key_id, world_.Keys(token).keys.front().id);
  EXPECT_EQ(entries[0].master, SaeId("A2"));
}

class BoundedAnnounceTest : public NodeAnnounceTest {
 protected:
  BoundedAnnounceTest()
      : NodeAnnounceTest([](NodeConfig& config) {
          config.announce.queued_max = 4;
          config.announce.kept_per_sae_max = 16;
          config.announce.saes_max = 1;
          config.announce.watch_life = Duration::Seconds(60);
        }) {}
};

TEST_F(BoundedAnnounceTest, AQueueThatOverflowsIsToldAsAGap) {
  const WatchRequest::Place seen = Begin();
  world_.Crash("c");
  const std::vector<KeyId> ids = DrawIds(6);
  EXPECT_EQ(world_.Snapshot("a").counters["announcements_dropped"], 2u);
  world_.Start("c");
  world_.Run(Duration::Seconds(5));
  const Told told = Read(world_.Watch("c", seen));
  EXPECT_THAT(told.gaps, ElementsAre("gap of a"));
  EXPECT_THAT(told.keys, ElementsAre(ids[2], ids[3], ids[4], ids[5]));
}

TEST_F(BoundedAnnounceTest, AListDropsItsOldestWhichAWatcherIsTold) {
  const WatchRequest::Place seen = Begin();
  std::vector<KeyId> ids;
  for (int i = 0; i < 10; ++i) {
    for (const KeyId& id : DrawIds(2)) ids.push_back(id);
  }
  const Told told = Read(world_.Watch("c", seen));
  EXPECT_THAT(told.gaps, ElementsAre("gap of "));
  EXPECT_THAT(told.keys, ElementsAreArray(ids.end() - 16, ids.end()));
}

TEST_F(BoundedAnnounceTest, AnSaeThatDoesNotWatchForLongIsForgotten) {
  const WatchRequest::Place seen = Begin();
  world_.Run(Duration::Seconds(61));
  DrawIds(1);
  EXPECT_THAT(Read(world_.Watch("c", seen)).gaps, ElementsAre("gap of "));
}

}  // namespace
}  // namespace keyhop
