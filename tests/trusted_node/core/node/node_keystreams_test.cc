// Key streams (ETSI GS QKD 004) on whole nodes: chunks are keys of pair streams, so what holds for
// keys holds for them.
#include <gtest/gtest.h>

#include <string>

#include "tests/trusted_node/core/node/node_world.h"

namespace keyhop {
namespace {

using enum KeystreamStatus;

const KeystreamQos kQos{.chunk_bytes = 32,
                        .max_bps = 1'000'000,
                        .jitter_bps = 1'000'000,
                        .timeout_ms = 2000,
                        .ttl_s = 60,
                        .metadata_mimetype = kMetadataJson};

class NodeKeystreamsTest : public ::testing::Test {
 protected:
  NodeKeystreamsTest() {
    world_.MakePads(512 * 1024);
    world_.Run(Duration::Seconds(3));
  }
  // The answer to a call that gets one within five seconds.
  KeystreamAnswer Await(uint64_t token) { return Await(token, world_); }
  static KeystreamAnswer Await(uint64_t token, NodeWorld& world) {
    for (int i = 0; i < 500 && !world.streamed.contains(token); ++i) {
      world.Run(Duration::Millis(10));
    }
    auto found = world.streamed.extract(token);
    if (found.empty() || !std::holds_alternative<KeystreamAnswer>(found.mapped())) {
      ADD_FAILURE() << (found.empty() ? "no answer" : std::get<Refusal>(found.mapped()).message);
      return {.status = kNoConnection};
    }
    return std::move(std::get<KeystreamAnswer>(found.mapped()));
  }
  static std::string Sae(const std::string& node) {
    return std::string(1, static_cast<char>(node[0] - 'a' + 'A'));
  }
  KeystreamAnswer Open(const std::string& node, const std::string& other, KeystreamQos qos = kQos,
                       std::optional<KeyId> id = {}) {
    const SaeId self(Sae(node));
    return Await(world_.Stream(node, KeystreamOpen{self, self, SaeId(Sae(other)), qos, id, false}));
  }
  KeystreamAnswer Get(const std::string& node, const KeyId& id, uint32_t index,
                      uint32_t metadata = 0) {
    return Await(world_.Stream(node, KeystreamGet{SaeId(Sae(node)), id, index, metadata}));
  }
  KeyId Established(const std::string& a, const std::string& b) {
    const KeystreamAnswer opened = Open(a, b);
    EXPECT_EQ(opened.status, kPeerNotConnected);
    EXPECT_EQ(Open(b, a, kQos, opened.id).status, kSuccessful);
    return opened.id;
  }
  void ExpectSame(const KeyId& id, uint32_t index, const std::string& a, const std::string& b) {
    const KeystreamAnswer first = Get(a, id, index);
    const KeystreamAnswer second = Get(b, id, index);
    ASSERT_EQ(first.status, kSuccessful);
    ASSERT_EQ(second.status, kSuccessful);
    EXPECT_EQ(first.key.size(), 32u);
    EXPECT_TRUE(first.key.EqualsConstantTime(second.key));
  }

  NodeWorld world_{{"a", "b", "c"}};
};

TEST_F(NodeKeystreamsTest, TwoHopsApartBothEndsGetTheSameChunks) {
  const KeyId id = Established("a", "c");
  for (uint32_t i = 0; i < 40; ++i)
    ExpectSame(id, i, i % 2 == 0 ? "a" : "c", i % 2 == 0 ? "c" : "a");
  EXPECT_EQ(Get("a", id, 3).status, kInsufficientKey) << "read once";
  EXPECT_EQ(Get("c", id, 3).status, kInsufficientKey);
  EXPECT_EQ(world_.Snapshot("a").counters["keystream_chunks_delivered"], 40u);
}

TEST_F(NodeKeystreamsTest, MetadataTellsTheTrustedNodesPassed) {
  const KeyId far = Established("a", "c");
  EXPECT_NE(Get("a", far, 0, 100).metadata.find("\"hops\":1}"), std::string::npos);
  EXPECT_NE(Get("c", far, 0, 100).metadata.find("\"hops\":1}"), std::string::npos);
  const KeyId near = Established("b", "c");
  EXPECT_NE(Get("c", near, 0, 100).metadata.find("\"hops\":0}"), std::string::npos);
}

TEST_F(NodeKeystreamsTest, ChunksThatLieReadyOutliveARestartOfEitherEnd) {
  for (const std::string crashed : {"a", "c"}) {
    const KeyId id = Established("a", "c");
    const KeystreamAnswer zero = Get("a", id, 0);
    const KeystreamAnswer one = Get("c", id, 1);
    world_.Crash(crashed);
    world_.Start(crashed);
    world_.Run(Duration::Seconds(2));
    EXPECT_EQ(Get("a", id, 0).status, kInsufficientKey) << "once, also over a restart";
    EXPECT_TRUE(Get("c", id, 0).key.EqualsConstantTime(zero.key));
    EXPECT_TRUE(Get("a", id, 1).key.EqualsConstantTime(one.key));
    ExpectSame(id, 30, "c", "a");
  }
}

TEST_F(NodeKeystreamsTest, AMinimumRateIsReservedOfTheLinksOfItsWay) {
  KeystreamQos qos = kQos;
  qos.min_bps = 6000;
  EXPECT_EQ(Open("a", "c", qos).status, kQosNotMet) << "no module told a rate";
  for (const char* node : {"a", "b", "c"}) {
    for (const auto& [link, levels] : world_.Snapshot(node).links) {
      world_.Feed(node, ModuleStatusChanged{link, true, 0, 10'000});
    }
  }
  world_.Run(Duration::Seconds(3));
  EXPECT_EQ(Open("a", "c", qos).status, kPeerNotConnected);
  // Of 8,000 that may be reserved on the link a to b, 2,000 are left, for whatever pair.
  const KeystreamAnswer second = Open("a", "b", qos);
  EXPECT_EQ(second.status, kQosNotMet);
  EXPECT_EQ(second.qos.min_bps, 2000u);
}

TEST_F(NodeKeystreamsTest, ThePartOfARateThatMayBeReservedIsConfigured) {
  NodeWorld world({"a", "b"}, [](NodeConfig& config) { config.keystream.reservable_percent = 30; });
  world.MakePads(512 * 1024);
  for (const char* node : {"a", "b"}) {
    for (const auto& [link, levels] : world.Snapshot(node).links) {
      world.Feed(node, ModuleStatusChanged{link, true, 0, 10'000});
    }
  }
  world.Run(Duration::Seconds(3));
  KeystreamQos qos = kQos;
  qos.min_bps = 3001;
  const auto open = [&] {
    return Await(
        world.Stream("a", KeystreamOpen{SaeId("A"), SaeId("A"), SaeId("B"), qos, {}, false}),
        world);
  };
  const KeystreamAnswer offer = open();
  EXPECT_EQ(offer.status, kQosNotMet);
  EXPECT_EQ(offer.qos.min_bps, 3000u);
  qos.min_bps = 3000;
  EXPECT_EQ(open().status, kPeerNotConnected);
}

TEST_F(NodeKeystreamsTest, ChunksAreNoKeysOfOtherRequests) {
  const KeyId id = Established("a", "c");
  const KeystreamAnswer chunk = Get("a", id, 0);
  const uint64_t draw = world_.Draw("a", "c", 20);
  world_.Run(Duration::Seconds(2));
  for (const DeliveredKey& key : world_.Keys(draw).keys) {
    EXPECT_FALSE(key.key.EqualsConstantTime(chunk.key));
  }
  EXPECT_TRUE(Get("c", id, 0).key.EqualsConstantTime(chunk.key));
}

TEST_F(NodeKeystreamsTest, QuotasDoNotCountThem) {
  for (const char* node : {"a", "c"}) {
    const Quota one{.keys_per_s = 1, .burst = Duration::Seconds(1)};
    world_.Feed(node, QuotaSet{1, {SaeId(Sae(node))}, one});
    ASSERT_EQ(world_.Snapshot(node).quotas.size(), 1u);
  }
  const KeyId id = Established("a", "c");
  for (uint32_t i = 0; i < 40; ++i) ExpectSame(id, i, "a", "c");
  for (const char* node : {"a", "c"}) {
    EXPECT_EQ(world_.Snapshot(node).counters["draws_over_quota"], 0u);
  }
}

TEST_F(NodeKeystreamsTest, ASuspendedSaeIsRefusedOnAnOpenStream) {
  const KeyId id = Established("a", "c");
  world_.SwitchSae("a", "a", false);
  const uint64_t call = world_.Stream("a", KeystreamGet{SaeId("A"), id, 0, 0});
  ASSERT_TRUE(world_.streamed.contains(call));
  ASSERT_TRUE(std::holds_alternative<Refusal>(world_.streamed.at(call)));
  EXPECT_EQ(std::get<Refusal>(world_.streamed.at(call)).kind, Refusal::Kind::kUnauthorized);
}

TEST_F(NodeKeystreamsTest, NothingIsGivenWhileTheOtherKmeDoesNotHearOfIt) {
  const KeyId id = Established("a", "c");
  uint64_t seen = 0;
  world_.passes = [&](const std::string& from, const KxMessage& message) {
    const auto* control = std::get_if<RoutedControl>(&message);
    if (control == nullptr || !std::holds_alternative<KeystreamNote>(control->body)) return true;
    ++seen;
    return from != "b";
  };
  const uint64_t call = world_.Stream("a", KeystreamGet{SaeId("A"), id, 0, 0});
  world_.Run(Duration::Seconds(3));
  EXPECT_GT(seen, 0u);
  EXPECT_EQ(Await(call).status, kTimeout);
  world_.passes = {};
  ExpectSame(id, 0, "a", "c");
}

}  // namespace
}  // namespace keyhop
