// Draws with additional slaves: all of their KMEs hold the key, or nobody gets it (DESIGN §6).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

using Kind = Refusal::Kind;

constexpr Duration kWait = Duration::Seconds(2);

// A line of four nodes with two SAEs each: "A" and "A2" at a, and so on.
class NodeMulticastTest : public ::testing::Test {
 protected:
  NodeMulticastTest()
      : world_({"a", "b", "c", "d"}, [](NodeConfig& config) {
          config.delivery.draw_wait = kWait;
          config.delivery.supply_wait = kWait;
          config.routing.saes.emplace_back(config.routing.saes.front().value + "2");
        }) {
    world_.MakePads(256 * 1024);
    world_.Run(Duration::Seconds(3));
  }

  uint64_t Ask(std::vector<SaeId> additional, uint64_t number = 1, const char* slave = "C") {
    return world_.Draw("a", DrawRequest{.caller = SaeId("A"),
                                        .slave = SaeId(slave),
                                        .number = number,
                                        .additional_slaves = std::move(additional)});
  }
  const KeyContainer& Drawn(std::vector<SaeId> additional, uint64_t number = 1,
                            const char* slave = "C") {
    const uint64_t draw = Ask(std::move(additional), number, slave);
    world_.Run(kWait + kWait);
    return world_.Keys(draw);
  }
  uint64_t Fetch(const std::string& node, const char* sae, const KeyContainer& keys,
                 const char* master = "A") {
    std::vector<KeyId> ids;
    for (const DeliveredKey& key : keys.keys) ids.push_back(key.id);
    return world_.Fetch(node, FetchRequest{SaeId(sae), SaeId(master), std::move(ids)});
  }
  void ExpectGets(const std::string& node, const char* sae, const KeyContainer& drawn) {
    const KeyContainer& fetched = world_.Keys(Fetch(node, sae, drawn));
    ASSERT_EQ(fetched.keys.size(), drawn.keys.size()) << sae;
    for (size_t i = 0; i < drawn.keys.size(); ++i) {
      EXPECT_EQ(fetched.keys[i].id, drawn.keys[i].id);
      EXPECT_TRUE(fetched.keys[i].key.EqualsConstantTime(drawn.keys[i].key)) << sae;
    }
  }
  void ExpectRefused(uint64_t token, Kind kind, const std::string& message) {
    const Refusal* refusal = world_.RefusalOf(token);
    ASSERT_NE(refusal, nullptr);
    EXPECT_EQ(refusal->kind, kind);
    EXPECT_EQ(refusal->message, message);
  }
  void ExpectNotFound(const std::string& node, const char* sae, const KeyContainer& keys) {
    ExpectRefused(Fetch(node, sae, keys), Kind::kNotFound, kKeysNotFound);
  }
  // SupplyRecords and keys on a node's disk.
  size_t SuppliesAt(const std::string& node) {
    size_t count = 0;
    for (const Record& record : world_.disk(node).Recover()) {
      const auto* stream = std::get_if<StreamRecord>(&record);
      count += stream != nullptr && (std::holds_alternative<SupplyRecord>(*stream) ||
                                     std::holds_alternative<SupplyKeyRecord>(*stream));
    }
    return count;
  }
  // Messages of one kind do not leave one node.
  template <typename Message>
  void Hold(const std::string& node) {
    world_.passes = [node](const std::string& from, const KxMessage& message) {
      const auto* control = std::get_if<RoutedControl>(&message);
      const auto* stream = control ? std::get_if<StreamMessage>(&control->body) : nullptr;
      return from != node || stream == nullptr || !std::holds_alternative<Message>(*stream);
    };
  }

  NodeWorld world_;
};

TEST_F(NodeMulticastTest, SlavesAtFourHomesGetTheSameKeysOnceEach) {
  const KeyContainer& drawn =
      Drawn({SaeId("B"), SaeId("D"), SaeId("D2"), SaeId("C2"), SaeId("A2"), SaeId("B2")}, 3);
  ASSERT_EQ(drawn.keys.size(), 3u);
  const std::pair<const char*, const char*> slaves[] = {
      {"c", "C"}, {"b", "B"}, {"d", "D"}, {"d", "D2"}, {"c", "C2"}, {"a", "A2"}, {"b", "B2"}};
  for (const auto& [node, sae] : slaves) ExpectGets(node, sae, drawn);
  for (const auto& [node, sae] : slaves) ExpectNotFound(node, sae, drawn);
  EXPECT_EQ(world_.Snapshot("a").counters["multicasts_delivered"], 1u);
}

TEST_F(NodeMulticastTest, TheFirstSlaveMayLiveAtTheMastersOwnNode) {
  const KeyContainer& drawn = Drawn({SaeId("D")}, 1, "A2");
  ExpectGets("a", "A2", drawn);
  ExpectGets("d", "D", drawn);
}

TEST_F(NodeMulticastTest, WhoIsNotNamedIsRefusedAsForAnyKey) {
  const KeyContainer& drawn = Drawn({SaeId("D")});
  // At a KME that holds the key for another: 401. At one that does not: not found.
  ExpectRefused(Fetch("d", "D2", drawn), Kind::kUnauthorized, "Unauthorized");
  ExpectRefused(Fetch("c", "C2", drawn), Kind::kUnauthorized, "Unauthorized");
  ExpectNotFound("b", "B", drawn);
  // Another master's name opens nothing.
  ExpectRefused(Fetch("d", "D", drawn, "A2"), Kind::kNotFound, kKeysNotFound);
  ExpectGets("d", "D", drawn);
  ExpectGets("c", "C", drawn);
  // Nothing stands there any more that could be another's.
  ExpectNotFound("d", "D2", Drawn({SaeId("B")}));
}

TEST_F(NodeMulticastTest, SuppliedKeysOutliveARestartAndAreNotServedTwiceAfterIt) {
  const KeyContainer& drawn = Drawn({SaeId("D"), SaeId("D2")});
  ExpectGets("d", "D", drawn);
  world_.Crash("d");
  world_.Start("d");
  world_.Run(Duration::Seconds(5));
  ExpectNotFound("d", "D", drawn);
  ExpectGets("d", "D2", drawn);
  ExpectNotFound("d", "D2", drawn);
}

TEST_F(NodeMulticastTest, BeforeTheMastersNodeWasHeardItSaysRetry) {
  const KeyContainer& drawn = Drawn({SaeId("D")});
  world_.passes = [](const std::string& from, const KxMessage& message) {
    const auto* control = std::get_if<RoutedControl>(&message);
    const auto* stream = control ? std::get_if<StreamMessage>(&control->body) : nullptr;
    return from != "a" || stream == nullptr || !std::holds_alternative<SourceHello>(*stream);
  };
  world_.Crash("d");
  world_.Start("d");
  world_.Run(Duration::Seconds(5));
  const Refusal* refusal = world_.RefusalOf(Fetch("d", "D", drawn));
  ASSERT_NE(refusal, nullptr);
  EXPECT_EQ(refusal->kind, Kind::kUnavailable);
  world_.passes = nullptr;
  world_.Run(Duration::Seconds(5));
  ExpectGets("d", "D", drawn);
}

TEST_F(NodeMulticastTest, AnswersTheMasterOnlyWhenEveryNoticeStands) {
  Drawn({SaeId("B"), SaeId("D")});  // The pools are full.
  Hold<SupplyAnswer>("d");
  const uint64_t draw = Ask({SaeId("B"), SaeId("D")});
  world_.Run(kWait / 4);
  EXPECT_FALSE(world_.answered(draw));
  world_.passes = nullptr;
  world_.Run(kWait / 2);  // The notice is repeated, and what stands is said again.
  ExpectGets("d", "D", world_.Keys(draw));
}

TEST_F(NodeMulticastTest, ATimeOutBurnsAllAndLeavesNothingAnywhere) {
  Drawn({SaeId("B"), SaeId("D")});
  const size_t at_b = SuppliesAt("b");
  const size_t at_d = SuppliesAt("d");
  Hold<SupplyAnswer>("d");
  const uint64_t draw = Ask({SaeId("B"), SaeId("D")});
  EXPECT_GT(SuppliesAt("d"), at_d);
  world_.Run(kWait + Duration::Millis(1));
  ExpectRefused(draw, Kind::kUnavailable,
                "not every additional slave's KME could take the key; retry");
  EXPECT_TRUE(world_.RefusalOf(draw)->retry_after.has_value());
  world_.Run(Duration::Seconds(5));
  EXPECT_EQ(SuppliesAt("b"), at_b);
  EXPECT_EQ(SuppliesAt("d"), at_d);
  EXPECT_EQ(world_.Snapshot("a").counters["multicasts_given_up"], 1u);
  world_.passes = nullptr;
  world_.Run(Duration::Seconds(5));  // Answers that come later change nothing.
  const KeyContainer& drawn = Drawn({SaeId("B"), SaeId("D")});
  ExpectGets("b", "B", drawn);
  ExpectGets("d", "D", drawn);
}

TEST_F(NodeMulticastTest, ANoticeWhoseCancelIsLostGoesWithItsAge) {
  NodeWorld world({"a", "b", "c"}, [](NodeConfig& config) {
    config.delivery.draw_wait = kWait;
    config.stream.fetch_life = Duration::Seconds(30);
  });
  world.MakePads(256 * 1024);
  world.Run(Duration::Seconds(3));
  const auto ask = [&] {
    return world.Draw(
        "a",
        DrawRequest{.caller = SaeId("A"), .slave = SaeId("B"), .additional_slaves = {SaeId("C")}});
  };
  const uint64_t first = ask();
  world.Run(kWait);
  world.Keys(first);
  world.passes = [](const std::string& from, const KxMessage& message) {
    const auto* control = std::get_if<RoutedControl>(&message);
    const auto* stream = control ? std::get_if<StreamMessage>(&control->body) : nullptr;
    if (stream == nullptr) return true;
    return !(from == "c" && std::holds_alternative<SupplyAnswer>(*stream)) &&
           !(from == "a" && std::holds_alternative<SupplyCancel>(*stream));
  };
  ask();
  world.Run(Duration::Seconds(20));
  EXPECT_EQ(world.Snapshot("c").counters["supply_keys_expired"], 0u);
  world.Run(Duration::Seconds(20));
  EXPECT_EQ(world.Snapshot("c").counters["supply_keys_expired"], 2u);  // The one not fetched too.
}

TEST_F(NodeMulticastTest, ATableThatIsFullRefusesAndKeepsWhatStands) {
  NodeWorld world({"a", "b", "c"}, [](NodeConfig& config) {
    config.delivery.draw_wait = kWait;
    config.stream.supplies_max = 3;
  });
  world.MakePads(256 * 1024);
  world.Run(Duration::Seconds(3));
  const auto ask = [&](uint64_t number) {
    const uint64_t draw = world.Draw("a", DrawRequest{.caller = SaeId("A"),
                                                      .slave = SaeId("B"),
                                                      .number = number,
                                                      .additional_slaves = {SaeId("C")}});
    world.Run(kWait);
    return draw;
  };
  const KeyContainer& kept = world.Keys(ask(2));
  ASSERT_NE(world.RefusalOf(ask(2)), nullptr);
  EXPECT_EQ(world.Snapshot("c").counters["supply_notices_refused"], 1u);
  std::vector<KeyId> ids;
  for (const DeliveredKey& key : kept.keys) ids.push_back(key.id);
  EXPECT_EQ(world.Keys(world.Fetch("c", "a", ids)).keys.size(), 2u);
  world.Keys(ask(3));  // Used keys are forgotten where room is needed.
}

TEST_F(NodeMulticastTest, AHomeThatIsAwayHoldsUpNoOtherDraw) {
  Drawn({SaeId("D")});
  world_.Crash("d");
  const uint64_t multicast = Ask({SaeId("D")});
  EXPECT_FALSE(world_.answered(multicast));
  world_.Keys(world_.Draw("a", "c"));  // At once.
  world_.Run(kWait + kWait + Duration::Millis(2));
  const Refusal* refusal = world_.RefusalOf(multicast);
  ASSERT_NE(refusal, nullptr);
  EXPECT_EQ(refusal->kind, Kind::kUnavailable);
}

TEST_F(NodeMulticastTest, ARestartOfAnAdditionalSlavesNodeEndsTheDrawAtOnce) {
  Drawn({SaeId("D")});
  Hold<SupplyAnswer>("d");
  const uint64_t draw = Ask({SaeId("D")});
  world_.Crash("d");
  world_.Start("d");
  world_.Run(kWait - Duration::Millis(100));
  EXPECT_NE(world_.RefusalOf(draw), nullptr);
}

TEST_F(NodeMulticastTest, ARestartOfTheMastersNodeForgetsTheDrawAndNobodyGetsIt) {
  Drawn({SaeId("D")});
  Hold<SupplyAnswer>("d");
  const uint64_t draw = Ask({SaeId("D")});
  world_.passes = nullptr;
  world_.Crash("a");
  world_.Start("a");
  world_.Run(Duration::Seconds(5));
  EXPECT_FALSE(world_.answered(draw));
  ExpectGets("d", "D", Drawn({SaeId("D")}));
}

TEST_F(NodeMulticastTest, RefusesWhatTheStandardRefusesAndTakesNothing) {
  Drawn({SaeId("B")});
  const uint64_t open = world_.Snapshot("a").leased_bytes;
  const char* twice =
      "additional_slave_SAE_IDs shall name no SAE twice, nor the master or the slave";
  ExpectRefused(Ask({SaeId("B"), SaeId("B")}), Kind::kBadRequest, twice);
  ExpectRefused(Ask({SaeId("A")}), Kind::kBadRequest, twice);
  ExpectRefused(Ask({SaeId("C")}), Kind::kBadRequest, twice);
  ExpectRefused(Ask({SaeId("B"), SaeId("nobody")}), Kind::kBadRequest,
                "one of additional_slave_SAE_IDs is not known in this network");
  ExpectRefused(Ask({SaeId("")}), Kind::kBadRequest,
                "one of additional_slave_SAE_IDs is not known in this network");
  std::vector<SaeId> many;
  for (int i = 0; i < 17; ++i) many.emplace_back("x" + std::to_string(i));
  ExpectRefused(Ask(many), Kind::kBadRequest,
                "additional_slave_SAE_IDs shall name at most 16 SAEs (max_SAE_ID_count)");
  EXPECT_EQ(world_.Snapshot("a").leased_bytes, open);
}

}  // namespace
}  // namespace keyhop
