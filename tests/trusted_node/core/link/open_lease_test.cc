#include "trusted_node/core/link/open_lease.h"

#include <gtest/gtest.h>

#include "tests/trusted_node/core/link/link_world.h"

namespace keyhop {
namespace {

std::vector<LeasedBlock> Blocks(uint64_t begin, uint64_t end, size_t size = 64) {
  std::vector<LeasedBlock> blocks;
  for (uint64_t b = begin; b < end; ++b) blocks.push_back({b, UnitBytes(kBook, b, size)});
  return blocks;
}

TEST(SendLeaseTest, TheFirstSixteenBytesAreRAndNeverGoOut) {
  SendLease lease(7, kBook, Blocks(3, 5), 0);
  EXPECT_TRUE(lease.r().EqualsConstantTime(UnitBytes(kBook, 3, 64).Slice(0, 16)));
  EXPECT_EQ(lease.free_bytes(), 112u);
  std::vector<uint8_t> out(200);
  std::vector<PadRange> ranges;
  EXPECT_EQ(lease.Take(out, ranges), 112u);
  EXPECT_EQ(ranges, (std::vector<PadRange>{{7, kBook, 3, 16, 48}, {7, kBook, 4, 0, 64}}));
  EXPECT_EQ(lease.free_bytes(), 0u);
  EXPECT_EQ(lease.Take(out, ranges), 0u);
}

TEST(ReceiveLeaseTest, EachByteIsLocatedUntilItIsTaken) {
  ReceiveLease lease(kBook, Blocks(3, 5));
  EXPECT_EQ(lease.Locate({7, kBook, 3, 0, 16}).size(), 0u) << "r";
  EXPECT_EQ(lease.Locate({7, kBook, 5, 0, 16}).size(), 0u) << "another block";
  EXPECT_EQ(lease.Locate({7, {1, 2}, 3, 16, 16}).size(), 0u) << "another book";
  EXPECT_EQ(lease.Locate({7, kBook, 3, 60, 5}).size(), 0u) << "past the end";
  EXPECT_EQ(lease.Locate({7, kBook, 3, UINT32_MAX, UINT32_MAX}).size(), 0u);
  EXPECT_EQ(lease.Locate({7, kBook, 3, 20, 0}).size(), 0u) << "nothing";
  const PadRange range = {7, kBook, 4, 10, 20};
  std::vector<uint8_t> out(20);
  EXPECT_EQ(lease.Take(range, lease.Locate(range), out), 0u);
  EXPECT_TRUE(SecretBytes::CopyOf(out).EqualsConstantTime(UnitBytes(kBook, 4, 64).Slice(10, 20)));
  EXPECT_EQ(lease.Locate(range).size(), 0u);
  EXPECT_EQ(lease.Locate({7, kBook, 4, 29, 1}).size(), 0u);
  EXPECT_EQ(lease.Locate({7, kBook, 4, 30, 1}).size(), 1u);
}

TEST(ReceiveLeaseTest, PastItsBoundOfGapsTheLowestCountsAsUsed) {
  ReceiveLease lease(kBook, Blocks(0, 1, 8192));
  std::vector<uint8_t> out(1);
  uint64_t given_up = 0;
  for (uint32_t i = 0; i <= ReceiveLease::kGapsMax; ++i) {
    EXPECT_EQ(given_up, 0u) << i;
    const PadRange range = {7, kBook, 0, 18 + 2 * i, 1};
    given_up += lease.Take(range, lease.Locate(range), out);
  }
  EXPECT_EQ(given_up, 2u);
  EXPECT_EQ(lease.Locate({7, kBook, 0, 16, 1}).size(), 0u);
  EXPECT_EQ(lease.Locate({7, kBook, 0, 19, 1}).size(), 1u);
}

TEST(ReceiveLeaseTest, IsSpentWhenOnlyATailIsLeft) {
  ReceiveLease lease(kBook, Blocks(0, 1));
  std::vector<uint8_t> out(18);
  const PadRange second = {7, kBook, 0, 34, 18};
  lease.Take(second, lease.Locate(second), out);
  EXPECT_FALSE(lease.Spent());
  const PadRange first = {7, kBook, 0, 16, 18};
  lease.Take(first, lease.Locate(first), out);
  EXPECT_TRUE(lease.Spent());
}

}  // namespace
}  // namespace keyhop
