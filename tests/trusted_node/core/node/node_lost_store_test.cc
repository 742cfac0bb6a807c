// A destination whose store is lost, or of long ago, behind a pool that is full.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

class NodeLostStoreTest : public ::testing::Test {
 protected:
  NodeLostStoreTest() { world_.alarms_expected = true; }

  bool Delivers() {
    const uint64_t draw = world_.Draw("a", "c");
    world_.Run(Duration::Millis(100));
    if (!world_.answered(draw) || world_.RefusalOf(draw) != nullptr) return false;
    const uint64_t fetch = world_.Fetch("c", "a", {world_.Keys(draw).keys.at(0).id});
    world_.Run(Duration::Millis(100));
    return world_.RefusalOf(fetch) == nullptr;
  }
  bool DeliversWithin(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      world_.MakePads(4 * 1024);
      if (Delivers()) return true;
      world_.Run(Duration::Millis(800));
    }
    return false;
  }
  // The pool holds far more than is drawn here, all of it leased.
  void FillPool() {
    world_.MakePads(512 * 1024);
    ASSERT_TRUE(DeliversWithin(10));
    world_.Run(Duration::Seconds(5));
    ASSERT_GT(world_.Snapshot("a").pools.at(0).open_bytes, 8u * 1024);
  }

  NodeWorld world_ = NodeWorld({"a", "b", "c"});
};

TEST_F(NodeLostStoreTest, TheSourceFindsThatEverythingIsLost) {
  ASSERT_NO_FATAL_FAILURE(FillPool());
  world_.Crash("c");
  world_.disk("c").Restore({});
  world_.Start("c");
  world_.Run(Duration::Seconds(3));
  EXPECT_TRUE(DeliversWithin(90));
}

TEST_F(NodeLostStoreTest, TheSourceFindsAnImageOfLongAgo) {
  ASSERT_NO_FATAL_FAILURE(FillPool());
  const sim::Disk::Image image = world_.disk("c").image();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(DeliversWithin(1));
  world_.Run(Duration::Seconds(3));
  world_.Crash("c");
  world_.disk("c").Restore(image);
  world_.Start("c");
  world_.Run(Duration::Seconds(3));
  EXPECT_TRUE(DeliversWithin(90));
  EXPECT_GE(world_.Snapshot("c").counters["rollback_alarms"], 1u);
}

TEST_F(NodeLostStoreTest, APairThatIsAtPeaceSaysLittle) {
  ASSERT_NO_FATAL_FAILURE(FillPool());
  uint64_t said = 0;
  world_.passes = [&](const std::string& from, const KxMessage& message) {
    const auto* control = std::get_if<RoutedControl>(&message);
    const auto* stream = control == nullptr ? nullptr : std::get_if<StreamMessage>(&control->body);
    said += from == "a" && stream != nullptr && std::holds_alternative<SourceHello>(*stream);
    return true;
  };
  for (int i = 0; i < 100; ++i) {
    world_.Run(Duration::Seconds(1));
    EXPECT_NE(world_.Draw("a", "c"), 0u);
  }
  EXPECT_GE(said, 5u) << "nothing else is said that would be answered";
  EXPECT_LE(said, 11u);
}

}  // namespace
}  // namespace keyhop
