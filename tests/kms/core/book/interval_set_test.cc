#include "kms/core/book/interval_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace keyhop {
namespace {

TEST(IntervalSetTest, RangesThatTouchAreOne) {
  IntervalSet set;
  EXPECT_TRUE(set.Add({0, 4}));
  EXPECT_TRUE(set.Add({8, 12}));
  EXPECT_EQ(set.count(), 2u);
  EXPECT_TRUE(set.Add({4, 8}));
  EXPECT_EQ(set.ranges(), (std::vector<Range>{{0, 12}}));
  EXPECT_EQ(set.size(), 12u);
}

TEST(IntervalSetTest, RefusesMoreRangesThanItsBoundAndStaysAsItWas) {
  IntervalSet set(2);
  EXPECT_TRUE(set.Add({0, 1}));
  EXPECT_TRUE(set.Add({10, 20}));
  EXPECT_FALSE(set.Add({4, 5}));
  EXPECT_TRUE(set.Add({1, 2}));
  EXPECT_FALSE(set.Remove({12, 13}));
  EXPECT_TRUE(set.Remove({10, 12}));
  EXPECT_EQ(set.ranges(), (std::vector<Range>{{0, 2}, {12, 20}}));
}

TEST(IntervalSetTest, FillsTheLowestGapPastItsBound) {
  IntervalSet set(2);
  EXPECT_EQ(set.AddFillingGaps({0, 1}), 0u);
  EXPECT_EQ(set.AddFillingGaps({10, 11}), 0u);
  EXPECT_EQ(set.AddFillingGaps({20, 21}), 9u);
  EXPECT_EQ(set.ranges(), (std::vector<Range>{{0, 11}, {20, 21}}));
}

TEST(IntervalSetTest, AnEmptyOrBackwardRangeIsNoElement) {
  IntervalSet set;
  EXPECT_TRUE(set.Add({5, 5}));
  EXPECT_TRUE(set.Add({5, 3}));
  EXPECT_TRUE(set.empty());
  EXPECT_FALSE(set.Overlaps({3, 3}));
  EXPECT_EQ(set.First(), std::nullopt);
}

TEST(IntervalSetTest, ReachesTheHighestNumbers) {
  IntervalSet set;
  EXPECT_TRUE(set.Add({UINT64_MAX - 2, UINT64_MAX}));
  EXPECT_TRUE(set.Contains(UINT64_MAX - 1));
  EXPECT_TRUE(set.Contains(Range{UINT64_MAX - 2, UINT64_MAX}));
}

TEST(IntervalSetTest, AgreesWithAPlainSet) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    IntervalSet set;
    std::set<uint64_t> model;
    for (int step = 0; step < 60; ++step) {
      const uint64_t begin = random() % 40;
      const Range range = {begin, begin + random() % 8};
      const bool add = random() % 2 == 0;
      ASSERT_TRUE(add ? set.Add(range) : set.Remove(range));
      for (uint64_t v = range.begin; v < range.end; ++v) {
        if (add) {
          model.insert(v);
        } else {
          model.erase(v);
        }
      }
      ASSERT_EQ(set.size(), model.size());
      const Range ask = {random() % 40, random() % 48};
      bool all = true, any = false;
      uint64_t missing = 0;
      for (uint64_t v = ask.begin; v < ask.end; ++v) {
        ASSERT_EQ(set.Contains(v), model.count(v) == 1);
        all = all && model.count(v) == 1;
        any = any || model.count(v) == 1;
        missing += model.count(v) == 0;
      }
      ASSERT_EQ(set.Contains(ask), all);
      ASSERT_EQ(set.Overlaps(ask), any);
      for (const Range& r : set.MissingFrom(ask)) missing -= r.size();
      ASSERT_EQ(missing, 0u);
      std::optional<uint64_t> last;
      for (const Range& r : set.ranges()) {
        ASSERT_LT(r.begin, r.end);
        ASSERT_TRUE(!last || *last < r.begin);
        last = r.end;
      }
    }
  }
}

}  // namespace
}  // namespace keyhop
