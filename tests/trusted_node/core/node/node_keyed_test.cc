// Retries under idempotency keys (DESIGN §6).
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

constexpr Duration kWindow = Duration::Seconds(60);

class NodeKeyedTest : public ::testing::Test {
 protected:
  NodeKeyedTest()
      : world_({"a", "b"}, [](NodeConfig& c) { c.delivery.draw_wait = Duration::Seconds(2); }) {
    world_.MakePads(128 * 1024);
    world_.Run(Duration::Seconds(3));
    world_.Draw("a", "b");  // The pair is filled from now on.
    world_.Run(Duration::Seconds(5));
  }

  uint64_t Draw(const std::string& key, uint64_t number = 2) {
    const uint64_t token = next_token_++;
    world_.Feed(
        "a",
        DrawAsked{
            token,
            {.caller = SaeId("A"), .slave = SaeId("B"), .number = number, .idempotency_key = key}});
    world_.Run(Duration::Millis(1));
    return token;
  }
  uint64_t Fetch(const std::string& key, const KeyContainer& keys) {
    FetchRequest request{.caller = SaeId("B"), .master = SaeId("A"), .key_ids = {}};
    for (const DeliveredKey& drawn : keys.keys) request.key_ids.push_back(drawn.id);
    request.idempotency_key = key;
    const uint64_t token = next_token_++;
    world_.Feed("b", FetchAsked{token, std::move(request)});
    world_.Run(Duration::Millis(1));
    return token;
  }
  bool Same(uint64_t one, uint64_t other) {
    const KeyContainer& a = world_.Keys(one);
    const KeyContainer& b = world_.Keys(other);
    if (a.keys.empty() || a.keys.size() != b.keys.size()) return false;
    for (size_t i = 0; i < a.keys.size(); ++i) {
      if (a.keys[i].id != b.keys[i].id) return false;
      if (!a.keys[i].key.EqualsConstantTime(b.keys[i].key)) return false;
    }
    return true;
  }
  std::optional<Refusal::Kind> RefusedAs(uint64_t token) {
    const Refusal* refusal = world_.RefusalOf(token);
    return refusal ? std::optional(refusal->kind) : std::nullopt;
  }
  uint64_t Count(const std::string& node, const std::string& counter) {
    return world_.Snapshot(node).counters[counter];
  }

  NodeWorld world_;
  uint64_t next_token_ = 1'000'000;
};

TEST_F(NodeKeyedTest, ADrawIsRepeatedAndCountedOnce) {
  const uint64_t before = Count("a", "keys_drawn");
  const uint64_t first = Draw("k");
  EXPECT_TRUE(Same(first, Draw("k")));
  EXPECT_FALSE(Same(first, Draw("m")));
  EXPECT_EQ(Count("a", "keys_drawn"), before + 4);
  EXPECT_EQ(Count("a", "answers_repeated"), 1u);
}

TEST_F(NodeKeyedTest, AFetchIsRepeatedAndItsKeysAreGoneForOthers) {
  const uint64_t drawn = Draw("k");
  const KeyContainer& keys = world_.Keys(drawn);
  const uint64_t first = Fetch("k", keys);
  EXPECT_TRUE(Same(first, drawn));
  EXPECT_TRUE(Same(first, Fetch("k", keys)));
  EXPECT_EQ(RefusedAs(Fetch("m", keys)), Refusal::Kind::kNotFound);
  EXPECT_EQ(Count("b", "keys_fetched"), 2u);
}

TEST_F(NodeKeyedTest, AnotherBodyUnderTheKeyIsRefused) {
  const uint64_t drawn = Draw("k", 2);
  EXPECT_EQ(RefusedAs(Draw("k", 3)), Refusal::Kind::kOtherRequest);
  Fetch("f", world_.Keys(drawn));
  EXPECT_EQ(RefusedAs(Fetch("f", world_.Keys(Draw("m")))), Refusal::Kind::kOtherRequest);
}

TEST_F(NodeKeyedTest, AnswersOutliveARestart) {
  const uint64_t drawn = Draw("k");
  const uint64_t fetched = Fetch("k", world_.Keys(drawn));
  world_.Crash("a");
  world_.Start("a");
  world_.Run(Duration::Seconds(3));
  EXPECT_TRUE(Same(drawn, Draw("k")));
  world_.Crash("b");
  world_.Start("b");
  world_.Run(Duration::Seconds(3));
  EXPECT_TRUE(Same(fetched, Fetch("k", world_.Keys(drawn))));
}

TEST_F(NodeKeyedTest, AfterAStartTheOtherKmeIsHeardFirst) {
  const uint64_t drawn = Draw("k");
  Fetch("k", world_.Keys(drawn));
  world_.Crash("b");
  world_.Crash("a");
  world_.Start("a");
  world_.Run(Duration::Seconds(3));
  EXPECT_EQ(RefusedAs(Draw("k")), Refusal::Kind::kUnavailable);
  EXPECT_EQ(RefusedAs(Draw("new")), Refusal::Kind::kUnavailable);
  world_.Start("b");
  world_.Run(Duration::Seconds(3));
  EXPECT_TRUE(Same(drawn, Draw("k")));
}

TEST_F(NodeKeyedTest, AfterTheWindowTheAnswerIsErased) {
  const auto records = [&] {
    size_t found = 0;
    for (const Record& record : world_.disk("a").Recover()) {
      found += std::holds_alternative<IdempotencyRecord>(record) ? 1 : 0;
    }
    return found;
  };
  const uint64_t drawn = Draw("k");
  EXPECT_EQ(records(), 1u);
  world_.Run(kWindow);
  EXPECT_EQ(records(), 0u);
  EXPECT_FALSE(Same(drawn, Draw("k")));
}

TEST_F(NodeKeyedTest, TwoAtOnceGetOneAnswer) {
  NodeWorld world({"a", "b"}, [](NodeConfig& c) { c.delivery.draw_wait = Duration::Seconds(9); });
  world.Run(Duration::Seconds(3));
  const DrawRequest request{
      .caller = SaeId("A"), .slave = SaeId("B"), .number = 2, .idempotency_key = "k"};
  for (uint64_t token : {7, 8, 9}) world.Feed("a", DrawAsked{token, request});
  EXPECT_FALSE(world.answered(7) || world.answered(8) || world.answered(9));
  world.MakePads(128 * 1024);
  world.Run(Duration::Seconds(5));
  ASSERT_EQ(world.Keys(7).keys.size(), 2u);
  for (uint64_t token : {8, 9}) {
    ASSERT_EQ(world.Keys(token).keys.size(), 2u);
    EXPECT_EQ(world.Keys(token).keys[1].id, world.Keys(7).keys[1].id);
    EXPECT_TRUE(world.Keys(token).keys[1].key.EqualsConstantTime(world.Keys(7).keys[1].key));
  }
  EXPECT_EQ(world.Snapshot("a").counters["keys_drawn"], 2u);
}

TEST_F(NodeKeyedTest, WithoutAKeyADrawWritesNothing) {
  world_.Run(Duration::Seconds(30));
  const uint64_t token = next_token_++;
  const sim::Disk::Image before = world_.disk("a").image();
  world_.Feed("a", DrawAsked{token, {.caller = SaeId("A"), .slave = SaeId("B")}});
  EXPECT_EQ(world_.Keys(token).keys.size(), 1u);
  EXPECT_TRUE(world_.disk("a").image() == before);
}

// An old image has the first answer under a key that was used again since.
TEST_F(NodeKeyedTest, AnOldImageRepeatsNothing) {
  const uint64_t first = Draw("k");
  const sim::Disk::Image image = world_.disk("a").image();
  world_.Run(kWindow);
  const uint64_t second = Draw("k");
  ASSERT_FALSE(Same(first, second));
  world_.Run(Duration::Seconds(20));  // The neighbour hears the version of that answer.
  world_.Crash("a");
  world_.disk("a").Restore(image);
  world_.alarms_expected = true;
  world_.Start("a");
  const uint64_t retry = Draw("k");
  world_.Run(Duration::Seconds(5));
  EXPECT_EQ(RefusedAs(retry), Refusal::Kind::kUnavailable);
  EXPECT_GE(Count("a", "rollback_alarms"), 1u);
  EXPECT_EQ(RefusedAs(Draw("k")), Refusal::Kind::kUnavailable);
  world_.MakePads(128 * 1024);
  world_.Run(kWindow);
  EXPECT_EQ(world_.Keys(Draw("k")).keys.size(), 2u);
}

}  // namespace
}  // namespace keyhop
