#include <gtest/gtest.h>

#include <random>

#include "tests/trusted_node/core/link/link_world.h"
#include "trusted_node/core/link/layout.h"

// A peer that says anything at all, under the right key and under a wrong one.

namespace keyhop {
namespace {

class Fuzzer {
 public:
  explicit Fuzzer(uint64_t seed) : random_(seed) {}

  LinkMessage Any(const Session& session, const Incarnation& victim) {
    session_ = session;
    victim_ = victim;
    switch (random_() % 4) {
      case 0:
        return LinkHello{.link = Link(),
                         .from = From(),
                         .own = AnyIncarnation(),
                         .echo = AnyIncarnation(),
                         .open = random_() % 2 == 0,
                         .books = Books(),
                         .version = Number(),
                         .version_seen = Number()};
      case 1:
        return LinkLeaseRequest{.link = Link(),
                                .session = AnySession(),
                                .direction = Way(),
                                .number = Number(),
                                .book = Book(),
                                .blocks = Ranges()};
      case 2:
        return LinkLeaseAnswer{.link = Link(),
                               .session = AnySession(),
                               .direction = Way(),
                               .number = 1 + random_() % 8,
                               .refused = random_() % 4 == 0,
                               .book = Book(),
                               .mark = Number(),
                               .lacking = Ranges(),
                               .version = Number()};
      default:
        return LinkNeed{.link = Link(),
                        .from = From(),
                        .session = AnySession(),
                        .sequence = Number(),
                        .wanted_bytes = Number(),
                        .books = Books(),
                        .version = Number()};
    }
  }
  std::vector<PadRange> Pads() {
    std::vector<PadRange> out(random_() % 6);
    for (PadRange& p : out) {
      p = {random_() % 8, Book(), random_() % 300, static_cast<uint32_t>(Number()),
           static_cast<uint32_t>(Number())};
    }
    return out;
  }
  uint64_t Number() {
    switch (random_() % 4) {
      case 0:
        return random_() % 8;
      case 1:
        return random_() % 300;
      case 2:
        return UINT64_MAX - random_() % 3;
      default:
        return random_();
    }
  }

 private:
  LinkId Link() { return LinkId(random_() % 50 == 0 ? "x" : "a-b"); }
  NodeId From() { return NodeId(random_() % 2 == 0 ? "a" : "b"); }
  Direction Way() {
    return random_() % 2 == 0 ? Direction::kFromAllocator : Direction::kToAllocator;
  }
  BookId Book() { return {static_cast<uint32_t>(random_() % 20), random_() % 6}; }
  Incarnation AnyIncarnation() {
    if (random_() % 2 == 0) return victim_;
    return {random_() % 3, random_() % 3};
  }
  Session AnySession() {
    return random_() % 4 != 0 ? session_ : Session{AnyIncarnation(), AnyIncarnation()};
  }
  std::vector<BookMark> Books() {
    std::vector<BookMark> out(random_() % 18);
    for (BookMark& b : out) b = {Book(), Number(), Number()};
    return out;
  }
  std::vector<Range> Ranges() {
    std::vector<Range> out(random_() % 18);
    uint64_t at = 0;
    const bool good = random_() % 2 == 0;
    for (Range& r : out) {
      at += random_() % 5;
      r = good ? Range{at, at + 1 + random_() % 9} : Range{Number(), Number()};
      at = r.end;
    }
    return out;
  }
  std::mt19937_64 random_;
  Session session_;
  Incarnation victim_;
};

TEST(LinkFuzzTest, AnyMessageUnderTheRightKeyLeavesAnEndBoundedAndAlive) {
  const SecretBytes key = TestLinkKey();
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    LinkPair pair;
    pair.Give(kBook, 0, 60);
    pair.Connect();
    pair.Run(Duration::Millis(200));
    Fuzzer fuzzer(seed);
    TestEnd& victim = seed % 2 == 0 ? pair.low : pair.high;
    for (int step = 0; step < 200; ++step) {
      const Session session = victim->session();
      LinkMessage m =
          fuzzer.Any(session, victim.config.allocator() ? session.first : session.second);
      SetMac(HmacSha256(key, LayoutOf(m).bytes()), m);
      victim->OnMessage(pair.now, m, victim);
      if (step % 5 == 0) {
        victim->OnTick(pair.now, victim);
        static_cast<void>(victim->TakeForSending(pair.now, fuzzer.Number() % 2000));
        static_cast<void>(victim->TakeForReceiving(victim->session(), fuzzer.Pads()));
      }
      victim.Sync();
      ASSERT_LE(victim.TakeSent().size(), 8u) << "an answer or two for each message";
      ASSERT_LE(victim->TakenTops().size(), 16u);
      pair.now = pair.now + Duration::Millis(7);
    }
    victim.Crash(SIZE_MAX);
    victim.Start();
  }
}

TEST(LinkFuzzTest, NoMessageUnderAWrongKeyDoesAnything) {
  LinkPair pair;
  pair.Give(kBook, 0, 60);
  pair.Connect();
  pair.Run(Duration::Seconds(1));
  Fuzzer fuzzer(1);
  const SecretBytes wrong = UnitBytes({98, 98}, 0, 32);
  const LinkLevels before = pair.low->Levels();
  for (int step = 0; step < 2000; ++step) {
    LinkMessage m = fuzzer.Any(pair.low->session(), pair.low->session().first);
    SetMac(HmacSha256(wrong, LayoutOf(m).bytes()), m);
    pair.low->OnMessage(pair.now, m, pair.low);
  }
  EXPECT_EQ(pair.low.under_way(), 0u);
  EXPECT_EQ(pair.low->Levels().stock_bytes, before.stock_bytes);
  EXPECT_EQ(pair.low->Levels().send_open_bytes, before.send_open_bytes);
  EXPECT_TRUE(pair.low->session_open());
}

}  // namespace
}  // namespace keyhop
