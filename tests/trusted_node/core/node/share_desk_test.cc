#include "trusted_node/core/node/share_desk.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace keyhop {
namespace {

constexpr Instant kNow{1'000'000'000};

Segment Part(std::vector<uint8_t> bytes, uint64_t offset = 0, uint8_t paths = 2) {
  Segment part;
  part.stream = {NodeId("a"), NodeId("c"), paths};
  part.session = {{1, 1}, {1, 2}};
  part.at = {1, offset};
  part.path = {NodeId("a"), NodeId("c")};
  part.payload = SecretBytes::CopyOf(bytes);
  return part;
}
std::vector<uint8_t> BytesOf(const Segment& segment) {
  const auto bytes = segment.payload.Expose(SecretAccess::ForTest());
  return {bytes.begin(), bytes.end()};
}

TEST(ShareDeskTest, TheLastShareMakesTheSegmentOfTheXor) {
  ShareDesk desk;
  EXPECT_FALSE(desk.Take(kNow, Part({1, 2, 4}, 0, 3), 1).has_value());
  EXPECT_FALSE(desk.Take(kNow, Part({8, 0, 4}, 0, 3), 2).has_value());
  Segment first = Part({16, 1, 1}, 0, 3);
  first.path = {NodeId("a"), NodeId("b"), NodeId("c")};
  first.check = {7};
  const auto whole = desk.Take(kNow, std::move(first), 0);
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(BytesOf(*whole), (std::vector<uint8_t>{25, 3, 1}));
  EXPECT_EQ(whole->path.size(), 3u) << "its path and check are those of share 0";
  EXPECT_EQ(whole->check[0], 7);
  EXPECT_EQ(desk.waiting(), 0u);
}

TEST(ShareDeskTest, AShareCountsOnce) {
  ShareDesk desk;
  EXPECT_FALSE(desk.Take(kNow, Part({1}), 0).has_value());
  EXPECT_FALSE(desk.Take(kNow, Part({1}), 0).has_value());
  const auto whole = desk.Take(kNow, Part({2}), 1);
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(BytesOf(*whole), (std::vector<uint8_t>{3}));
}

TEST(ShareDeskTest, WhatCannotBeAShareIsIgnored) {
  ShareDesk desk;
  EXPECT_FALSE(desk.Take(kNow, Part({1}), 2).has_value());
  EXPECT_FALSE(desk.Take(kNow, Part({1}, 0, kPathsMax + 1), 0).has_value());
  EXPECT_EQ(desk.waiting(), 0u);
  EXPECT_FALSE(desk.Take(kNow, Part({1}), 0).has_value());
  EXPECT_FALSE(desk.Take(kNow, Part({1, 1}), 1).has_value()) << "of another length";
  EXPECT_TRUE(desk.Take(kNow, Part({1}), 1).has_value());
}

TEST(ShareDeskTest, SharesOfOtherSegmentsAndSessionsDoNotMix) {
  ShareDesk desk;
  EXPECT_FALSE(desk.Take(kNow, Part({1}, 0), 0).has_value());
  EXPECT_FALSE(desk.Take(kNow, Part({1}, 4), 1).has_value());
  Segment other = Part({1}, 0);
  other.session.second.random = 9;
  EXPECT_FALSE(desk.Take(kNow, std::move(other), 1).has_value());
  EXPECT_EQ(desk.waiting(), 3u);
}

TEST(ShareDeskTest, IsBoundedAndForgetsTheOldest) {
  ShareDesk desk;
  for (size_t i = 0; i <= ShareDesk::kSegmentsMax; ++i) {
    desk.Take(kNow + Duration::Millis(static_cast<int64_t>(i)), Part({1}, 4 * i), 0);
  }
  EXPECT_EQ(desk.waiting(), ShareDesk::kSegmentsMax);
  EXPECT_FALSE(desk.Take(kNow, Part({1}, 0), 1).has_value()) << "the first is gone";
  EXPECT_TRUE(desk.Take(kNow, Part({1}, 8), 1).has_value());
  desk.DropOld(kNow + ShareDesk::kLife + Duration::Seconds(10));
  EXPECT_EQ(desk.waiting(), 0u);
  EXPECT_GT(desk.dropped(), ShareDesk::kSegmentsMax / 2);
}

}  // namespace
}  // namespace keyhop
