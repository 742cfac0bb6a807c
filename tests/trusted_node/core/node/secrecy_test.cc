// Relayed keys are hidden from whoever sees all of Kx in clear (DESIGN §2, G5): to any traffic and
// any keys there are pads with which just these keys give just that traffic. The test finds them
// and runs the same network with them.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <unordered_set>
#include <utility>
#include <vector>

#include "kms/core/stream/layout.h"
#include "kms/crypto/mac.h"
#include "tests/trusted_node/core/node/tapped_line.h"
#include "trusted_node/core/node/layout.h"

namespace keyhop {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kTag = 16;

Bytes Part(const Bytes& bytes, size_t begin, size_t size) {
  return {bytes.begin() + begin, bytes.begin() + begin + size};
}

// The s that makes `tag` the one-time tag of a and b under r: tag - poly_r(a, b), modulo 2^128,
// lowest byte first (RFC 8439, 2.5).
Bytes SecondHalfFor(const Tag& tag, const Bytes& r, std::span<const uint8_t> a,
                    std::span<const uint8_t> b) {
  const Tag poly = OneTimeTag(r, Bytes(kTag, 0), a, b);
  Bytes s(kTag);
  int borrow = 0;
  for (size_t i = 0; i < kTag; ++i) {
    const int difference = int{tag[i]} - int{poly[i]} - borrow;
    borrow = difference < 0 ? 1 : 0;
    s[i] = static_cast<uint8_t>(difference + 256 * borrow);
  }
  return s;
}

// What of the pads is exchanged to go with other bodies.
struct Exchange {
  bool first_hop = true;
  bool later_hops = true;
  bool end_to_end_check = true;
  bool hop_tags = true;
};

// Pads under which the body of each segment of `line` becomes what `other_body` makes of it, and
// which leave the traffic as it was, if all of `what` is exchanged.
PadBook PadsFor(TappedLine& line, const PadBook& pads, const Exchange& what,
                const std::function<Bytes(Bytes)>& other_body) {
  PadBook out = pads;
  struct Payloads {
    Bytes before;
    Bytes after;
  };
  std::map<RelayId, Payloads> payloads;
  for (const TappedFrame& tapped : line.frames()) {
    const RelayFrame& frame = tapped.frame;
    // The keys of an epoch stay: messages are authenticated under them.
    if (frame.kind != SegmentKind::kBody) continue;
    const Bytes named = pads.Gather(tapped.link, frame.pads);
    Bytes pad = Part(named, kTag, named.size() - kTag);
    Payloads& payload = payloads[frame.relay];
    if (frame.hop == 0) {
      payload.before = payload.after = pad;
      const Bytes r = Part(pad, 0, kTag);
      const Bytes body = other_body(Part(pad, kSegmentHeadBytes, frame.body_bytes));
      std::copy(body.begin(), body.end(), payload.after.begin() + kSegmentHeadBytes);
      Segment segment;
      segment.stream = frame.stream;
      segment.kind = frame.kind;
      segment.session = frame.session;
      segment.at = frame.at;
      segment.path = frame.path;
      const Bytes s =
          SecondHalfFor(frame.check, r, CheckLayoutOf(segment, frame.body_bytes).bytes(), body);
      if (what.end_to_end_check) std::copy(s.begin(), s.end(), payload.after.begin() + kTag);
    }
    if (!(frame.hop == 0 ? what.first_hop : what.later_hops)) continue;
    for (size_t i = 0; i < pad.size(); ++i) pad[i] ^= payload.before[i] ^ payload.after[i];
    out.Replace(tapped.link, frame.pads, kTag, pad);
    if (!what.hop_tags) continue;
    const Bytes s =
        SecondHalfFor(frame.tag, line.HopKeyOf(tapped), LayoutOf(frame).bytes(), payload.after);
    out.Replace(tapped.link, frame.pads, 0, s);
  }
  return out;
}

Bytes Random(Bytes body) {
  sim::SeededEntropy(body.front() * 256u + body.back()).Fill(body);
  return body;
}

// Index of the first message that differs, or the length of both.
size_t FirstDifference(const TappedLine& a, const TappedLine& b) {
  const auto [x, y] =
      std::mismatch(a.traffic().begin(), a.traffic().end(), b.traffic().begin(), b.traffic().end());
  return static_cast<size_t>(x - a.traffic().begin());
}

void ExpectBothEndsAgree(const TappedLine& line) {
  for (const DrawnKey& key : line.keys()) {
    EXPECT_EQ(key.drawn.size(), 32u);
    EXPECT_TRUE(key.drawn == key.fetched) << key.master.value << " to " << key.slave.value;
  }
}

class SecrecyTest : public ::testing::Test {
 protected:
  SecrecyTest() : pads_(plan_), line_(pads_) { line_.Run(); }

  // The same network with other pads.
  std::unique_ptr<TappedLine> Again(const PadBook& pads) {
    auto line = std::make_unique<TappedLine>(pads);
    line->Run();
    return line;
  }

  const sim::Plan plan_ = TappedLine::MakePlan();
  const PadBook pads_;
  TappedLine line_;
};

TEST_F(SecrecyTest, KeysAreRelayedOverAllHopsAndBothEndsAgree) {
  ExpectBothEndsAgree(line_);
  EXPECT_EQ(line_.alarms(), std::vector<std::string>());
  std::map<std::pair<std::string, std::string>, int> keys;
  for (const DrawnKey& key : line_.keys()) ++keys[{key.master.value, key.slave.value}];
  EXPECT_EQ(keys.size(), 4u);
  for (const auto& [pair, count] : keys) EXPECT_GE(count, 20) << pair.first << pair.second;
  std::map<int, int> bodies_at_hop;
  bool two_leases = false;
  for (const TappedFrame& tapped : line_.frames()) {
    if (tapped.frame.kind == SegmentKind::kBody) ++bodies_at_hop[tapped.frame.hop];
    two_leases |= tapped.frame.pads.front().lease != tapped.frame.pads.back().lease;
  }
  EXPECT_GE(bodies_at_hop[0], 8);
  EXPECT_GE(bodies_at_hop[1], 6);
  EXPECT_GE(bodies_at_hop[2], 4);
  EXPECT_TRUE(two_leases);
}

TEST_F(SecrecyTest, TwoDifferentKeysGiveByteIdenticalTraffic) {
  const PadBook pads = PadsFor(line_, pads_, {}, Random);
  const auto other = Again(pads);
  EXPECT_EQ(FirstDifference(line_, *other), line_.traffic().size());
  EXPECT_EQ(line_.traffic().size(), other->traffic().size());
  ExpectBothEndsAgree(*other);
  ASSERT_EQ(line_.keys().size(), other->keys().size());
  for (size_t i = 0; i < line_.keys().size(); ++i) {
    EXPECT_TRUE(line_.keys()[i].id == other->keys()[i].id);
    EXPECT_TRUE(line_.keys()[i].drawn != other->keys()[i].drawn) << i;
  }
}

TEST_F(SecrecyTest, TheSameTrafficCarriesAnyKeyThatOneMayWish) {
  const PadBook pads =
      PadsFor(line_, pads_, {}, [](const Bytes& body) { return Bytes(body.size(), 42); });
  const auto other = Again(pads);
  EXPECT_EQ(FirstDifference(line_, *other), line_.traffic().size());
  ASSERT_EQ(line_.keys().size(), other->keys().size());
  ExpectBothEndsAgree(*other);
  for (const DrawnKey& key : other->keys()) EXPECT_TRUE(key.drawn == Bytes(32, 42));
}

TEST_F(SecrecyTest, TheTrafficTellsWhenAnyPartOfThePadsStaysAsItWas) {
  const std::pair<const char*, Exchange> parts[] = {
      {"pads of the first hop only", {.later_hops = false}},
      {"pads of the later hops only", {.first_hop = false}},
      {"all but the end-to-end check", {.end_to_end_check = false}},
      {"all but the hop's tags", {.hop_tags = false}},
  };
  for (const auto& [name, what] : parts) {
    const PadBook pads = PadsFor(line_, pads_, what, Random);
    EXPECT_LT(FirstDifference(line_, *Again(pads)), line_.traffic().size()) << name;
  }
}

// Every run of eight bytes in `bytes`.
void ForEachRun(std::span<const uint8_t> bytes, const std::function<void(uint64_t)>& f) {
  for (size_t i = 0; i + 8 <= bytes.size(); ++i) {
    uint64_t run = 0;
    std::memcpy(&run, bytes.data() + i, 8);
    f(run);
  }
}

TEST_F(SecrecyTest, NoRunOfAPadOrKeyIsInTheTraffic) {
  std::unordered_set<uint64_t> secret;
  const auto add = [&](uint64_t run) { secret.insert(run); };
  for (size_t link = 0; link < plan_.links.size(); ++link) {
    for (uint64_t b = 0; b < TappedLine::kBlocks; ++b)
      ForEachRun(pads_.Block(link, {0, 1}, b), add);
  }
  for (const DrawnKey& key : line_.keys()) ForEachRun(key.drawn, add);
  const auto finds_in = [&](const std::string& text) {
    size_t finds = 0;
    ForEachRun({reinterpret_cast<const uint8_t*>(text.data()), text.size()},
               [&](uint64_t run) { finds += secret.contains(run); });
    return finds;
  };
  for (const TappedMessage& message : line_.traffic()) EXPECT_EQ(finds_in(message.bytes), 0u);
  const Bytes& key = line_.keys().front().drawn;
  EXPECT_EQ(finds_in("text " + std::string(key.begin() + 3, key.begin() + 11) + " text"), 1u);
}

}  // namespace
}  // namespace keyhop
