#include "kms/core/quota/token_bucket.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

namespace keyhop {
namespace {

using Wide = unsigned __int128;

constexpr Instant At(int64_t ns) { return Instant{ns}; }
constexpr int64_t kSecond = 1'000'000'000;

// The same in numbers so wide that nothing can overflow or be rounded.
class Model {
 public:
  Model(Instant now, uint64_t per_s, uint64_t burst)
      : per_s_(per_s), full_(Wide{burst} * kSecond), parts_(full_), at_(now) {}
  void Refill(Instant now) {
    parts_ = std::min(full_, parts_ + Wide{per_s_} * static_cast<uint64_t>((now - at_).ns));
    at_ = now;
  }
  uint64_t tokens() const { return static_cast<uint64_t>(parts_ / kSecond); }
  bool Take(uint64_t n) {
    if (parts_ < Wide{n} * kSecond) return false;
    parts_ -= Wide{n} * kSecond;
    return true;
  }
  void GiveBack(uint64_t n) { parts_ = std::min(full_, parts_ + Wide{n} * kSecond); }
  // Nanoseconds until `n` are there.
  uint64_t Until(uint64_t n) const {
    const Wide want = Wide{n} * kSecond;
    return want <= parts_ ? 0 : static_cast<uint64_t>((want - parts_ + per_s_ - 1) / per_s_);
  }

 private:
  const uint64_t per_s_;
  const Wide full_;
  Wide parts_;
  Instant at_;
};

// Rates, bursts and gaps of all magnitudes.
class TokenBucketProperty : public ::testing::TestWithParam<uint64_t> {
 protected:
  uint64_t UpTo(uint64_t max) {  // Small ones as often as large ones.
    const uint64_t size = std::uniform_int_distribution<uint64_t>(1, max)(random_);
    const int shift = std::uniform_int_distribution<int>(0, 40)(random_);
    return std::max<uint64_t>(1, size >> shift);
  }
  std::mt19937_64 random_{GetParam()};
};

TEST_P(TokenBucketProperty, IsExactHoweverOftenAndAfterWhateverGapOneLooks) {
  const uint64_t per_s = UpTo(TokenBucket::kRateMax);
  const uint64_t burst = std::min(per_s * 3600, UpTo(per_s * 3600));
  Instant now = At(static_cast<int64_t>(UpTo(1ull << 60)));
  TokenBucket bucket(now, per_s, burst);
  Model model(now, per_s, burst);
  for (int i = 0; i < 2000; ++i) {
    now = now + Duration{static_cast<int64_t>(UpTo(i % 50 == 0 ? 1ull << 52 : 1ull << 36))};
    model.Refill(now);
    ASSERT_EQ(bucket.LevelAt(now), model.tokens());
    const uint64_t n = UpTo(burst);
    const auto when = bucket.When(now, n);
    ASSERT_TRUE(when.has_value());
    ASSERT_EQ(static_cast<uint64_t>((*when - now).ns), model.Until(n));
    const bool taken = model.Take(n);
    ASSERT_EQ(bucket.Take(now, n), taken);
    if (taken && i % 7 == 0) {
      bucket.GiveBack(now, n);
      model.GiveBack(n);
    }
  }
}

TEST_P(TokenBucketProperty, InNoWindowGivesMoreThanTheBurstAndWhatTheRateBrings) {
  const uint64_t per_s = UpTo(5000);
  const uint64_t burst = UpTo(per_s * 10);
  Instant now = At(0);
  TokenBucket bucket(now, per_s, burst);
  std::vector<std::pair<Instant, uint64_t>> given;
  while (given.size() < 400) {
    // Greedy for a while, then idle for a while.
    now = now +
          Duration{static_cast<int64_t>(UpTo(given.size() % 40 == 0 ? 1ull << 38 : 1ull << 28))};
    const uint64_t n = UpTo(burst);
    if (bucket.Take(now, n)) given.emplace_back(now, n);
  }
  for (size_t first = 0; first < given.size(); ++first) {
    Wide sum = 0;
    for (size_t last = first; last < given.size(); ++last) {
      sum += given[last].second;
      const uint64_t span = static_cast<uint64_t>((given[last].first - given[first].first).ns);
      ASSERT_LE(sum * kSecond, Wide{burst} * kSecond + Wide{per_s} * span);
    }
  }
}

TEST_P(TokenBucketProperty, WhatIsGivenBackLeavesNoTrace) {
  const uint64_t per_s = UpTo(1'000'000);
  const uint64_t burst = UpTo(per_s * 10);
  Instant now = At(0);
  TokenBucket with(now, per_s, burst);
  TokenBucket without(now, per_s, burst);
  for (int i = 0; i < 500; ++i) {
    now = now + Duration{static_cast<int64_t>(UpTo(1ull << 32))};
    const uint64_t reserved = UpTo(burst);
    const bool took = with.Take(now, reserved);
    now = now + Duration{static_cast<int64_t>(UpTo(1ull << 32))};
    if (took) with.GiveBack(now, reserved);
    const uint64_t n = UpTo(burst);
    ASSERT_EQ(with.Take(now, n), without.Take(now, n));
    ASSERT_EQ(with.LevelAt(now), without.LevelAt(now));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TokenBucketProperty, ::testing::Range<uint64_t>(1, 41));

TEST(TokenBucketTest, GivesItsBurstAtOnceAndThenItsRate) {
  TokenBucket bucket(At(0), 10, 25);
  EXPECT_TRUE(bucket.Take(At(0), 25));
  EXPECT_FALSE(bucket.Take(At(0), 1));
  EXPECT_EQ(bucket.When(At(0), 1), At(kSecond / 10));
  EXPECT_FALSE(bucket.Take(At(kSecond / 10 - 1), 1));
  EXPECT_TRUE(bucket.Take(At(kSecond / 10), 1));
  EXPECT_EQ(bucket.LevelAt(At(1000 * kSecond)), 25u);
}

TEST(TokenBucketTest, RefusesAndTakesNothingWhereThereIsTooLittle) {
  TokenBucket bucket(At(0), 1, 10);
  EXPECT_FALSE(bucket.Take(At(0), 11));
  EXPECT_EQ(bucket.LevelAt(At(0)), 10u);
  EXPECT_EQ(bucket.When(At(0), 11), std::nullopt);
}

TEST(TokenBucketTest, AThirdOfATokenIsNotLostByLooking) {
  TokenBucket bucket(At(0), 3, 1);
  ASSERT_TRUE(bucket.Take(At(0), 1));
  // The first at a third of a second, rounded up to a nanosecond; each later one a third after it.
  for (int64_t ns = 1; ns < 333'333'334; ns += 1'111'111) ASSERT_FALSE(bucket.Take(At(ns), 1));
  EXPECT_TRUE(bucket.Take(At(333'333'334), 1));
}

TEST(TokenBucketTest, AnotherRateKeepsWhatIsThereUpToTheNewBurst) {
  TokenBucket bucket(At(0), 10, 100);
  ASSERT_TRUE(bucket.Take(At(0), 60));
  bucket.Set(At(0), 1, 50);
  EXPECT_EQ(bucket.LevelAt(At(0)), 40u);
  EXPECT_EQ(bucket.LevelAt(At(5 * kSecond)), 45u);
  bucket.Set(At(5 * kSecond), 1, 20);
  EXPECT_EQ(bucket.LevelAt(At(5 * kSecond)), 20u);
}

}  // namespace
}  // namespace keyhop
