#include "sim/net/world.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/net/disk.h"
#include "sim/net/runner.h"

namespace keyhop::sim {
namespace {

TEST(DiskTest, GivesBackWhatWasAppliedLastAndForgetsWhatWasErased) {
  Disk disk;
  const LinkId link("a-b");
  disk.Apply(LinkRecordVariant(PadRecord{link, {0, 1}, 3, SecretBytes(32)}));
  disk.Apply(LinkRecordVariant(PadRecord{link, {0, 1}, 4, SecretBytes(32)}));
  disk.Apply(LinkRecordVariant(PadRecord{link, {0, 1}, 3, std::nullopt}));
  disk.Apply(NodeRecord{1});
  disk.Apply(NodeRecord{2});
  const std::vector<Record> records = disk.Recover();
  ASSERT_EQ(records.size(), 2u);
  uint64_t counter = 0;
  for (const Record& record : records) {
    if (const auto* node = std::get_if<NodeRecord>(&record)) counter = node->incarnation_counter;
  }
  EXPECT_EQ(counter, 2u);
}

TEST(DiskTest, KeepsThePlacesOfAllKindsApart) {
  const StreamId stream{NodeId("a"), NodeId("b")};
  std::vector<Record> records;
  records.push_back(NodeRecord{});
  records.push_back(RoutingRecord{});
  records.push_back(DirectoryRecord{SaeId("a"), NodeId("a"), 1});
  records.push_back(LinkRecordVariant(LinkRecord{.link = LinkId("a")}));
  records.push_back(LinkRecordVariant(BookRecord{LinkId("a"), {0, 1}}));
  records.push_back(LinkRecordVariant(PadRecord{LinkId("a"), {0, 1}}));
  records.push_back(StreamRecord(SourceRecord{.stream = stream}));
  records.push_back(StreamRecord(EpochRecord{.stream = stream, .at_source = true}));
  records.push_back(StreamRecord(EpochRecord{.stream = stream, .at_source = false}));
  records.push_back(StreamRecord(SourceSegmentRecord{.stream = stream}));
  records.push_back(StreamRecord(DestinationRecord{.stream = stream}));
  records.push_back(StreamRecord(UnitBodyRecord{.stream = stream}));
  records.push_back(StreamRecord(UnitStateRecord{.stream = stream}));
  records.push_back(LinkDownRecord{LinkId("a")});
  records.push_back(RunTimeRecord{});
  records.push_back(IdempotencyRecord{.caller = SaeId("a"), .key = "bc"});
  records.push_back(IdempotencyRecord{.caller = SaeId("ab"), .key = "c"});
  std::set<std::string> keys;
  for (const Record& record : records) keys.insert(RecordKey(record));
  EXPECT_EQ(keys.size(), records.size());
}

TEST(DiskTest, AnImageDoesNotChangeWithTheDisk) {
  Disk disk;
  disk.Apply(NodeRecord{1});
  const Disk::Image image = disk.image();
  disk.Apply(NodeRecord{2});
  disk.Restore(image);
  EXPECT_EQ(std::get<NodeRecord>(disk.Recover().front()).incarnation_counter, 1u);
}

TEST(MessageBytesTest, TamperChangesWhatATapSees) {
  Prng prng(3);
  RelayFrame frame;
  frame.ciphertext = {1, 2, 3};
  frame.path = {NodeId("a"), NodeId("b")};
  RoutedControl control;
  control.body = StreamMessage(SegmentAck{});
  const std::vector<KxMessage> messages = {frame, control, LinkState{}, LinkMessage(LinkHello{})};
  for (const KxMessage& message : messages) {
    for (int i = 0; i < 50; ++i) {
      KxMessage changed = message;
      Tamper(prng, changed);
      EXPECT_NE(BytesOf(changed), BytesOf(message)) << KindOf(message);
    }
  }
}

TEST(PlanTest, DrawsConnectedWorldsWithinBounds) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const Plan plan = Plan::Draw(seed);
    ASSERT_GE(plan.nodes.size(), 3u);
    ASSERT_LE(plan.nodes.size(), 12u);
    std::set<size_t> reached = {0};
    for (size_t round = 0; round < plan.nodes.size(); ++round) {
      for (const LinkPlan& link : plan.links) {
        ASSERT_LT(plan.nodes[link.a], plan.nodes[link.b]);
        if (reached.contains(link.a) || reached.contains(link.b)) {
          reached.insert(link.a);
          reached.insert(link.b);
        }
      }
    }
    EXPECT_EQ(reached.size(), plan.nodes.size()) << seed;
    EXPECT_GE(plan.fault_time, Duration::Seconds(600));
  }
}

TEST(WorldTest, TheSameSeedGivesTheSameTrace) {
  std::vector<std::string> first;
  std::vector<std::string> second;
  const auto into = [](std::vector<std::string>& lines) {
    return [&lines](const std::string& line) { lines.push_back(line); };
  };
  const RunResult a = World(5, std::nullopt, into(first)).Run();
  const RunResult b = World(5, std::nullopt, into(second)).Run();
  EXPECT_EQ(a.trace_hash, b.trace_hash);
  EXPECT_TRUE(first == second);
  EXPECT_EQ(a.trace_hash, World(5, std::nullopt, {}, Watch::kTraceOnly).Run().trace_hash);
  EXPECT_NE(a.trace_hash, World(6, std::nullopt).Run().trace_hash);
}

TEST(RunnerTest, SumsOverProcessesWhatEachSeedGives) {
  Totals alone;
  Totals together;
  RunSeeds(1, 4, 1, std::nullopt, [&](SeedReport r) { return alone.Add(r), true; });
  RunSeeds(1, 4, 2, std::nullopt, [&](SeedReport r) { return together.Add(r), true; });
  EXPECT_EQ(alone.seeds, 4u);
  EXPECT_EQ(alone.Json(), together.Json());
}

TEST(TotalsTest, JudgesOnlyLargeRuns) {
  Totals totals;
  totals.seeds = 999;
  EXPECT_TRUE(totals.Shortfalls().empty());
  totals.seeds = 1000;
  EXPECT_FALSE(totals.Shortfalls().empty());
}

TEST(BugsTest, EachHasANameOfItsOwn) {
  std::set<std::string> names;
  for (size_t i = 0; i < kBugCount; ++i) {
    const BugInfo& info = InfoOf(static_cast<Bug>(i));
    EXPECT_TRUE(names.insert(info.name).second);
    EXPECT_EQ(FindBug(info.name), static_cast<Bug>(i));
  }
  EXPECT_GE(kBugCount, 15u);
  EXPECT_FALSE(FindBug("no such bug").has_value());
}

}  // namespace
}  // namespace keyhop::sim
