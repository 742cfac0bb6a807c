#include "sim/net/oracle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "kms/crypto/mac.h"
#include "trusted_node/core/node/layout.h"

// The oracle is told what a network did; each test is one thing that must not happen, and that it
// sees and names.

namespace keyhop::sim {
namespace {

constexpr uint32_t kBodyBytes = 64;
constexpr uint32_t kPayloadBytes = kSegmentHeadBytes + kBodyBytes;
constexpr uint32_t kFrameBytes = 16 + kPayloadBytes;

Plan LineOfThree() {
  Plan plan;
  plan.seed = 7;
  plan.nodes = {NodeId("a"), NodeId("b"), NodeId("c")};
  for (size_t i = 0; i < 2; ++i) {
    LinkPlan link;
    link.id = LinkId(i == 0 ? "a-b" : "b-c");
    link.a = i;
    link.b = i + 1;
    link.block_bytes = 1024;
    plan.links.push_back(link);
  }
  plan.saes = {{SaeId("alice"), 0}, {SaeId("carol"), 2}, {SaeId("carl"), 2}};
  plan.Index();
  return plan;
}

class OracleTest : public testing::Test {
 protected:
  OracleTest() {
    oracle_.OnStarted(now_, 0);
    oracle_.OnStarted(now_, 2);
    // One lease of a block, for each link.
    for (size_t link : {size_t{0}, size_t{1}}) {
      oracle_.OnSent(now_, link, link + 1,
                     LinkMessage(LinkLeaseRequest{.link = plan_.links[link].id,
                                                  .session = session_,
                                                  .number = 1,
                                                  .book = book_,
                                                  .blocks = {{0, 2}}}));
    }
  }

  std::vector<uint8_t> Pads(size_t link, const RelayFrame& frame) const {
    std::vector<uint8_t> bytes;
    for (const PadRange& range : frame.pads) truth_.Append(link, range, End::kFirst, bytes);
    return bytes;
  }
  void Tagged(size_t link, RelayFrame& frame, const std::vector<uint8_t>& payload) const {
    std::vector<uint8_t> r;
    truth_.Append(link, {1, book_, 0, 0, 16}, End::kFirst, r);
    const std::vector<uint8_t> pads = Pads(link, frame);
    frame.tag =
        OneTimeTag(r, std::span<const uint8_t>(pads).first(16), LayoutOf(frame).bytes(), payload);
  }
  // The frame of segment `n` on its first hop; its payload is its pad.
  RelayFrame FirstHop(uint32_t n) const {
    RelayFrame frame;
    frame.link_session = session_;
    frame.relay = {NodeId("a"), {1, 5}, n + 1};
    frame.stream = stream_;
    frame.at = {1, uint64_t{n} * kBodyBytes};
    frame.body_bytes = kBodyBytes;
    frame.path = plan_.nodes;
    frame.pads = {{1, book_, 0, 16 + n * kFrameBytes, kFrameBytes}};
    Tagged(0, frame, PayloadOf(frame));
    return frame;
  }
  std::vector<uint8_t> PayloadOf(const RelayFrame& first_hop) const {
    const std::vector<uint8_t> pads = Pads(0, first_hop);
    return {pads.begin() + 16, pads.end()};
  }
  RelayFrame SecondHop(const RelayFrame& first, std::vector<uint8_t> payload) const {
    RelayFrame frame = first;
    frame.hop = 1;
    const std::vector<uint8_t> pads = Pads(1, frame);
    frame.ciphertext = payload;
    for (size_t i = 0; i < payload.size(); ++i) frame.ciphertext[i] ^= pads[16 + i];
    Tagged(1, frame, payload);
    return frame;
  }
  void Acknowledge(const RelayFrame& frame) {
    RoutedControl control;
    control.from = NodeId("c");
    control.to = NodeId("a");
    control.body = StreamMessage(
        SegmentAck{.stream = stream_, .at = frame.at, .length_bytes = frame.body_bytes});
    oracle_.OnSent(now_, 2, 1, control);
  }
  void RelayWhole(uint32_t n) {
    const RelayFrame frame = FirstHop(n);
    oracle_.OnSent(now_, 0, 1, frame);
    oracle_.OnSent(now_, 1, 2, SecondHop(frame, PayloadOf(frame)));
    Acknowledge(frame);
  }
  // Key `id` from byte `at` of segment `n`'s body.
  KeyContainer Key(uint8_t id, uint32_t n, size_t at = 0) const {
    const std::vector<uint8_t> payload = PayloadOf(FirstHop(n));
    KeyContainer out;
    out.keys.push_back({KeyId{id}, SecretBytes::CopyOf(std::span<const uint8_t>(payload).subspan(
                                       kSegmentHeadBytes + at, 32))});
    return out;
  }
  DrawRequest Draw() const {
    return {.caller = SaeId("alice"), .slave = SaeId("carol"), .number = 1, .size_bits = 256};
  }
  FetchRequest Fetch(uint8_t id, const char* caller = "carol") const {
    return {SaeId(caller), SaeId("alice"), {KeyId{id}}};
  }
  std::string Invariant() const {
    return oracle_.violation() ? oracle_.violation()->invariant : "none";
  }
  std::string Text() const { return oracle_.violation() ? oracle_.violation()->text : ""; }

  const Plan plan_ = LineOfThree();
  PadTruth truth_{plan_.seed, plan_.links};
  Oracle oracle_{plan_, truth_};
  const Instant now_ = {1'000'000'000};
  const Session session_ = {{1, 11}, {1, 22}};
  const StreamId stream_ = {NodeId("a"), NodeId("c")};
  const BookId book_ = {0, 1};
};

TEST_F(OracleTest, FindsNothingInAnHonestRelayAndDelivery) {
  RelayWhole(0);
  RelayWhole(1);
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  oracle_.OnFetched(now_, Fetch(1), Key(1, 0));
  oracle_.OnDrawn(now_, Draw(), Key(2, 0, 32));
  oracle_.OnDrawn(now_, Draw(), Key(3, 1));
  oracle_.CheckBurn();
  EXPECT_EQ(Text(), "");
  EXPECT_EQ(oracle_.keys_delivered(), 1u);
  EXPECT_EQ(oracle_.relays(), 2u);
  EXPECT_EQ(oracle_.probes().at("multi_hop_relay_delivered"), 2u);
}

TEST_F(OracleTest, SeesKeysThatDifferBetweenMasterAndSlave) {
  RelayWhole(0);
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  oracle_.OnFetched(now_, Fetch(1), Key(1, 0, 16));
  EXPECT_EQ(Invariant(), "G1");
}

TEST_F(OracleTest, SeesAKeyThatNoSegmentCarried) {
  RelayWhole(0);
  oracle_.OnDrawn(now_, Draw(), Key(1, 2));
  EXPECT_EQ(Invariant(), "G1");
}

TEST_F(OracleTest, SeesAKeyThatGoesToAMasterTwice) {
  RelayWhole(0);
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  EXPECT_EQ(Invariant(), "G2");
}

TEST_F(OracleTest, TakesAnIdenticalAnswerUnderAnIdempotencyKeyForOneDelivery) {
  RelayWhole(0);
  DrawRequest draw = Draw();
  draw.idempotency_key = "k";
  oracle_.OnDrawn(now_, draw, Key(1, 0));
  oracle_.OnDrawn(now_, draw, Key(1, 0));
  EXPECT_EQ(Text(), "");
  EXPECT_EQ(oracle_.probes().at("answer_repeated"), 1u);
  oracle_.OnDrawn(now_ + Duration::Seconds(3600), draw, Key(1, 0));
  EXPECT_EQ(Invariant(), "G2") << "its window is over";
}

TEST_F(OracleTest, SeesARetryThatIsAnsweredWithOtherKeys) {
  RelayWhole(0);
  DrawRequest draw = Draw();
  draw.idempotency_key = "k";
  oracle_.OnDrawn(now_, draw, Key(1, 0));
  oracle_.OnDrawn(now_, draw, Key(2, 0, 32));
  EXPECT_EQ(Invariant(), "G2");
}

TEST_F(OracleTest, SeesARepeatedAnswerWithOtherBytes) {
  RelayWhole(0);
  DrawRequest draw = Draw();
  draw.idempotency_key = "k";
  oracle_.OnDrawn(now_, draw, Key(1, 0));
  oracle_.OnDrawn(now_, draw, Key(1, 0, 16));
  EXPECT_EQ(Invariant(), "G1");
}

TEST_F(OracleTest, SeesAKeyThatGoesToASlaveTwice) {
  RelayWhole(0);
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  oracle_.OnFetched(now_, Fetch(1), Key(1, 0));
  oracle_.OnFetched(now_, Fetch(1), Key(1, 0));
  EXPECT_EQ(Invariant(), "G2");
}

TEST_F(OracleTest, SeesAKeyThatGoesToAnSaeThatItDoesNotName) {
  RelayWhole(0);
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  oracle_.OnFetched(now_, Fetch(1, "carl"), Key(1, 0));
  EXPECT_EQ(Invariant(), "G2");
}

TEST_F(OracleTest, SeesTwoKeysThatShareBytes) {
  RelayWhole(0);
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  oracle_.OnDrawn(now_, Draw(), Key(2, 0, 16));
  EXPECT_EQ(Invariant(), "G2");
}

TEST_F(OracleTest, SeesFewerKeysThanWereAskedFor) {
  RelayWhole(0);
  DrawRequest two = Draw();
  two.number = 2;
  oracle_.OnDrawn(now_, two, Key(1, 0));
  EXPECT_EQ(Invariant(), "G2");
}

TEST_F(OracleTest, SeesStreamOffsetsThatReturn) {
  RelayWhole(0);
  RelayFrame frame = FirstHop(1);
  frame.at = {1, kBodyBytes / 2};
  Tagged(0, frame, PayloadOf(frame));
  oracle_.OnSent(now_, 0, 1, frame);
  EXPECT_EQ(Invariant(), "G2");
}

TEST_F(OracleTest, SeesAPadByteUnderTwoFrames) {
  RelayWhole(0);
  RelayFrame frame = FirstHop(1);
  frame.pads[0].offset_bytes -= 1;
  oracle_.OnSent(now_, 0, 1, frame);
  EXPECT_EQ(Invariant(), "G3");
}

TEST_F(OracleTest, SeesTheMacKeyOfALeaseUsedAsAPad) {
  RelayWhole(0);
  RelayFrame frame = FirstHop(1);
  frame.pads = {{1, book_, 0, 16 + kFrameBytes, kFrameBytes - 16}, {1, book_, 0, 0, 16}};
  oracle_.OnSent(now_, 0, 1, frame);
  EXPECT_EQ(Invariant(), "G3");
}

TEST_F(OracleTest, SeesALeaseThatNobodyAskedFor) {
  RelayFrame frame = FirstHop(0);
  frame.pads[0].lease = 9;
  oracle_.OnSent(now_, 0, 1, frame);
  EXPECT_EQ(Invariant(), "G3");
}

TEST_F(OracleTest, SeesTwoLeaseRequestsUnderOneNumber) {
  oracle_.OnSent(now_, 0, 1,
                 LinkMessage(LinkLeaseRequest{.link = plan_.links[0].id,
                                              .session = session_,
                                              .number = 1,
                                              .book = book_,
                                              .blocks = {{0, 3}}}));
  EXPECT_EQ(Invariant(), "G3");
}

TEST_F(OracleTest, SeesAKeyThatWasDrawnBeforeItsBytesArrived) {
  oracle_.OnSent(now_, 0, 1, FirstHop(0));
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  EXPECT_EQ(Invariant(), "G4");
}

TEST_F(OracleTest, SeesADrawnKeyThatCannotBeFetched) {
  RelayWhole(0);
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  oracle_.OnFetchRefused(now_, Fetch(1), Refusal{.kind = Refusal::Kind::kNotFound, .message = ""},
                         /*in_doubt=*/false);
  EXPECT_EQ(Invariant(), "G4");
}

TEST_F(OracleTest, ExcusesARefusalAfterAnAnswerThatMayHaveBeenLost) {
  RelayWhole(0);
  oracle_.OnDrawn(now_, Draw(), Key(1, 0));
  oracle_.OnFetchRefused(now_, Fetch(1), Refusal{.kind = Refusal::Kind::kNotFound, .message = ""},
                         /*in_doubt=*/true);
  EXPECT_EQ(Invariant(), "none");
}

TEST_F(OracleTest, SeesAPayloadInClear) {
  const RelayFrame frame = FirstHop(0);
  oracle_.OnSent(now_, 0, 1, frame);
  RelayFrame second = SecondHop(frame, PayloadOf(frame));
  const std::vector<uint8_t> payload = PayloadOf(frame);
  std::copy(payload.begin() + 8, payload.begin() + 16, second.ciphertext.begin() + 8);
  oracle_.OnSent(now_, 1, 2, second);
  EXPECT_EQ(Invariant(), "G5");
}

TEST_F(OracleTest, SeesKeyBytesInAnyMessageThatItSamples) {
  RelayWhole(0);
  const std::vector<uint8_t> payload = PayloadOf(FirstHop(0));
  LinkState state;
  state.origin = NodeId("a");
  state.signature.assign(payload.begin() + 8, payload.begin() + 24);
  for (int i = 0; i < 8; ++i) oracle_.OnSent(now_, 0, 1, state);
  EXPECT_EQ(Invariant(), "G5");
}

TEST_F(OracleTest, SeesAFrameForwardedTwice) {
  RelayWhole(0);
  RelayFrame again = SecondHop(FirstHop(0), PayloadOf(FirstHop(0)));
  again.pads = {{1, book_, 1, 0, kFrameBytes}};
  oracle_.OnSent(now_, 1, 2, again);
  EXPECT_EQ(Invariant(), "G6");
}

TEST_F(OracleTest, SeesAPayloadChangedOnTheWay) {
  const RelayFrame frame = FirstHop(0);
  oracle_.OnSent(now_, 0, 1, frame);
  std::vector<uint8_t> payload = PayloadOf(frame);
  payload[60] ^= 1;
  oracle_.OnSent(now_, 1, 2, SecondHop(frame, payload));
  EXPECT_EQ(Invariant(), "G6");
}

TEST_F(OracleTest, SeesAHeaderChangedOnTheWay) {
  const RelayFrame frame = FirstHop(0);
  oracle_.OnSent(now_, 0, 1, frame);
  RelayFrame second = frame;
  second.at.offset += 4;
  oracle_.OnSent(now_, 1, 2, SecondHop(second, PayloadOf(frame)));
  EXPECT_EQ(Invariant(), "G6");
}

TEST_F(OracleTest, SeesAWrongTag) {
  RelayFrame frame = FirstHop(0);
  frame.tag[3] ^= 1;
  oracle_.OnSent(now_, 0, 1, frame);
  EXPECT_EQ(Invariant(), "G6");
}

TEST_F(OracleTest, KeepsTheFirstViolation) {
  oracle_.Violate("G7", "first");
  oracle_.Violate("G4", "second");
  EXPECT_EQ(Invariant(), "G7");
  EXPECT_EQ(Text(), "first");
}

}  // namespace
}  // namespace keyhop::sim
