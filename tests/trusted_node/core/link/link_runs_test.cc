#include <gtest/gtest.h>

#include "tests/trusted_node/core/link/link_world.h"

// Books: the runs of module pairs, their stock and their end.

namespace keyhop {
namespace {

absl::StatusCode TakeAt(LinkPair& pair, TestEnd& end, BookId book, uint64_t block,
                        size_t size = 1024) {
  return end->Take(pair.now, book, block, UnitBytes(book, block, size), end).status().code();
}

TEST(LinkRunsTest, ABlockIsDurableBeforeItIsAcknowledged) {
  LinkPair pair;
  auto seq = pair.low->Take(pair.now, kBook, 0, UnitBytes(kBook, 0), pair.low);
  ASSERT_TRUE(seq.ok());
  EXPECT_FALSE(pair.low.Durable(*seq));
  auto again = pair.low->Take(pair.now, kBook, 0, UnitBytes(kBook, 0), pair.low);
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(pair.low.Durable(*again)) << "given again before the first write is durable";
  pair.low.Sync();
  EXPECT_TRUE(pair.low.Durable(*seq));
  EXPECT_EQ(pair.low.disk.units(), 1u);
  EXPECT_EQ(pair.low->Levels().stock_bytes, 1024u);
  EXPECT_EQ(pair.low->TakenTops(), (std::map<BookId, uint64_t>{{kBook, 1}}));
}

TEST(LinkRunsTest, RefusesBlocksOfBadSizes) {
  LinkPair pair;
  EXPECT_EQ(TakeAt(pair, pair.low, kBook, 0, 31), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(TakeAt(pair, pair.low, kBook, 0, 64 * 1024 + 1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(TakeAt(pair, pair.low, kBook, UINT64_MAX, 64), absl::StatusCode::kInvalidArgument);
}

TEST(LinkRunsTest, AFullStockMakesTheModuleWait) {
  LinkConfig config = TestLinkConfig(true);
  config.unit_bytes_max = 1024;
  config.stock_bytes_max = 4 * 1024;
  LinkPair pair(config, TestLinkConfig(false));
  for (uint64_t b = 0; b < 4; ++b) {
    EXPECT_EQ(TakeAt(pair, pair.low, kBook, b), absl::StatusCode::kOk);
  }
  EXPECT_EQ(TakeAt(pair, pair.low, kBook, 4), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(TakeAt(pair, pair.low, kBook, 3), absl::StatusCode::kOk) << "taken already";
}

TEST(LinkRunsTest, StockComesBackAfterARestart) {
  LinkPair pair;
  pair.Give(kBook, 0, 5);
  pair.low.Sync();
  pair.low.Crash();
  pair.low.Start();
  EXPECT_EQ(pair.low->Levels().stock_bytes, 5u * 1024);
  EXPECT_EQ(pair.low->TakenTops(), (std::map<BookId, uint64_t>{{kBook, 5}}));
}

TEST(LinkRunsTest, UnitsBelowTheMarkAreErasedAfterARestart) {
  LinkPair pair;
  pair.Give(kBook, 0, 5);
  pair.low.Sync();
  pair.low.disk.Apply(BookRecord{.link = pair.low.config.id, .book = kBook, .mark = 3});
  pair.low.Crash();
  pair.low.Start();
  EXPECT_EQ(pair.low->Levels().stock_bytes, 2u * 1024);
  EXPECT_EQ(TakeAt(pair, pair.low, kBook, 5), absl::StatusCode::kOk);
  pair.low.Sync();
  EXPECT_EQ(pair.low.disk.units(), 3u);
}

TEST(LinkRunsTest, ARunIsFinishedOnceANewerOneCameAndItsStockIsEmpty) {
  LinkPair pair;
  pair.Give({1, 1}, 0, 8);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  EXPECT_EQ(pair.low->Levels().stock_bytes, 0u);
  pair.Give({1, 2}, 0, 8);
  pair.Run(Duration::Seconds(1));
  EXPECT_TRUE(pair.low.disk.Book({1, 1})->finished);
  EXPECT_EQ(TakeAt(pair, pair.low, {1, 1}, 8), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(TakeAt(pair, pair.low, {1, 0}, 0), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(TakeAt(pair, pair.low, {2, 1}, 0), absl::StatusCode::kOk) << "another pair";
  pair.low.Crash(SIZE_MAX);
  pair.low.Start();
  EXPECT_EQ(TakeAt(pair, pair.low, {1, 1}, 8), absl::StatusCode::kFailedPrecondition);
}

TEST(LinkRunsTest, AtMostFourRunsOfAPairLiveAndOneFinishedRecordStays) {
  LinkPair pair;
  for (uint64_t run = 1; run <= 20; ++run) {
    EXPECT_EQ(TakeAt(pair, pair.low, {1, run}, 0), absl::StatusCode::kOk);
  }
  pair.low.Sync();
  EXPECT_EQ(pair.low->TakenTops().size(), 4u);
  EXPECT_EQ(pair.low.disk.books(), 5u);
  EXPECT_EQ(pair.low.disk.units(), 4u);
  EXPECT_TRUE(pair.low.disk.Book({1, 16})->finished);
  EXPECT_EQ(pair.low->Levels().burnt_bytes, 16u * 1024);
}

TEST(LinkRunsTest, AtMostSixteenBooksLive) {
  LinkPair pair;
  for (uint32_t p = 1; p <= 16; ++p) {
    EXPECT_EQ(TakeAt(pair, pair.low, {p, 1}, 0), absl::StatusCode::kOk);
  }
  EXPECT_EQ(TakeAt(pair, pair.low, {17, 1}, 0), absl::StatusCode::kResourceExhausted);
}

TEST(LinkRunsTest, DoesNotLeaseWhatThePeerDoesNotHaveYet) {
  LinkPair pair;
  pair.Give(kBook, 0, 2);
  for (uint64_t b = 2; b < 60; ++b) {
    ASSERT_EQ(TakeAt(pair, pair.low, kBook, b), absl::StatusCode::kOk);
  }
  pair.Connect();
  pair.Run(Duration::Seconds(5));
  EXPECT_EQ(pair.low->Levels().stock_bytes, 58u * 1024);
  EXPECT_EQ(pair.low->Levels().burnt_bytes, 0u);
  for (uint64_t b = 2; b < 60; ++b) {
    ASSERT_EQ(TakeAt(pair, pair.high, kBook, b), absl::StatusCode::kOk);
  }
  pair.Run(Duration::Seconds(2));
  EXPECT_LT(pair.low->Levels().stock_bytes, 58u * 1024);
  EXPECT_EQ(pair.low->Levels().burnt_bytes, 0u);
}

TEST(LinkRunsTest, TwoFullStocksThatDoNotMeetGiveWay) {
  LinkConfig low = TestLinkConfig(true), high = TestLinkConfig(false);
  for (LinkConfig* c : {&low, &high}) {
    c->unit_bytes_max = 1024;
    c->stock_bytes_max = 20 * 1024;
  }
  LinkPair pair(low, high);
  // The high end holds what the low one lost, and has no room for what the low one holds.
  for (uint64_t b = 0; b < 20; ++b) {
    ASSERT_EQ(TakeAt(pair, pair.high, kBook, b), absl::StatusCode::kOk);
    ASSERT_EQ(TakeAt(pair, pair.low, kBook, 20 + b), absl::StatusCode::kOk);
  }
  pair.Connect();
  for (uint64_t b = 20; b < 40; ++b) TakeAt(pair, pair.high, kBook, b);
  pair.Run(Duration::Seconds(5));
  EXPECT_GT(pair.low->SendableBytes(), 0u);
  EXPECT_GT(pair.high->SendableBytes(), 0u);
}

TEST(LinkRunsTest, WhatTheModuleGivesBelowAMarkHeardEarlierIsPassedOver) {
  LinkPair pair;
  for (uint64_t b = 0; b < 10; ++b) {
    ASSERT_EQ(TakeAt(pair, pair.low, kBook, b), absl::StatusCode::kOk);
  }
  pair.low->BurnAll(pair.now, pair.low);
  pair.Connect();
  EXPECT_EQ(pair.high->TakenTops(), (std::map<BookId, uint64_t>{{kBook, 10}}));
  EXPECT_EQ(TakeAt(pair, pair.high, kBook, 9), absl::StatusCode::kOk);
  EXPECT_EQ(pair.high->Levels().stock_bytes, 0u);
}

}  // namespace
}  // namespace keyhop
