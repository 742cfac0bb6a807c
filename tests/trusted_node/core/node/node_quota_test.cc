// Quotas of SAEs, and the order in which they get scarce key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

using ::testing::HasSubstr;

constexpr Duration kWait = Duration::Seconds(2);
const SaeId kA("A");
const SaeId kB("B");

NodeWorld::Tune With(Quotas::Table quotas) {
  return [quotas = std::move(quotas)](NodeConfig& config) {
    config.delivery.draw_wait = kWait;
    if (config.self == NodeId("a")) config.quotas = quotas;
  };
}

Quota KeysPerSecond(uint64_t keys, Duration burst = Duration::Seconds(10)) {
  return {.keys_per_s = keys, .burst = burst};
}

class NodeQuotaTest : public ::testing::Test {
 protected:
  void Begin(Quotas::Table quotas) {
    world_ = std::make_unique<NodeWorld>(std::vector<std::string>{"a", "b"}, With(quotas));
    world_->MakePads(256 * 1024);
    world_->Run(Duration::Seconds(1));
    const uint64_t draw = world_->Draw("b", "a");  // Not counted here; opens the link's leases.
    world_->Run(kWait);
    ASSERT_EQ(world_->RefusalOf(draw), nullptr);
  }
  // Keys that one request gets, or none.
  size_t Drawn(uint64_t number) {
    const uint64_t draw = world_->Draw("a", "b", number);
    world_->Run(kWait + Duration::Millis(1));
    last_ = world_->RefusalOf(draw);
    return last_ != nullptr ? 0 : world_->Keys(draw).keys.size();
  }
  absl::Status Set(const QuotaOf& of, const std::optional<Quota>& quota) {
    const uint64_t token = 1'000'000 + ++settings_;
    world_->Feed("a", QuotaSet{token, of, quota});
    return world_->switched.at(token);
  }
  std::map<std::string, Fact> StatusFacts() {
    const uint64_t token = 2'000'000 + ++settings_;
    world_->Feed("a", StatusAsked{token, StatusRequest{kA, kB}});
    return world_->statuses.at(token).extension;
  }

  std::unique_ptr<NodeWorld> world_;
  const Refusal* last_ = nullptr;
  uint64_t settings_ = 0;
};

TEST_F(NodeQuotaTest, PastTheQuotaADrawIsRefusedAtOnceUntilItHasFilledAgain) {
  Begin({{{kA}, KeysPerSecond(1)}});
  EXPECT_EQ(Drawn(8), 8u);
  world_->Run(Duration::Seconds(8));
  EXPECT_EQ(Drawn(10), 10u);
  const Instant asked = world_->now();
  const uint64_t over = world_->Draw("a", "b", 9);
  const Refusal* refusal = world_->RefusalOf(over);
  ASSERT_NE(refusal, nullptr) << "it waits for nothing";
  EXPECT_EQ(refusal->kind, Refusal::Kind::kExhausted);
  EXPECT_THAT(refusal->message, HasSubstr("the quota of this SAE is used up"));
  EXPECT_EQ(refusal->details.at("keys_per_s"), "1");
  EXPECT_EQ(refusal->details.at("burst_ms"), "10000");
  ASSERT_TRUE(refusal->retry_after.has_value());
  world_->Run(asked + *refusal->retry_after - world_->now());
  EXPECT_EQ(Drawn(9), 9u) << "as was said";
  EXPECT_EQ(world_->Snapshot("a").counters["draws_over_quota"], 1u);
}

TEST_F(NodeQuotaTest, MoreThanABurstIsRefusedForGood) {
  Begin({{{kA}, KeysPerSecond(1)}});
  EXPECT_EQ(Drawn(11), 0u);
  EXPECT_EQ(last_->kind, Refusal::Kind::kBadRequest);
  EXPECT_EQ(Drawn(10), 10u);
}

TEST_F(NodeQuotaTest, WhatIsNoRequestIsRefusedAsThatAndCountsNothing) {
  Begin({{{kA}, KeysPerSecond(1)}});
  EXPECT_EQ(Drawn(10), 10u);
  const auto refused_as = [&](DrawRequest request) {
    const uint64_t token = world_->Draw("a", std::move(request));
    return world_->RefusalOf(token)->kind;
  };
  EXPECT_EQ(refused_as({.caller = kA, .slave = SaeId("nobody")}), Refusal::Kind::kBadRequest);
  EXPECT_EQ(refused_as({.caller = kA, .slave = kB, .number = 1'000'000}),
            Refusal::Kind::kBadRequest);
  EXPECT_EQ(refused_as({.caller = kB, .slave = kA}), Refusal::Kind::kUnauthorized);
  EXPECT_EQ(refused_as({.caller = kA, .slave = kB, .number = 10}), Refusal::Kind::kExhausted);
}

TEST_F(NodeQuotaTest, WhatWasNotDeliveredIsNotCounted) {
  Begin({{{kA}, KeysPerSecond(1)}});
  world_->Switch("a", "a-b", false);
  while (Drawn(1) == 1) world_->Run(Duration::Seconds(1));
  ASSERT_EQ(last_->kind, Refusal::Kind::kUnavailable);
  world_->Run(Duration::Seconds(10));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Drawn(10), 0u);
  EXPECT_EQ(last_->kind, Refusal::Kind::kUnavailable) << "not the quota";
  world_->Switch("a", "a-b", true);
  world_->MakePads(64 * 1024);
  world_->Run(Duration::Seconds(10));
  EXPECT_EQ(Drawn(10), 10u);
}

TEST_F(NodeQuotaTest, ARepeatedRequestIsCountedOnce) {
  Begin({{{kA}, KeysPerSecond(1)}});
  const auto draw = [&] {
    const uint64_t token =
        world_->Draw("a", {.caller = kA, .slave = kB, .number = 6, .idempotency_key = "k"});
    world_->Run(Duration::Millis(1));
    return world_->RefusalOf(token) == nullptr ? world_->Keys(token).keys.size() : 0;
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(draw(), 6u) << i;
  EXPECT_EQ(Drawn(4), 4u);
  EXPECT_EQ(Drawn(4), 0u);
}

TEST_F(NodeQuotaTest, StatusTellsWhatIsInForceAndWhatIsLeft) {
  Begin({});
  EXPECT_FALSE(StatusFacts().contains("keyhop_quota"));
  ASSERT_TRUE(Set({kA}, KeysPerSecond(1)).ok());
  ASSERT_TRUE(Set({kA, kB}, Quota{.bits_per_s = 256, .burst = Duration::Seconds(4)}).ok());
  EXPECT_EQ(Drawn(3), 3u);
  const auto extension = StatusFacts();
  const auto& all = std::get<std::map<std::string, std::string>>(extension.at("keyhop_quota"));
  EXPECT_EQ(all.at("keys_per_s"), "1");
  EXPECT_EQ(all.at("keys_left"), "9");  // 2 s have passed since, of which one key was of use.
  const auto& pair =
      std::get<std::map<std::string, std::string>>(extension.at("keyhop_pair_quota"));
  EXPECT_EQ(pair.at("bits_per_s"), "256");
}

TEST_F(NodeQuotaTest, AnOperatorsQuotaStandsThroughRestartsUntilItIsTakenBack) {
  Begin({{{kA}, KeysPerSecond(1)}});
  ASSERT_TRUE(Set({kA}, KeysPerSecond(2)).ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Drawn(20), 20u);
    EXPECT_EQ(Drawn(20), 0u);
    world_->Crash("a");
    world_->Start("a");
    world_->MakePads(64 * 1024);
    world_->Run(Duration::Seconds(10));
  }
  const auto quotas = world_->Snapshot("a").quotas;
  EXPECT_EQ(quotas.at({kA}), std::pair(KeysPerSecond(2), true));
  ASSERT_TRUE(Set({kA}, std::nullopt).ok());
  EXPECT_EQ(world_->Snapshot("a").quotas.at({kA}), std::pair(KeysPerSecond(1), false));
  EXPECT_EQ(Drawn(20), 0u);
  world_->Crash("a");
  world_->Start("a");
  EXPECT_EQ(world_->Snapshot("a").quotas.at({kA}), std::pair(KeysPerSecond(1), false));
}

TEST_F(NodeQuotaTest, WhatCannotBeAQuotaIsRefusedAndChangesNothing) {
  Begin({});
  EXPECT_EQ(Set({kB}, KeysPerSecond(1)).code(), absl::StatusCode::kNotFound) << "not at home here";
  EXPECT_EQ(Set({kA}, std::nullopt).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Set({kA, kA}, KeysPerSecond(1)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Set({kA}, KeysPerSecond(1, Duration{})).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Set({kA}, Quota{.share = 0}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(world_->Snapshot("a").quotas.empty());
  EXPECT_TRUE(Set({SaeId(kEverySae)}, KeysPerSecond(1)).ok());
  EXPECT_EQ(Drawn(10), 10u);
  EXPECT_EQ(Drawn(1), 1u);
  EXPECT_EQ(Drawn(10), 0u);
}

// ---- 20 SAEs of one node that draw for the same slave over a link that makes so much and no more.

constexpr int kSaes = 20;
constexpr int kSeconds = 60;
constexpr uint64_t kPadBytesPerSecond = 16 * 1024;
SaeId SaeNumber(int i) { return SaeId(absl::StrCat("sae-", i)); }

// Keys that each SAE gets which asks for so many a second, one at a time, over the same minute.
std::vector<int> GotOf(const std::vector<int>& asked_per_second, uint64_t size_bits,
                       Quotas::Table quotas = {}) {
  NodeWorld world({"a", "b"}, [&](NodeConfig& config) {
    config.delivery.draw_wait = kWait;
    config.stream.segment_body_bytes = 512;
    config.pool.target_bytes = 2048;
    if (config.self != NodeId("a")) return;
    config.quotas = quotas;
    for (int i = 0; i < kSaes; ++i) config.routing.saes.push_back(SaeNumber(i));
  });
  uint64_t made = 0;
  std::vector<std::vector<uint64_t>> tokens(kSaes);
  constexpr int kTicks = 100;  // A second.
  for (int tick = 0; tick < kSeconds * kTicks; ++tick) {
    const uint64_t due = kPadBytesPerSecond * static_cast<uint64_t>(tick) / kTicks;
    for (; made < due; made += 4096) world.MakePads(4096);
    for (int i = 0; i < kSaes; ++i) {
      const int n = asked_per_second[static_cast<size_t>(i)];
      const int before = n * tick / kTicks;
      for (int k = before; k < n * (tick + 1) / kTicks; ++k) {
        tokens[static_cast<size_t>(i)].push_back(
            world.Draw("a", {.caller = SaeNumber(i), .slave = kB, .size_bits = size_bits}));
      }
    }
    world.Run(Duration::Millis(1000 / kTicks));
  }
  world.Run(kWait + Duration::Millis(1));
  std::vector<int> got;
  for (const auto& mine : tokens) {
    int keys = 0;
    for (const uint64_t token : mine) keys += world.RefusalOf(token) == nullptr ? 1 : 0;
    got.push_back(keys);
  }
  return got;
}

TEST(FairShareTest, WhoAsksAHundredTimesItsShareTakesNothingFromTheOthers) {
  constexpr uint64_t kBits = 256;
  // What the link gives to one that asks for all of it; a 20th of that is a share.
  std::vector<int> asks(kSaes, 0);
  asks[0] = 1'000;
  const int share = GotOf(asks, kBits)[0] / kSeconds / kSaes;
  ASSERT_GE(share, 5);
  asks[0] = 0;
  asks[1] = share;
  const int alone = GotOf(asks, kBits)[1];
  ASSERT_GE(alone, share * kSeconds * 9 / 10);
  std::fill(asks.begin(), asks.end(), share);
  asks[0] = 100 * share;
  const std::vector<int> got = GotOf(asks, kBits);
  for (int i = 1; i < kSaes; ++i) {
    EXPECT_GE(got[static_cast<size_t>(i)] * 100, alone * 95) << "SAE " << i << ", alone " << alone;
  }
  EXPECT_GE(got[0] * 100, share * kSeconds * 95) << "its own share is left to it";
  EXPECT_LT(got[0], 3 * share * kSeconds) << "all is asked for: no more is left";
}

TEST(FairShareTest, SharesDivideScarceKey) {
  std::vector<int> asks(kSaes, 0);
  asks[0] = asks[1] = asks[2] = 200;
  const std::vector<int> got =
      GotOf(asks, 1024, {{{SaeNumber(0)}, {.share = 3}}, {{SaeNumber(1)}, {.share = 2}}});
  ASSERT_GT(got[2], 100);
  EXPECT_NEAR(got[0], 3 * got[2], got[2] * 0.3);
  EXPECT_NEAR(got[1], 2 * got[2], got[2] * 0.2);
}

}  // namespace
}  // namespace keyhop
