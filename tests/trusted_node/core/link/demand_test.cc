#include "trusted_node/core/link/demand.h"

#include <gtest/gtest.h>

namespace keyhop {
namespace {

constexpr Instant kStart = {1'000'000'000};

TEST(DemandTest, BeginsAtSixteenKibibytes) {
  Demand demand(1024, 1 << 22);
  EXPECT_EQ(demand.Wanted(kStart, 0), 16u * 1024);
  EXPECT_EQ(demand.Wanted(kStart, 8 * 1024 - 1), 16u * 1024);
  EXPECT_EQ(demand.Wanted(kStart, 8 * 1024), 0u);
}

TEST(DemandTest, GrowsToTwoSecondsOfUseAndStopsAtItsLimit) {
  Demand demand(1024, 1 << 20);
  Instant now = kStart;
  for (int i = 0; i < 100; ++i) {
    now = now + Duration::Millis(100);
    demand.Used(now, 10'000);  // 100,000 bytes a second.
  }
  const uint64_t wanted = demand.Wanted(now, 0);
  EXPECT_GT(wanted, 160'000u);
  EXPECT_LT(wanted, 240'000u);
  for (int i = 0; i < 100; ++i) {
    now = now + Duration::Millis(100);
    demand.Used(now, 10'000'000);
  }
  EXPECT_EQ(demand.Wanted(now, 0), 1u << 20);
}

TEST(DemandTest, ShrinksToItsLeastWhenIdle) {
  Demand demand(1024, 1 << 20);
  EXPECT_NE(demand.Wanted(kStart, 0), 0u);
  EXPECT_EQ(demand.Wanted(kStart + Duration::Seconds(60), 0), 1024u);
}

TEST(DemandTest, AShortageIsAskedForUntilServedOrTwoSecondsOld) {
  Demand demand(1024, 1 << 20);
  EXPECT_EQ(demand.Wanted(kStart, 500'000), 0u);
  demand.FellShort(kStart, 600'000);
  EXPECT_GE(demand.Wanted(kStart, 500'000), 600'000u);
  EXPECT_EQ(demand.Wanted(kStart, 600'000), 0u);
  EXPECT_EQ(demand.Wanted(kStart + Duration::Seconds(3), 500'000), 0u);
  demand.FellShort(kStart, 600'000);
  demand.Used(kStart, 600'000);
  EXPECT_EQ(demand.Wanted(kStart, 500'000), 0u);
}

}  // namespace
}  // namespace keyhop
