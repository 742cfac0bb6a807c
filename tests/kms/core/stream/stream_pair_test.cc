#include "gtest/gtest.h"
#include "tests/kms/core/stream/stream_pair_world.h"

namespace keyhop {
namespace {

constexpr int kSeeds = 400;

TEST(StreamPairTest, DeliversWithoutFaults) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    StreamPairWorld world(seed, {});
    ASSERT_EQ(world.Run(500), "") << "seed " << seed;
    EXPECT_GT(world.fetched(), 20u);
  }
}

TEST(StreamPairTest, SurvivesLossDoublingAndOldMessages) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    StreamPairWorld world(seed, {.loss = 100, .doubling = 200, .old_messages = 200});
    ASSERT_EQ(world.Run(800), "") << "seed " << seed;
  }
}

TEST(StreamPairTest, SurvivesCrashesOfEitherEnd) {
  int crashes = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    StreamPairWorld world(seed, {.loss = 50, .doubling = 100, .crash = 15, .old_messages = 100});
    ASSERT_EQ(world.Run(800), "") << "seed " << seed;
    crashes += world.crashes();
  }
  EXPECT_GT(crashes, kSeeds);
}

TEST(StreamPairTest, AnOldImageOfTheSourceReusesNothing) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    StreamPairWorld world(
        seed,
        {.loss = 50, .doubling = 100, .crash = 15, .old_messages = 100, .restore_source = true});
    ASSERT_EQ(world.Run(1000), "") << "seed " << seed;
  }
}

TEST(StreamPairTest, AnOldImageOfTheDestinationIsFoundAndServesNothingTwice) {
  int found = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    StreamPairWorld world(seed, {.loss = 30, .doubling = 100, .restore_destination = true});
    ASSERT_EQ(world.RunRestoringDestination(800), "") << "seed " << seed;
    found += world.rollbacks();
  }
  EXPECT_GT(found, kSeeds / 4);
}

TEST(StreamPairTest, AnOldImageOfTheDestinationIsFoundThoughAnEpochIsOpenedBeforeTheHello) {
  int found = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    StreamPairWorld world(seed, {.doubling = 100});
    ASSERT_EQ(world.RunForgettingOneFetch(), "") << "seed " << seed;
    found += world.rollbacks();
  }
  EXPECT_GT(found, kSeeds / 4);
}

}  // namespace
}  // namespace keyhop
