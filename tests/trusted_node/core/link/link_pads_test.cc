#include <gtest/gtest.h>

#include "tests/trusted_node/core/link/link_world.h"

// The pads of frames.

namespace keyhop {
namespace {

LinkPair OpenPair(uint64_t units = 100, size_t size = 1024) {
  LinkPair pair;
  pair.Give(kBook, 0, units, size);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  return pair;
}

TEST(LinkPadsTest, BothEndsHoldTheSamePadsForAFrame) {
  LinkPair pair = OpenPair();
  for (TestEnd* from : {&pair.low, &pair.high}) {
    TestEnd& to = from == &pair.low ? pair.high : pair.low;
    auto sent = (*from)->TakeForSending(pair.now, 2500);
    ASSERT_TRUE(sent.ok()) << sent.status();
    EXPECT_TRUE(from->Durable(sent->after));
    EXPECT_GE(sent->ranges.size(), 3u) << "a frame may span blocks";
    auto got = to->TakeForReceiving(to->session(), sent->ranges);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_TRUE(got->r.EqualsConstantTime(sent->r));
    EXPECT_TRUE(got->s.EqualsConstantTime(sent->s));
    EXPECT_TRUE(got->pad.EqualsConstantTime(sent->pad));
    EXPECT_EQ(sent->pad.size(), 2500u);
  }
}

TEST(LinkPadsTest, AFrameIsTakenOnceAndOnlyInItsSession) {
  LinkPair pair = OpenPair();
  auto sent = pair.low->TakeForSending(pair.now, 100);
  ASSERT_TRUE(sent.ok());
  Session other = pair.high->session();
  other.first.random ^= 1;
  EXPECT_EQ(pair.high->TakeForReceiving(other, sent->ranges).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(pair.high->TakeForReceiving(pair.high->session(), sent->ranges).ok());
  EXPECT_EQ(pair.high->TakeForReceiving(pair.high->session(), sent->ranges).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(LinkPadsTest, AMalformedFrameTakesNothingAway) {
  LinkPair pair = OpenPair();
  auto sent = pair.low->TakeForSending(pair.now, 100);
  ASSERT_TRUE(sent.ok());
  const Session session = pair.high->session();
  std::vector<PadRange> twice = sent->ranges;
  twice.insert(twice.end(), sent->ranges.begin(), sent->ranges.end());
  EXPECT_FALSE(pair.high->TakeForReceiving(session, twice).ok());
  std::vector<PadRange> unknown = sent->ranges;
  unknown.push_back({77, kBook, 0, 0, 10});
  EXPECT_FALSE(pair.high->TakeForReceiving(session, unknown).ok());
  PadRange piece = sent->ranges.front();
  piece.length_bytes = 15;
  EXPECT_FALSE(pair.high->TakeForReceiving(session, std::vector<PadRange>{piece}).ok());
  EXPECT_FALSE(pair.high->TakeForReceiving(session, {}).ok());
  EXPECT_TRUE(pair.high->TakeForReceiving(session, sent->ranges).ok());
}

TEST(LinkPadsTest, FramesMayComeInAnyOrder) {
  LinkPair pair = OpenPair();
  std::vector<TakenPads> sent;
  for (int i = 0; i < 20; ++i) {
    auto pads = pair.low->TakeForSending(pair.now, 50);
    ASSERT_TRUE(pads.ok());
    sent.push_back(*std::move(pads));
  }
  for (auto it = sent.rbegin(); it != sent.rend(); ++it) {
    auto got = pair.high->TakeForReceiving(pair.high->session(), it->ranges);
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(got->pad.EqualsConstantTime(it->pad));
  }
}

TEST(LinkPadsTest, TooFewPadsAreUnavailableAndTheNextLeaseIsLargeEnough) {
  LinkPair pair = OpenPair(200);
  EXPECT_EQ(pair.high->TakeForSending(pair.now, 60'000).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(pair.low->TakeForSending(pair.now, 60'000).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_LE(*pair.low->NextDeadline(), pair.now);
  pair.Run(Duration::Seconds(1));
  EXPECT_TRUE(pair.high->TakeForSending(pair.now, 60'000).ok());
  EXPECT_TRUE(pair.low->TakeForSending(pair.now, 60'000).ok());
}

TEST(LinkPadsTest, TheNextLeaseIsOpenedWhileTheLastIsInUse) {
  LinkPair pair = OpenPair(1000);
  uint64_t sent = 0;
  for (int i = 0; i < 300; ++i) {
    for (TestEnd* from : {&pair.low, &pair.high}) {
      TestEnd& to = from == &pair.low ? pair.high : pair.low;
      auto pads = (*from)->TakeForSending(pair.now, 1000);
      ASSERT_TRUE(pads.ok()) << "after " << sent << " frames: " << pads.status();
      ++sent;
      ASSERT_TRUE(to->TakeForReceiving(to->session(), pads->ranges).ok());
    }
    pair.Run(Duration::Millis(50));
  }
  EXPECT_EQ(pair.low->Levels().used_bytes, 300u * 1016);
}

TEST(LinkPadsTest, ATailTooShortForATagIsBurnt) {
  LinkConfig low = TestLinkConfig(true), high = TestLinkConfig(false);
  for (LinkConfig* c : {&low, &high}) c->lease_bytes_max = 1024;
  LinkPair pair(low, high);
  pair.Give(kBook, 0, 40);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  // A lease of one unit: 16 bytes of r, then 1,008.
  ASSERT_EQ(pair.low->SendableBytes() % 1008, 0u);
  const uint64_t burnt = pair.low->Levels().burnt_bytes;
  auto first = pair.low->TakeForSending(pair.now, 1008 - 16 - 10);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(pair.low->Levels().burnt_bytes - burnt, 10u);
  pair.Run(Duration::Seconds(1));
  auto second = pair.low->TakeForSending(pair.now, 100);
  ASSERT_TRUE(second.ok());
  EXPECT_NE(second->ranges.front().lease, first->ranges.front().lease);
  EXPECT_EQ(second->ranges.front().offset_bytes, 16u);
  EXPECT_FALSE(second->r.EqualsConstantTime(first->r));
}

TEST(LinkPadsTest, AFrameMaySpanLeasesAndItsSIsFromOne) {
  LinkConfig low = TestLinkConfig(true), high = TestLinkConfig(false);
  for (LinkConfig* c : {&low, &high}) c->lease_bytes_max = 4096;
  LinkPair pair(low, high);
  pair.Give(kBook, 0, 200);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  EXPECT_FALSE(pair.low->TakeForSending(pair.now, 6000).ok());
  pair.Run(Duration::Seconds(1));
  auto sent = pair.low->TakeForSending(pair.now, 6000);
  ASSERT_TRUE(sent.ok());
  EXPECT_NE(sent->ranges.front().lease, sent->ranges.back().lease);
  auto got = pair.high->TakeForReceiving(pair.high->session(), sent->ranges);
  ASSERT_TRUE(got.ok());
  EXPECT_TRUE(got->r.EqualsConstantTime(sent->r));
  EXPECT_TRUE(got->pad.EqualsConstantTime(sent->pad));
}

TEST(LinkPadsTest, AFrameWaitsForTheWriteOfItsLease) {
  LinkPair pair;
  pair.Give(kBook, 0, 50);
  pair.Connect();
  pair.Run(Duration::Millis(200));
  ASSERT_EQ(pair.high->TakeForSending(pair.now, 30'000).status().code(),
            absl::StatusCode::kUnavailable);
  const uint64_t before = pair.high->SendableBytes();
  for (int i = 0; i < 100 && pair.high->SendableBytes() == before; ++i) {
    pair.now = pair.now + Duration::Millis(10);
    for (TestEnd* e : {&pair.low, &pair.high}) (*e)->OnTick(pair.now, *e);
    pair.high.Sync();
    for (const auto& m : pair.high.TakeSent()) pair.low->OnMessage(pair.now, m, pair.low);
    pair.low.Sync();
    for (const auto& m : pair.low.TakeSent()) pair.high->OnMessage(pair.now, m, pair.high);
  }
  ASSERT_GT(pair.high->SendableBytes(), before);
  auto pads = pair.high->TakeForSending(pair.now, static_cast<uint32_t>(before));
  ASSERT_TRUE(pads.ok());
  EXPECT_FALSE(pair.high.Durable(pads->after)) << "bytes of a lease not durable here yet";
  pair.high.Sync();
  EXPECT_TRUE(pair.high.Durable(pads->after));
}

TEST(LinkPadsTest, TooManyFailedTagsEndTheSession) {
  LinkPair pair = OpenPair();
  const Session before = pair.high->session();
  for (uint32_t i = 1; i < pair.high.config.failed_tags_max; ++i) {
    pair.high->OnFailedTag(pair.now, pair.high);
  }
  EXPECT_EQ(pair.high->session(), before);
  pair.high->OnFailedTag(pair.now, pair.high);
  EXPECT_FALSE(pair.high->session_open());
  EXPECT_EQ(pair.high->SendableBytes(), 0u);
  pair.Settle();
  EXPECT_TRUE(pair.high->session_open());
  EXPECT_NE(pair.high->session(), before);
  EXPECT_EQ(pair.high->session(), pair.low->session());
  EXPECT_EQ(pair.high->Levels().failed_tags, 8u);
  pair.Run(Duration::Seconds(1));
  EXPECT_GT(pair.low->SendableBytes(), 0u);
}

// Takes the pads of one frame from low to high at the receiving end.
void PassFrame(LinkPair& pair) {
  auto sent = pair.low->TakeForSending(pair.now, 64);
  ASSERT_TRUE(sent.ok());
  ASSERT_TRUE(pair.high->TakeForReceiving(pair.high->session(), sent->ranges).ok());
}

TEST(LinkPadsTest, ALeaseUnderWhichNoTagEverPassedEndsTheSessionSoon) {
  LinkPair pair = OpenPair();
  const Session before = pair.high->session();
  PassFrame(pair);
  pair.high->OnFailedTag(pair.now, pair.high);
  EXPECT_EQ(pair.high->session(), before);
  PassFrame(pair);
  pair.high->OnFailedTag(pair.now, pair.high);
  EXPECT_FALSE(pair.high->session_open());
  pair.Settle();
  EXPECT_TRUE(pair.high->session_open());
  EXPECT_EQ(pair.high->session(), pair.low->session());
}

TEST(LinkPadsTest, OnePassedTagShowsThatBothEndsHaveTheLeasesR) {
  LinkPair pair = OpenPair();
  const Session before = pair.high->session();
  PassFrame(pair);
  for (uint32_t i = 1; i < pair.high.config.failed_tags_max; ++i) {
    PassFrame(pair);
    pair.high->OnFailedTag(pair.now, pair.high);
  }
  EXPECT_EQ(pair.high->session(), before);
}

TEST(LinkPadsTest, WhatIsLeasedHasLeftTheDisk) {
  LinkPair pair = OpenPair();
  const uint64_t in_stock = pair.low->Levels().stock_bytes / 1024;
  EXPECT_LT(in_stock, 100u);
  EXPECT_EQ(pair.low.disk.units(), in_stock);
  EXPECT_EQ(pair.high.disk.units(), in_stock);
}

TEST(LinkPadsTest, AuthenticatesOtherControlAlikeAtBothEnds) {
  LinkPair pair;
  const std::vector<uint8_t> body = {1, 2, 3};
  EXPECT_EQ(pair.low->Authenticate(body), pair.high->Authenticate(body));
  EXPECT_NE(pair.low->Authenticate(body), pair.low->Authenticate({}));
}

}  // namespace
}  // namespace keyhop
