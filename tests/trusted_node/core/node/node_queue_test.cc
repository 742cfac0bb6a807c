// Frames that wait for pads where links are thin.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

constexpr int kRounds = 300;

// Far less pad than both pairs would like: one block of each link a round, half for each direction.
struct Delivered {
  uint64_t passed = 0;  // Keys that a drew for c, over b.
  uint64_t own = 0;     // Keys that b drew for c.
};
Delivered Starve(NodeWorld& world) {
  Delivered delivered;
  world.MakePads(64 * 1024);  // Openings.
  const auto draw = [&](const char* master) {
    uint64_t keys = 0;
    while (true) {
      const uint64_t token = world.Draw(master, "c");
      if (!world.answered(token) || world.RefusalOf(token) != nullptr) return keys;
      ++keys;
    }
  };
  for (int i = 0; i < kRounds; ++i) {
    if (i % 2 == 0) world.MakePads(1);
    delivered.passed += draw("a");
    delivered.own += draw("b");
    world.Run(Duration::Millis(500));
  }
  return delivered;
}

TEST(NodeQueueTest, WhereALinkIsThinPassingAndOwnSegmentsTakeTurns) {
  NodeWorld world({"a", "b", "c"});
  const Delivered delivered = Starve(world);
  const NodeSnapshot b = world.Snapshot("b");
  EXPECT_GT(b.counters.at("relay_frames_waited"), 10u);
  EXPECT_GT(delivered.passed * 4, delivered.own);
  EXPECT_GT(delivered.own * 4, delivered.passed);
}

TEST(NodeQueueTest, AFrameThatWaitsInVainIsRefusedWithinItsTime) {
  NodeWorld world({"a", "b", "c"});
  Starve(world);
  world.Run(Duration::Seconds(60));  // Without any pads.
  const uint64_t waited = world.Snapshot("b").counters.at("relay_frames_waited");
  const uint64_t sent = world.Snapshot("a").counters.at("relay_frames_originated");
  world.MakePads(64 * 1024);
  world.Run(Duration::Seconds(10));
  EXPECT_GT(world.Snapshot("a").counters.at("relay_frames_originated"), sent);
  EXPECT_GE(world.Snapshot("b").counters.at("relay_frames_waited"), waited);
  const uint64_t token = world.Draw("a", "c");
  EXPECT_EQ(world.RefusalOf(token), nullptr);
}

}  // namespace
}  // namespace keyhop
