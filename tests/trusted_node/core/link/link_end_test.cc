#include "trusted_node/core/link/link_end.h"

#include <gtest/gtest.h>

#include "tests/trusted_node/core/link/link_world.h"
#include "trusted_node/core/link/layout.h"

// Sessions, marks and leases of the two ends.

namespace keyhop {
namespace {

template <typename M>
std::vector<M> Only(const std::vector<LinkMessage>& sent) {
  std::vector<M> out;
  for (const LinkMessage& m : sent) {
    if (const auto* x = std::get_if<M>(&m)) out.push_back(*x);
  }
  return out;
}

LinkMessage Signed(LinkMessage message) {
  SetMac(HmacSha256(TestLinkKey(), LayoutOf(message).bytes()), message);
  return message;
}

// Runs until `low` asks for a lease, and returns the request, not yet delivered.
LinkLeaseRequest NextRequest(LinkPair& pair) {
  for (int i = 0; i < 300; ++i) {
    pair.now = pair.now + Duration::Millis(10);
    pair.low->OnTick(pair.now, pair.low);
    pair.high->OnTick(pair.now, pair.high);
    pair.low.Sync();
    pair.high.Sync();
    for (const LinkMessage& m : pair.high.TakeSent()) pair.low->OnMessage(pair.now, m, pair.low);
    pair.low.Sync();
    LinkLeaseRequest found;
    for (const LinkMessage& m : pair.low.TakeSent()) {
      if (const auto* r = std::get_if<LinkLeaseRequest>(&m)) {
        found = *r;
      } else {
        pair.high->OnMessage(pair.now, m, pair.high);
      }
    }
    if (found.number != 0) return found;
  }
  ADD_FAILURE() << "no request";
  return {};
}

TEST(LinkConfigTest, SaysWhatIsWrong) {
  EXPECT_TRUE(TestLinkConfig(true).Validate().ok());
  LinkConfig config = TestLinkConfig(true);
  config.peer = config.self;
  EXPECT_EQ(config.Validate().message(), "link 'a-b': its two ends are one node");
  config = TestLinkConfig(true);
  config.lease_bytes_min = config.lease_bytes_max + 1;
  EXPECT_FALSE(config.Validate().ok());
}

TEST(LinkEndTest, NeedsALinkKey) {
  EXPECT_EQ(LinkEnd::Create(TestLinkConfig(true), SecretBytes(15), {1, 1}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(LinkEndTest, ASessionOpensByHellosThatEchoAndBothDirectionsGetPads) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.Connect();
  EXPECT_TRUE(pair.low->session_open());
  EXPECT_TRUE(pair.high->session_open());
  EXPECT_EQ(pair.low->session(), pair.high->session());
  pair.Run(Duration::Seconds(1));
  EXPECT_GE(pair.low->SendableBytes(), 8u * 1024);
  EXPECT_GE(pair.high->SendableBytes(), 8u * 1024);
  EXPECT_EQ(pair.low->Levels().send_open_bytes, pair.high->Levels().receive_open_bytes);
  EXPECT_EQ(pair.low->Levels().receive_open_bytes, pair.high->Levels().send_open_bytes);
}

TEST(LinkEndTest, AHelloIsRepeatedUntilTheSessionIsOpen) {
  LinkPair pair;
  pair.low->OnConnected(pair.now, pair.low);
  EXPECT_EQ(Only<LinkHello>(pair.low.TakeSent()).size(), 1u);
  EXPECT_EQ(pair.low->NextDeadline(), pair.now + Duration::Millis(250));
  pair.low->OnTick(pair.now + Duration::Millis(250), pair.low);
  EXPECT_EQ(Only<LinkHello>(pair.low.TakeSent()).size(), 1u);
}

TEST(LinkEndTest, AnOldHelloOpensNothing) {
  LinkPair pair;
  pair.high->OnConnected(pair.now, pair.high);
  const auto old = pair.high.TakeSent();
  pair.high.Crash();
  pair.high.Start();
  for (const LinkMessage& m : old) pair.low->OnMessage(pair.now, m, pair.low);
  EXPECT_FALSE(pair.low->session_open());
}

TEST(LinkEndTest, AReconnectOfTheSameIncarnationsKeepsTheLeases) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  const uint64_t open = pair.low->SendableBytes();
  const Session session = pair.low->session();
  pair.Connect();
  EXPECT_EQ(pair.low->session(), session);
  EXPECT_EQ(pair.low->SendableBytes(), open);
}

TEST(LinkEndTest, ARestartOfOneEndEndsTheLeasesAtBoth) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  const uint64_t stock = pair.high->Levels().stock_bytes;
  pair.low.Crash();
  pair.low.Start();
  EXPECT_EQ(pair.low->SendableBytes(), 0u);
  EXPECT_EQ(pair.low->Levels().stock_bytes, stock);
  pair.Connect();
  EXPECT_TRUE(pair.high->session_open());
  EXPECT_GT(pair.high->Levels().burnt_bytes, 0u);
  pair.Run(Duration::Seconds(1));
  EXPECT_GT(pair.low->SendableBytes(), 0u);
  EXPECT_GT(pair.high->SendableBytes(), 0u);
}

// The shortest counterexample of tests/model/links.py with `go_back`.
TEST(LinkEndTest, ALateHelloOfAnOlderStartLeavesNoLeaseThatOneEndAloneHolds) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.Settle();
  pair.low->OnConnected(pair.now, pair.low);
  for (const LinkMessage& m : pair.low.TakeSent()) pair.high->OnMessage(pair.now, m, pair.high);
  const std::vector<LinkMessage> late = pair.high.TakeSent();
  ASSERT_FALSE(Only<LinkHello>(late).empty());
  pair.high.Crash();
  pair.high.Start();
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  ASSERT_GT(pair.high->SendableBytes(), 0u);
  for (const LinkMessage& m : late) pair.low->OnMessage(pair.now, m, pair.low);
  pair.Run(Duration::Seconds(1));
  EXPECT_EQ(pair.low->session(), pair.high->session());
  EXPECT_EQ(pair.low->Levels().send_open_bytes, pair.high->Levels().receive_open_bytes);
  EXPECT_EQ(pair.high->Levels().send_open_bytes, pair.low->Levels().receive_open_bytes);
  for (TestEnd* from : {&pair.low, &pair.high}) {
    TestEnd& to = from == &pair.low ? pair.high : pair.low;
    auto sent = (*from)->TakeForSending(pair.now, 100);
    ASSERT_TRUE(sent.ok()) << sent.status();
    EXPECT_TRUE(to->TakeForReceiving(to->session(), sent->ranges).ok());
  }
}

TEST(LinkEndTest, ARequestLeavesOnceItsMarkIsDurable) {
  LinkPair pair;
  pair.Give(kBook, 0, 20);
  pair.low->OnConnected(pair.now, pair.low);
  for (int i = 0; i < 3 && !pair.low->session_open(); ++i) {
    pair.low.Sync();
    for (const auto& m : pair.low.TakeSent()) pair.high->OnMessage(pair.now, m, pair.high);
    pair.high.Sync();
    for (const auto& m : pair.high.TakeSent()) pair.low->OnMessage(pair.now, m, pair.low);
  }
  EXPECT_TRUE(pair.low->session_open());
  EXPECT_TRUE(Only<LinkLeaseRequest>(pair.low.TakeSent()).empty());
  pair.low.Sync();
  const auto requests = Only<LinkLeaseRequest>(pair.low.TakeSent());
  ASSERT_FALSE(requests.empty());
  EXPECT_EQ(pair.low.disk.Book(kBook)->mark, requests.back().blocks.back().end);
}

TEST(LinkEndTest, AnAnswerLeavesOnceTheOtherEndsMarkIsDurable) {
  LinkPair pair;
  pair.Give(kBook, 0, 20);
  pair.Connect();
  pair.Give(kBook, 20, 200);
  const LinkLeaseRequest request = NextRequest(pair);
  pair.high->OnMessage(pair.now, request, pair.high);
  EXPECT_TRUE(Only<LinkLeaseAnswer>(pair.high.TakeSent()).empty());
  pair.high.Sync();
  EXPECT_EQ(Only<LinkLeaseAnswer>(pair.high.TakeSent()).size(), 1u);
  EXPECT_EQ(pair.high.disk.Book(kBook)->mark, request.blocks.back().end);
}

TEST(LinkEndTest, ARepeatedRequestHasTheSameBytesAndGetsTheSameAnswer) {
  LinkPair pair;
  pair.Give(kBook, 0, 20);
  pair.Connect();
  pair.Give(kBook, 20, 200);
  const LinkLeaseRequest request = NextRequest(pair);
  pair.now = pair.now + Duration::Millis(250);
  pair.low->OnTick(pair.now, pair.low);
  const auto again = Only<LinkLeaseRequest>(pair.low.TakeSent());
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].mac, request.mac);

  pair.high->OnMessage(pair.now, request, pair.high);
  pair.high.Sync();
  const auto first = Only<LinkLeaseAnswer>(pair.high.TakeSent());
  pair.high->OnMessage(pair.now, again[0], pair.high);
  pair.high.Sync();
  const auto second = Only<LinkLeaseAnswer>(pair.high.TakeSent());
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(first[0].mac, second[0].mac);
}

TEST(LinkEndTest, WhatThePeerLacksIsDroppedAtBothEnds) {
  LinkPair pair;
  for (uint64_t b = 0; b < 12; ++b) {
    ASSERT_TRUE(pair.low->Take(pair.now, kBook, b, UnitBytes(kBook, b), pair.low).ok());
    if (b % 3 == 1) continue;
    ASSERT_TRUE(pair.high->Take(pair.now, kBook, b, UnitBytes(kBook, b), pair.high).ok());
  }
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  // 8 of 12 units are at both ends, in some leases with an r each.
  const uint64_t leased = pair.low->SendableBytes() + pair.high->SendableBytes();
  EXPECT_GT(leased, 8u * 1024 - 200);
  EXPECT_LT(leased, 8u * 1024);
  EXPECT_EQ(pair.low->Levels().burnt_bytes, 4u * 1024);
  auto pads = pair.low->TakeForSending(pair.now, 3000);
  ASSERT_TRUE(pads.ok());
  auto got = pair.high->TakeForReceiving(pair.low->session(), pads->ranges);
  ASSERT_TRUE(got.ok());
  EXPECT_TRUE(got->pad.EqualsConstantTime(pads->pad));
}

// What the end itself does before its peer is heard may not hide that it was further once; not even
// in a start between the two.
TEST(LinkEndTest, AnOldImageShowsThoughMuchIsRecordedBeforeThePeerIsHeard) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  const LinkDisk image = pair.low.disk.Clone();
  pair.low->RaiseVersion(pair.now, pair.low);
  pair.Run(Duration::Seconds(1));
  const uint64_t version = pair.low.disk.Link()->version;
  EXPECT_GT(version, image.Link()->version);
  pair.low.Crash();
  pair.low.disk = image.Clone();
  for (uint64_t start = 0; start < 2; ++start) {
    pair.low.Start();
    for (uint64_t i = 0; i < 10; ++i) {
      const uint64_t block = 100 + 100 * start + 10 * i;
      pair.Give(kBook, block, block + 10);
    }
    for (int i = 0; i < 10; ++i) pair.low->RaiseVersion(pair.now, pair.low);
    pair.low.Sync();
    EXPECT_EQ(pair.low.rollbacks, 0);
    if (start == 0) pair.low.Crash();
  }
  pair.Connect();
  EXPECT_GE(pair.low.rollbacks, 1) << "the peer remembers a later version";
  pair.Run(Duration::Seconds(1));
  EXPECT_GT(pair.low.disk.Link()->version, version);
}

TEST(LinkEndTest, AnOldImageOfTheAllocatorReusesNothing) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.low.Sync();
  const LinkDisk image = pair.low.disk.Clone();
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  const uint64_t mark = pair.high.disk.Book(kBook)->mark;
  EXPECT_GT(mark, 20u);
  pair.low.Crash();
  pair.low.disk = image.Clone();
  pair.low.Start();
  pair.Connect();
  EXPECT_GE(pair.low.rollbacks, 1) << "the peer remembers a later version";
  EXPECT_GE(pair.low.disk.Book(kBook)->mark, mark);
  pair.Run(Duration::Seconds(1));
  auto pads = pair.low->TakeForSending(pair.now, 100);
  ASSERT_TRUE(pads.ok());
  EXPECT_GE(pads->ranges.front().block, mark);
}

TEST(LinkEndTest, AnOldImageOfTheOtherEndReusesNothing) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.high.Sync();
  const LinkDisk image = pair.high.disk.Clone();
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  const uint64_t mark = pair.low.disk.Book(kBook)->mark;
  pair.high.Crash();
  pair.high.disk = image.Clone();
  pair.high.Start();
  pair.Connect();
  EXPECT_GE(pair.high.rollbacks, 1);
  EXPECT_GE(pair.high.disk.Book(kBook)->mark, mark);
  EXPECT_LE(pair.high.disk.units(), 100 - mark);
}

TEST(LinkEndTest, AMarkBeyondTheStockIsTaken) {
  LinkPair pair;
  pair.Give(kBook, 0, 4);
  for (uint64_t b = 4; b < 40; ++b) {
    ASSERT_TRUE(pair.low->Take(pair.now, kBook, b, UnitBytes(kBook, b), pair.low).ok());
  }
  pair.low->BurnAll(pair.now, pair.low);
  pair.Connect();
  EXPECT_EQ(pair.high.disk.Book(kBook)->mark, 40u);
  EXPECT_EQ(pair.high->Levels().stock_bytes, 0u);
  pair.Run(Duration::Seconds(1));
  pair.Give(kBook, 40, 60);
  pair.Run(Duration::Seconds(2));
  EXPECT_GT(pair.low->SendableBytes() + pair.high->SendableBytes(), 0u);
}

TEST(LinkEndTest, ARequestBelowTheMarkIsRefusedWithTheMark) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  const uint64_t mark = pair.high.disk.Book(kBook)->mark;
  ASSERT_GT(mark, 4u);
  const uint64_t open = pair.high->Levels().receive_open_bytes;
  pair.high->OnMessage(pair.now,
                       Signed(LinkLeaseRequest{.link = pair.high.config.id,
                                               .session = pair.high->session(),
                                               .number = 1000,
                                               .book = kBook,
                                               .blocks = {{mark - 1, mark + 3}}}),
                       pair.high);
  pair.high.Sync();
  const auto answers = Only<LinkLeaseAnswer>(pair.high.TakeSent());
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(answers[0].refused);
  EXPECT_EQ(answers[0].mark, mark);
  EXPECT_EQ(pair.high->Levels().receive_open_bytes, open);
}

TEST(LinkEndTest, ARefusedAllocatorTakesTheMarkAndBurnsTheLease) {
  LinkPair pair;
  pair.Give(kBook, 0, 20);
  pair.Connect();
  pair.Give(kBook, 20, 200);
  const LinkLeaseRequest request = NextRequest(pair);
  const uint64_t burnt = pair.low->Levels().burnt_bytes;
  const uint64_t sendable = pair.low->SendableBytes();
  pair.low->OnMessage(pair.now,
                      Signed(LinkLeaseAnswer{.link = request.link,
                                             .session = request.session,
                                             .direction = request.direction,
                                             .number = request.number,
                                             .refused = true,
                                             .book = kBook,
                                             .mark = 150}),
                      pair.low);
  pair.low.Sync();
  EXPECT_GE(pair.low.disk.Book(kBook)->mark, 150u);
  EXPECT_GT(pair.low->Levels().burnt_bytes, burnt);
  EXPECT_EQ(pair.low->SendableBytes(), sendable);
  for (const LinkLeaseRequest& next : Only<LinkLeaseRequest>(pair.low.TakeSent())) {
    EXPECT_GE(next.blocks.front().begin, 150u);
  }
}

TEST(LinkEndTest, AMessageWithAWrongMacChangesNothing) {
  LinkPair pair;
  pair.Give(kBook, 0, 20);
  pair.high.Sync();
  pair.low->OnConnected(pair.now, pair.low);
  pair.low.Sync();
  LinkMessage hello = pair.low.TakeSent().at(0);
  std::get<LinkHello>(hello).version ^= 1;
  pair.high->OnMessage(pair.now, hello, pair.high);
  EXPECT_TRUE(pair.high.TakeSent().empty());
  EXPECT_EQ(pair.high.under_way(), 0u);
}

TEST(LinkEndTest, BurnAllLeavesNothingAndGoesOnAbove) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  const uint64_t version = pair.low.disk.Link()->version;
  pair.low->BurnAll(pair.now, pair.low);
  EXPECT_EQ(pair.low->SendableBytes(), 0u);
  EXPECT_EQ(pair.low->Levels().stock_bytes, 0u);
  EXPECT_FALSE(pair.low->session_open());
  pair.Settle();
  EXPECT_GT(pair.low.disk.Link()->version, version);
  EXPECT_EQ(pair.low.disk.Book(kBook)->mark, 100u);
  EXPECT_EQ(pair.low.disk.units(), 0u);
  EXPECT_TRUE(pair.low->session_open());
  EXPECT_EQ(pair.high->Levels().stock_bytes, 0u);
}

TEST(LinkEndTest, TwoQuietEndsStaySilentAndWriteNothing) {
  LinkPair pair;
  pair.Give(kBook, 0, 100);
  pair.Connect();
  pair.Run(Duration::Seconds(10));
  const uint64_t version = pair.low.disk.Link()->version;
  size_t messages = 0;
  for (int i = 0; i < 1000; ++i) {
    pair.now = pair.now + Duration::Millis(10);
    for (TestEnd* e : {&pair.low, &pair.high}) {
      if (const auto at = (*e)->NextDeadline(); at && *at <= pair.now) (*e)->OnTick(pair.now, *e);
      EXPECT_EQ(e->under_way(), 0u);
      messages += e->TakeSent().size();
    }
  }
  EXPECT_LE(messages, 6u) << "a need now and then";
  EXPECT_EQ(pair.low.disk.Link()->version, version);
}

}  // namespace
}  // namespace keyhop
