#include "kms/core/book/book.h"

#include <gtest/gtest.h>

namespace keyhop {
namespace {

TEST(BookTest, AMarkOnlyGrows) {
  Book<uint64_t> book(10, BookVersions(3, 4));
  EXPECT_FALSE(book.RaiseMark(9));
  EXPECT_FALSE(book.RaiseMark(10));
  EXPECT_TRUE(book.RaiseMark(12));
  EXPECT_EQ(book.mark(), 12u);
  EXPECT_TRUE(book.BelowMark(11));
  EXPECT_FALSE(book.BelowMark(12));
}

TEST(BookTest, AMarkMayBeAnEpochAndAnOffset) {
  struct Place {
    uint64_t epoch = 0;
    uint64_t offset = 0;
    auto operator<=>(const Place&) const = default;
  };
  Book<Place> book;
  EXPECT_TRUE(book.RaiseMark({1, 500}));
  EXPECT_TRUE(book.RaiseMark({2, 0}));
  EXPECT_FALSE(book.RaiseMark({1, 900}));
  EXPECT_TRUE(book.BelowMark({1, 900}));
}

TEST(BookTest, KnowsThatItIsBehindWhatItsPeerSaw) {
  Book<uint64_t> book(0, BookVersions(5, 0));
  EXPECT_FALSE(book.BehindWhatPeerSaw(5));
  EXPECT_TRUE(book.BehindWhatPeerSaw(6));
  book.JumpAbove(6);
  EXPECT_EQ(book.version(), 7u);
  EXPECT_FALSE(book.BehindWhatPeerSaw(7));
}

TEST(BookTest, KeepsTheHighestVersionOfItsPeer) {
  Book<uint64_t> book;
  EXPECT_TRUE(book.HearVersion(8));
  EXPECT_FALSE(book.HearVersion(8));
  EXPECT_FALSE(book.HearVersion(2));
  EXPECT_EQ(book.version_seen(), 8u);
  EXPECT_EQ(book.RaiseVersion(), 1u);
}

}  // namespace
}  // namespace keyhop
