#include "kms/core/keystream/pacer.h"

#include <gtest/gtest.h>

namespace keyhop {
namespace {

constexpr Instant kStart{5'000'000'000};

// How many deliveries a client that always asks gets within `span`.
int Given(Pacer pacer, Duration span) {
  int given = 0;
  for (Instant now = kStart; now < kStart + span; now = now + Duration::Millis(10)) {
    while (pacer.FreeAt() <= now) {
      pacer.Spend(now);
      ++given;
    }
  }
  return given;
}

TEST(PacerTest, GivesTheFirstAtOnceAndTheNextAtAnEvenPace) {
  Pacer pacer(256, 0, 256);
  EXPECT_LE(pacer.FreeAt(), kStart);
  pacer.Spend(kStart);
  EXPECT_EQ(pacer.FreeAt(), kStart + Duration::Seconds(1));
}

TEST(PacerTest, RunsAheadByAsMuchAsTheJitterGivesInASecond) {
  EXPECT_EQ(Given(Pacer(256, 0, 256), Duration::Millis(10)), 1);
  EXPECT_EQ(Given(Pacer(256, 512, 256), Duration::Millis(10)), 3);
}

TEST(PacerTest, HoldsTheRateWhateverTheJitter) {
  EXPECT_EQ(Given(Pacer(256, 0, 256), Duration::Seconds(10)), 10);
  EXPECT_EQ(Given(Pacer(256, 512, 256), Duration::Seconds(10)), 12);
}

TEST(PacerTest, SavesNothingUpForLater) {
  Pacer pacer(256, 0, 256);
  pacer.Spend(kStart);
  const Instant later = kStart + Duration::Seconds(100);
  pacer.Spend(later);
  EXPECT_EQ(pacer.FreeAt(), later + Duration::Seconds(1));
}

TEST(PacerTest, TakesTheLargestNumbers) {
  Pacer pacer(1, UINT32_MAX, 4092 * 8);
  pacer.Spend(kStart);
  EXPECT_LT(pacer.FreeAt(), kStart);
}

}  // namespace
}  // namespace keyhop
