#include "kms/core/book/book.h"

#include <gtest/gtest.h>

namespace keyhop {
namespace {

TEST(GrowingMarkTest, OnlyGrows) {
  GrowingMark<uint64_t> mark(10);
  EXPECT_FALSE(mark.Raise(9));
  EXPECT_FALSE(mark.Raise(10));
  EXPECT_TRUE(mark.Raise(12));
  EXPECT_EQ(mark.at(), 12u);
  EXPECT_TRUE(mark.Covers(11));
  EXPECT_FALSE(mark.Covers(12));
}

TEST(GrowingMarkTest, MayBeAnEpochAndAnOffset) {
  struct Place {
    uint64_t epoch = 0;
    uint64_t offset = 0;
    auto operator<=>(const Place&) const = default;
  };
  GrowingMark<Place> mark;
  EXPECT_TRUE(mark.Raise({1, 500}));
  EXPECT_TRUE(mark.Raise({2, 0}));
  EXPECT_FALSE(mark.Raise({1, 900}));
  EXPECT_TRUE(mark.Covers({1, 900}));
}

TEST(BookVersionsTest, KnowThatTheyAreBehindWhatThePeerSaw) {
  BookVersions versions(5, 0);
  EXPECT_FALSE(versions.BehindWhatPeerSaw(5));
  EXPECT_TRUE(versions.BehindWhatPeerSaw(6));
  versions.JumpTo(6);
  EXPECT_EQ(versions.Raise(), 7u);
  EXPECT_FALSE(versions.BehindWhatPeerSaw(7));
  versions.JumpTo(3);
  EXPECT_EQ(versions.Raise(), 8u) << "they only grow";
}

TEST(BookVersionsTest, KeepTheHighestOfThePeer) {
  BookVersions versions;
  EXPECT_TRUE(versions.Hear(8));
  EXPECT_FALSE(versions.Hear(8));
  EXPECT_FALSE(versions.Hear(2));
  EXPECT_EQ(versions.seen(), 8u);
  EXPECT_EQ(versions.Raise(), 1u);
}

}  // namespace
}  // namespace keyhop
