#include "trusted_node/wire/kx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "tests/trusted_node/wire/sample_messages.h"
#include "trusted_node/wire/limits.h"

namespace keyhop {
namespace {

using ::testing::HasSubstr;
namespace pb = kx::v1;

TEST(KxWireTest, EveryFieldOfEveryMessageMakesTheRoundTrip) {
  std::set<int> kinds;
  std::set<int> bodies;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const pb::KxMessage sent = SampleMessage(seed);
    kinds.insert(sent.body_case());
    if (sent.has_routed_control()) bodies.insert(sent.routed_control().body_case());
    const absl::StatusOr<KxMessage> message = FromProto(sent);
    ASSERT_TRUE(message.ok()) << seed << " " << message.status();
    EXPECT_EQ(ToProto(*message).SerializeAsString(), sent.SerializeAsString()) << seed;
  }
  EXPECT_EQ(kinds.size(), 7u);
  EXPECT_EQ(bodies.size(), 16u);
}

// The first sample that `want` accepts.
pb::KxMessage Sample(const std::function<bool(const pb::KxMessage&)>& want) {
  for (uint64_t seed = 0;; ++seed) {
    pb::KxMessage message = SampleMessage(seed);
    if (want(message)) return message;
  }
}
pb::KxMessage Hello() {
  return Sample([](const pb::KxMessage& m) { return m.has_link_hello(); });
}
pb::KxMessage LaterFrame() {
  return Sample([](const auto& m) { return m.has_relay_frame() && m.relay_frame().hop() > 0; });
}

void ExpectRefused(const pb::KxMessage& message, const std::string& field) {
  const absl::StatusOr<KxMessage> result = FromProto(message);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr(field));
}

TEST(KxWireTest, RefusesAMessageWithoutABody) {
  ExpectRefused(pb::KxMessage(), "body");
  pb::KxMessage control = Sample([](const auto& m) { return m.has_routed_control(); });
  control.mutable_routed_control()->clear_body();
  ExpectRefused(control, "routed_control");
}

TEST(KxWireTest, RefusesATagOfAnotherSizeOrKind) {
  pb::KxMessage hello = Hello();
  hello.mutable_link_hello()->set_tag(std::string(31, 'x'));
  ExpectRefused(hello, "tag");
  hello = Hello();
  hello.mutable_link_hello()->set_tag_kind(pb::TAG_KIND_PAD_ONE_TIME);
  ExpectRefused(hello, "tag_kind");
  hello.mutable_link_hello()->set_tag_kind(static_cast<pb::TagKind>(77));
  ExpectRefused(hello, "tag_kind");
  hello.mutable_link_hello()->clear_tag_kind();
  ExpectRefused(hello, "tag_kind");
}

TEST(KxWireTest, RefusesIdsThatAreMissingOrTooLong) {
  pb::KxMessage hello = Hello();
  hello.mutable_link_hello()->set_link_id(std::string(kWireIdBytesMax + 1, 'x'));
  ExpectRefused(hello, "link_id");
  hello = Hello();
  hello.mutable_link_hello()->clear_from_node_id();
  ExpectRefused(hello, "from_node_id");
  pb::KxMessage state = Sample([](const auto& m) { return m.has_link_state(); });
  state.mutable_link_state()->mutable_saes(0)->set_sae_id(std::string(301, 'x'));
  ExpectRefused(state, "sae_id");
}

TEST(KxWireTest, RefusesMoreEntriesThanTheLimit) {
  pb::KxMessage hello = Hello();
  for (size_t i = 0; i < kWireBooksMax; ++i) hello.mutable_link_hello()->add_books();
  ExpectRefused(hello, "books");
  pb::KxMessage frame = LaterFrame();
  for (size_t i = 0; i < kWirePathMax; ++i) frame.mutable_relay_frame()->add_path("n");
  ExpectRefused(frame, "path");
  frame = LaterFrame();
  for (size_t i = 0; i < kWirePadRangesMax; ++i) {
    *frame.mutable_relay_frame()->add_pads() = frame.relay_frame().pads(0);
  }
  ExpectRefused(frame, "pads");
}

TEST(KxWireTest, RefusesUnknownEnumValues) {
  pb::KxMessage frame = LaterFrame();
  frame.mutable_relay_frame()->set_kind(static_cast<pb::SegmentKind>(9));
  ExpectRefused(frame, "kind");
  pb::KxMessage request = Sample([](const auto& m) { return m.has_link_lease_request(); });
  request.mutable_link_lease_request()->clear_direction();
  ExpectRefused(request, "direction");
}

TEST(KxWireTest, RefusesACiphertextThatIsNotAsLongAsThePayload) {
  pb::KxMessage frame = LaterFrame();
  frame.mutable_relay_frame()->mutable_ciphertext()->pop_back();
  ExpectRefused(frame, "ciphertext");
  frame = LaterFrame();
  frame.mutable_relay_frame()->set_hop(0);
  ExpectRefused(frame, "ciphertext");
}

TEST(KxWireTest, RefusesASupplyNoticeWhoseCiphertextIsNotAsLongAsItsKeys) {
  const auto is_notice = [](const pb::KxMessage& m) {
    return m.has_routed_control() && m.routed_control().has_supply_notice();
  };
  pb::KxMessage notice = Sample(is_notice);
  notice.mutable_routed_control()->mutable_supply_notice()->mutable_ciphertext()->pop_back();
  ExpectRefused(notice, "ciphertext");
  notice = Sample(is_notice);
  notice.mutable_routed_control()->mutable_supply_notice()->set_length_bytes(0x80000000);
  ExpectRefused(notice, "ciphertext");
  notice = Sample(is_notice);
  for (size_t i = 0; i < kWireSupplySlavesMax; ++i) {
    notice.mutable_routed_control()->mutable_supply_notice()->add_slave_sae_ids("s");
  }
  ExpectRefused(notice, "slave_sae_ids");
}

TEST(KxWireTest, RefusesAHopThatIsNotOnThePath) {
  pb::KxMessage frame = LaterFrame();
  frame.mutable_relay_frame()->set_hop(3);
  ExpectRefused(frame, "hop");
  frame.mutable_relay_frame()->set_hop(0xffffffff);
  ExpectRefused(frame, "hop");
}

TEST(KxWireTest, RefusesEmptyAndReversedRanges) {
  pb::KxMessage request = Sample([](const auto& m) { return m.has_link_lease_request(); });
  auto* range = request.mutable_link_lease_request()->mutable_blocks(0);
  range->set_end(range->begin());
  ExpectRefused(request, "range");
}

TEST(KxWireTest, RefusesDurationsThatAreNegativeOrWithoutEnd) {
  pb::KxMessage frame = LaterFrame();
  frame.mutable_relay_frame()->mutable_remaining()->set_seconds(-1);
  ExpectRefused(frame, "remaining");
  frame.mutable_relay_frame()->mutable_remaining()->set_seconds(1LL << 60);
  ExpectRefused(frame, "remaining");
}

TEST(KxWireTest, TakesWhateverBytesComeWithoutHarm) {
  SampleFiller filler(7);
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    std::string bytes = SampleMessage(seed).SerializeAsString();
    if (seed % 2 == 0) {
      bytes.resize(filler.Below(bytes.size() + 1));
    } else {
      bytes[filler.Below(bytes.size())] ^= static_cast<char>(1 + filler.Below(255));
    }
    pb::KxMessage message;
    if (!message.ParseFromString(bytes)) continue;
    const absl::StatusOr<KxMessage> result = FromProto(message);
    if (result.ok()) continue;
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace keyhop
