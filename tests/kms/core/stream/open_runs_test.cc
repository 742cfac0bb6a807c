#include "kms/core/stream/open_runs.h"

#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kms/core/stream/stream_world.h"

namespace keyhop {
namespace {

Instant At(int64_t s) { return Instant{} + Duration::Seconds(s); }

// Each byte tells its offset, so that a key tells where it is from.
SecretBytes BytesFrom(uint64_t offset, uint64_t size) {
  SecretBytes bytes(size);
  for (uint8_t& b : bytes.ExposeMutable(SecretAccess::ForTest())) {
    b = static_cast<uint8_t>(offset++ * 37);
  }
  return bytes;
}

TEST(OpenRunsTest, WhatIsUsableIsWhatCouldBeTaken) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    TestRandom random(seed);
    OpenRuns runs;
    uint64_t next = 0;
    int64_t now = 0;
    std::set<uint64_t> taken;
    uint64_t given = 0;
    uint64_t gone = 0;
    for (int step = 0; step < 400; ++step) {
      const auto length = static_cast<uint32_t>(1 + random.Below(random.Chance(100) ? 700 : 80));
      switch (random.Below(8)) {
        case 0:
        case 1: {
          if (random.Chance(500)) next += 4 * random.Below(50);  // Else it touches what is there.
          const uint64_t size = 4 * (1 + random.Below(200));
          runs.Add(1, next, BytesFrom(next, size), At(now + 100), 1);
          next += size;
          given += size;
          break;
        }
        case 2:
          now += static_cast<int64_t>(random.Below(20));
          gone += runs.BurnExpired(At(now));
          break;
        case 3:
          gone += runs.BurnShort(random.Below(60), random.Below(500));
          break;
        case 4:
          if (random.Chance(50)) gone += runs.BurnEpochsUpTo(random.Below(2));
          break;
        default: {
          const uint64_t number = 1 + random.Below(4);
          const uint64_t drawable = runs.Drawable(At(now), length);
          const auto draft = runs.Take(At(now), number, length);
          ASSERT_EQ(draft.has_value(), drawable >= number);
          if (!draft) break;
          ASSERT_EQ(draft->keys.size(), number);
          for (const OpenRuns::Drawn& drawn : draft->keys) {
            ASSERT_TRUE(drawn.key.EqualsConstantTime(BytesFrom(drawn.offset, length)));
            for (uint64_t b = 0; b < (length + 3u) / 4 * 4; ++b) {
              ASSERT_TRUE(taken.insert(drawn.offset + b).second) << "taken twice";
            }
          }
        }
      }
      ASSERT_EQ(runs.bytes() + taken.size() + gone, given);
      const uint64_t words = (length + 3u) / 4 * 4;
      gone += runs.BurnExpired(At(now));
      ASSERT_EQ(runs.UsableBytes(length), runs.Drawable(At(now), length) * words);
    }
  }
}

TEST(OpenRunsTest, OfEachLengthOneIsTakenAsWasSaid) {
  OpenRuns runs;
  runs.Add(1, 0, BytesFrom(0, 40), At(10), 1);
  runs.Add(1, 100, BytesFrom(100, 64), At(10), 2);
  EXPECT_FALSE(runs.HoldsEach(At(0), {64, 32, 32}));
  EXPECT_FALSE(runs.HoldsEach(At(10), {4}));
  ASSERT_TRUE(runs.HoldsEach(At(0), {32, 32, 8}));
  const OpenRuns::Draft draft = runs.TakeEach(At(0), {32, 32, 8});
  EXPECT_EQ(draft.keys.at(0).offset, 0u);
  EXPECT_EQ(draft.keys.at(1).offset, 100u);
  EXPECT_EQ(draft.keys.at(2).offset, 32u);
  EXPECT_EQ(draft.after, 2u);
  EXPECT_EQ(runs.bytes(), 32u);
  EXPECT_EQ(runs.size(), 1u) << "what is used up is not kept";
}

}  // namespace
}  // namespace keyhop
