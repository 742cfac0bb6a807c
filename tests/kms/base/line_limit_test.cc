#include "kms/base/line_limit.h"

#include <gtest/gtest.h>

namespace keyhop {
namespace {

constexpr Instant At(int64_t seconds) { return Instant{} + Duration::Seconds(seconds); }

TEST(LineLimitTest, WithholdsLinesPastTheLimitAndTellsHowMany) {
  LineLimit limit(2, Duration::Seconds(10));
  EXPECT_EQ(limit.Take(At(100)), 0u);
  EXPECT_EQ(limit.Take(At(101)), 0u);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(limit.Take(At(109)).has_value());
  EXPECT_EQ(limit.Take(At(110)), 5u);
  EXPECT_EQ(limit.Take(At(111)), 0u);
  EXPECT_FALSE(limit.Take(At(119)).has_value());
}

}  // namespace
}  // namespace keyhop
