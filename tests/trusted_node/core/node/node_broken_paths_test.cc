// Frames that are under way when their path breaks: nobody answers for them, and whoever waits for
// key gets it over another path, long before they would be late.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

using Shape = NodeWorld::Shape;

// A ring in which a frame that waits for its answer does so for a minute.
NodeWorld Ring(std::vector<std::string> nodes) {
  const auto tune = [](NodeConfig& config) {
    config.delivery.draw_wait = Duration::Seconds(5);
    config.stream.segment_timeout = Duration::Seconds(60);
  };
  NodeWorld world(std::move(nodes), tune, Shape::kRing);
  world.MakePads(256 * 1024);
  world.Run(Duration::Seconds(2));
  return world;
}

// `silent` passes no frame on, and is gone soon: a draw of node a with `slave` gets its key
// `within` its wait all the same. Returns what a says afterwards.
NodeSnapshot DrawPast(NodeWorld world, const std::string& silent, const std::string& slave,
                      Duration within) {
  world.passes = [silent](const std::string& from, const KxMessage& message) {
    return from != silent || !std::holds_alternative<RelayFrame>(message);
  };
  const uint64_t draw = world.Draw("a", slave);
  world.Run(Duration::Millis(100));
  world.Crash(silent);
  world.Run(within);
  EXPECT_EQ(world.RefusalOf(draw), nullptr);
  EXPECT_EQ(world.Keys(draw).keys.size(), 1u);
  return world.Snapshot("a");
}

TEST(NodeBrokenPathsTest, AFirstHopThatGoesDownIsNotWaitedFor) {
  NodeSnapshot a = DrawPast(Ring({"a", "b", "c", "d"}), "b", "c", Duration::Seconds(4));
  EXPECT_GT(a.counters["relays_lost_path_broken"], 0u);
}

TEST(NodeBrokenPathsTest, ALaterHopThatGoesDownIsNotWaitedFor) {
  NodeSnapshot a = DrawPast(Ring({"a", "b", "c", "d", "e", "f"}), "c", "d", Duration::Seconds(5));
  EXPECT_GT(a.counters["relays_lost_path_broken"], 0u);
}

}  // namespace
}  // namespace keyhop
