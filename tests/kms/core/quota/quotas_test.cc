#include "kms/core/quota/quotas.h"

#include <gtest/gtest.h>

#include <string>

namespace keyhop {
namespace {

const SaeId kAlice("alice");
const SaeId kBob("bob");
const SaeId kCarol("carol");
constexpr Instant kStart = {1'000'000'000};

Quota Keys(uint64_t per_s, Duration burst = Duration::Seconds(10)) {
  return {.keys_per_s = per_s, .burst = burst};
}
Quota Bits(uint64_t per_s, Duration burst = Duration::Seconds(10)) {
  return {.bits_per_s = per_s, .burst = burst};
}
bool Draws(Quotas& quotas, Instant at, const SaeId& sae, const SaeId& slave, uint64_t keys) {
  return !quotas.Take(at, sae, slave, keys, keys * 256);
}

TEST(QuotasTest, WithoutOneNothingIsRefusedAndNothingToldOf) {
  Quotas quotas({}, {});
  EXPECT_TRUE(quotas.empty());
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 1'000'000));
  EXPECT_FALSE(quotas.StandingOf(kStart, {kAlice}).has_value());
  EXPECT_EQ(quotas.ShareOf(kAlice), 1u);
}

TEST(QuotasTest, AnSaesDrawsForAllSlavesCountTogetherAndOthersDoNot) {
  Quotas quotas({{{kAlice}, Keys(1)}}, {});
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 6));
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kCarol, 4));
  const auto full = quotas.Take(kStart, kAlice, kBob, 1, 256);
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(full->of, QuotaOf{kAlice});
  EXPECT_EQ(full->until, kStart + Duration::Seconds(1));
  EXPECT_TRUE(Draws(quotas, kStart, kBob, kAlice, 100));
  EXPECT_TRUE(Draws(quotas, kStart + Duration::Seconds(1), kAlice, kBob, 1));
}

TEST(QuotasTest, APairsQuotaIsBesideTheSaesAndADrawNeedsBoth) {
  Quotas quotas({{{kAlice}, Keys(10)}, {{kAlice, kBob}, Bits(256)}}, {});
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 10));
  const auto full = quotas.Take(kStart, kAlice, kBob, 1, 256);
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(full->of, (QuotaOf{kAlice, kBob}));
  // What was refused was not charged to the other.
  EXPECT_EQ(quotas.StandingOf(kStart, {kAlice})->keys_left, 90u);
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kCarol, 90));
  EXPECT_FALSE(Draws(quotas, kStart, kAlice, kCarol, 1));
}

TEST(QuotasTest, EverySaeHasABucketOfItsOwnUnlessItHasAQuotaOfItsOwn) {
  Quotas quotas({{{SaeId(kEverySae)}, Keys(1)}, {{kCarol}, Keys(100)}}, {});
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kCarol, 10));
  EXPECT_FALSE(Draws(quotas, kStart, kAlice, kCarol, 1));
  EXPECT_TRUE(Draws(quotas, kStart, kBob, kCarol, 10));
  EXPECT_TRUE(Draws(quotas, kStart, kCarol, kBob, 1000));
}

TEST(QuotasTest, MoreThanTheBurstCanNeverBeDrawnAtOnce) {
  Quotas quotas({{{kAlice}, Bits(256, Duration::Seconds(2))}}, {});
  const auto never = quotas.Take(kStart, kAlice, kBob, 3, 768);
  ASSERT_TRUE(never.has_value());
  EXPECT_FALSE(never->until.has_value());
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 2));
}

TEST(QuotasTest, WhatAnOperatorSetsStandsInThePlaceOfTheConfigurationUntilItIsTakenBack) {
  Quotas quotas({{{kAlice}, Keys(1)}}, {});
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 10));
  quotas.Set({kAlice}, Quota{});  // No limit.
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 1'000'000));
  quotas.Set({kAlice}, Keys(1000));
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 10'000));
  EXPECT_FALSE(Draws(quotas, kStart, kAlice, kBob, 1));
  EXPECT_TRUE(quotas.All().at({kAlice}).second);
  // A lower one takes what is left over, never fills again at once.
  quotas.Set({kAlice}, std::nullopt);
  EXPECT_FALSE(Draws(quotas, kStart, kAlice, kBob, 1));
  EXPECT_FALSE(quotas.All().at({kAlice}).second);
  EXPECT_TRUE(Draws(quotas, kStart + Duration::Seconds(1), kAlice, kBob, 1));
}

TEST(QuotasTest, AQuotaThatWasTakenBackLeavesNothingBehind) {
  Quotas quotas({{{kBob}, Keys(1)}}, {});
  for (const SaeId& of : {kAlice, SaeId(kEverySae)}) {
    for (int i = 0; i < 2; ++i) {
      quotas.Set({of}, Keys(1));
      EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 10)) << of.value << i;
      EXPECT_FALSE(Draws(quotas, kStart, kAlice, kBob, 1));
      quotas.Set({of}, std::nullopt);
    }
  }
}

TEST(QuotasTest, ADrawThatGotNothingIsGivenBack) {
  Quotas quotas({{{kAlice}, Keys(1)}}, {});
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 10));
  quotas.GiveBack(kStart, kAlice, kBob, 10, 2560);
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 10));
}

TEST(QuotasTest, TellsWhatIsLeftAndTheShare) {
  Quotas quotas({{{kAlice}, {.keys_per_s = 2, .bits_per_s = 1024, .share = 3}}}, {});
  EXPECT_TRUE(Draws(quotas, kStart, kAlice, kBob, 5));
  const auto standing = quotas.StandingOf(kStart + Duration::Millis(500), {kAlice});
  ASSERT_TRUE(standing.has_value());
  EXPECT_EQ(standing->keys_left, 16u);
  EXPECT_EQ(standing->bits_left, 10'240u - 1280 + 512);
  EXPECT_EQ(quotas.ShareOf(kAlice), 3u);
  EXPECT_EQ(quotas.ShareOf(kBob), 1u);
}

TEST(CheckQuotaTest, RefusesWhatCanBeNone) {
  const std::string long_id(301, 'x');
  EXPECT_TRUE(CheckQuota({kAlice}, Quota{}).ok());
  EXPECT_TRUE(CheckQuota({SaeId(kEverySae), kBob}, Keys(1)).ok());
  EXPECT_TRUE(CheckQuota({kAlice, SaeId(std::string(300, 'x'))}, Keys(1)).ok());
  const struct {
    QuotaOf of;
    Quota quota;
  } bad[] = {{{SaeId("")}, Keys(1)},
             {{kAlice, kAlice}, Keys(1)},
             {{kAlice, SaeId(kEverySae)}, Keys(1)},
             // Its record could not be read when the node starts again.
             {{kAlice, SaeId(long_id)}, Keys(1)},
             {{SaeId(long_id)}, Keys(1)},
             {{kAlice}, Keys(TokenBucket::kRateMax + 1)},
             {{kAlice}, Bits(TokenBucket::kRateMax + 1)},
             {{kAlice}, Keys(1, Duration{999'999})},
             {{kAlice}, Keys(1, kQuotaBurstMax + Duration{1})},
             {{kAlice}, {.share = 0}},
             {{kAlice}, {.share = kShareMax + 1}},
             {{kAlice, kBob}, {.share = 2}}};
  for (const auto& [of, quota] : bad) {
    EXPECT_EQ(CheckQuota(of, quota).code(), absl::StatusCode::kInvalidArgument)
        << of.sae.value << " " << of.slave.value;
  }
}

}  // namespace
}  // namespace keyhop
