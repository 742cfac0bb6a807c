#include "kms/core/keystream/keystreams.h"

#include <gtest/gtest.h>

#include "tests/kms/core/keystream/keystream_world.h"

namespace keyhop {
namespace {

using enum KeystreamStatus;

const KeyId kPredefined = {1, 2, 3};

// ---- OPEN_CONNECT.

TEST(KeystreamOpenTest, MakesAnIdAndIsPendingUntilThePeerCalls) {
  KeystreamWorld world;
  const uint64_t first = world.Open("a1", "a1", "b1", kQos);
  EXPECT_EQ(world.Status(first), kPeerNotConnected);
  const KeyId id = world.Answer(first).id;
  EXPECT_NE(id, KeyId{});
  EXPECT_EQ(world.Answer(first).qos.chunk_bytes, 32u);
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kPeerNotYetConnected);
  const uint64_t second = world.Open("b1", "a1", "b1", {}, id);
  EXPECT_EQ(world.Status(second), kSuccessful);
  EXPECT_EQ(world.Answer(second).qos, world.Answer(first).qos) << "both are told what is honoured";
}

TEST(KeystreamOpenTest, TheSecondSaeMayBeTheOneThatOpensFirst) {
  KeystreamWorld world;
  const uint64_t first = world.Open("b1", "a1", "b1", kQos);
  ASSERT_EQ(world.Status(first), kPeerNotConnected);
  const KeyId id = world.Answer(first).id;
  EXPECT_EQ(world.Status(world.Open("a1", "a1", "b1", kQos, id)), kSuccessful);
  EXPECT_EQ(world.KeyOf(world.Get("a1", id, 0)), world.KeyOf(world.Get("b1", id, 0)));
}

TEST(KeystreamOpenTest, PredefinedBlocksUntilThePeerCalls) {
  KeystreamWorld world;
  const uint64_t first = world.Open("a1", "a1", "b1", kQos, kPredefined);
  EXPECT_FALSE(world.answered(first));
  EXPECT_EQ(world.Status(world.Open("b1", "a1", "b1", kQos, kPredefined)), kSuccessful);
  EXPECT_EQ(world.Status(first), kSuccessful);
}

TEST(KeystreamOpenTest, PredefinedWithoutAPeerTimesOutAndLeavesNothing) {
  KeystreamWorld world;
  const uint64_t first = world.Open("a1", "a1", "b1", kQos, kPredefined);
  world.Run(Duration::Millis(999));
  EXPECT_FALSE(world.answered(first));
  world.Run(Duration::Millis(1));
  EXPECT_EQ(world.Status(first), kTimeout);
  EXPECT_EQ(world.core("A").size(), 0u);
  EXPECT_EQ(world.core("B").size(), 0u);
  EXPECT_EQ(world.records("A") + world.records("B"), 0u);
}

TEST(KeystreamOpenTest, BothEndsAtOnceHonourOneQos) {
  KeystreamWorld world;
  world.link_up = false;
  KeystreamQos other = kQos;
  other.chunk_bytes = 16;
  const uint64_t a = world.Open("a1", "a1", "b1", kQos, kPredefined);
  const uint64_t b = world.Open("b1", "a1", "b1", other, kPredefined);
  world.link_up = true;
  world.Run(Duration::Millis(900));
  EXPECT_EQ(world.Status(a), kSuccessful);
  EXPECT_EQ(world.Status(b), kSuccessful);
  EXPECT_EQ(world.KeyOf(world.Get("a1", kPredefined, 0)).size(), 32u);
  EXPECT_EQ(world.KeyOf(world.Get("b1", kPredefined, 0)).size(), 32u);
}

TEST(KeystreamOpenTest, AnIdOfAnotherPairIsInUse) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  EXPECT_EQ(world.Status(world.Open("a2", "a2", "b1", kQos, id)), kIdInUse);
  EXPECT_EQ(world.Status(world.Open("b2", "a1", "b2", kQos, id)), kIdInUse);
  EXPECT_EQ(world.KeyOf(world.Get("a1", id, 0)), world.KeyOf(world.Get("b1", id, 0)));
}

TEST(KeystreamOpenTest, AnIdThatTheOtherKmeKnowsForAnotherPairIsInUse) {
  KeystreamWorld world;
  world.link_up = false;
  world.Open("b1", "a1", "b1", kQos, kPredefined);
  world.link_up = true;
  world.passes = [](const std::string& from, const KeystreamNote&) { return from == "A"; };
  const uint64_t other = world.Open("a2", "a2", "b2", kQos, kPredefined);
  world.passes = {};
  world.Run(Duration::Millis(900));
  EXPECT_EQ(world.Status(other), kIdInUse);
}

TEST(KeystreamOpenTest, AskedAgainIsTheSameStream) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  const uint64_t again = world.Open("a1", "a1", "b1", kQos, id);
  EXPECT_EQ(world.Status(again), kSuccessful);
  EXPECT_EQ(world.Answer(again).id, id);
  EXPECT_EQ(world.core("A").size(), 1u);
}

TEST(KeystreamOpenTest, OnlySourceOrDestinationMayOpen) {
  KeystreamWorld world;
  EXPECT_EQ(world.RefusalOf(world.Open("a2", "a1", "b1", kQos)), Refusal::Kind::kUnauthorized);
  const KeyId id = world.Established(kQos);
  EXPECT_EQ(world.RefusalOf(world.Open("a2", "a1", "b1", kQos, id)), Refusal::Kind::kUnauthorized);
  EXPECT_EQ(world.RefusalOf(world.Get("a2", id, 0)), Refusal::Kind::kNotFound);
  EXPECT_EQ(world.RefusalOf(world.Close("b2", id)), Refusal::Kind::kNotFound);
}

TEST(KeystreamOpenTest, ASuspendedSaeIsRefused) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.suspended = {"a1"};
  EXPECT_EQ(world.RefusalOf(world.Open("a1", "a1", "b1", kQos)), Refusal::Kind::kUnauthorized);
  EXPECT_EQ(world.RefusalOf(world.Get("a1", id, 0)), Refusal::Kind::kUnauthorized);
  EXPECT_EQ(world.RefusalOf(world.Close("a1", id)), Refusal::Kind::kUnauthorized);
}

TEST(KeystreamOpenTest, WithoutAWayThereIsNoConnection) {
  KeystreamWorld world;
  EXPECT_EQ(world.Status(world.Open("a1", "a1", "nobody", kQos)), kNoConnection);
  world.reachable = false;
  EXPECT_EQ(world.Status(world.Open("a1", "a1", "b1", kQos)), kNoConnection);
}

TEST(KeystreamOpenTest, AKmeThatDoesNotAnswerIsATimeout) {
  KeystreamWorld world;
  world.link_up = false;
  const uint64_t call = world.Open("a1", "a1", "b1", kQos);
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Status(call), kTimeout);
  EXPECT_EQ(world.records("A"), 0u);
}

TEST(KeystreamOpenTest, StreamsOfAnSaeAreLimited) {
  KeystreamConfig config;
  config.streams_per_sae_max = 2;
  KeystreamWorld world(config);
  world.Established(kQos);
  const KeyId second = world.Established(kQos);
  EXPECT_EQ(world.RefusalOf(world.Open("a1", "a1", "b2", kQos)), Refusal::Kind::kExhausted);
  EXPECT_EQ(world.Status(world.Open("a2", "a2", "b2", kQos)), kPeerNotConnected);
  world.Close("a1", second);
  world.Close("b1", second);
  EXPECT_EQ(world.Status(world.Open("a1", "a1", "b2", kQos)), kPeerNotConnected);
}

TEST(KeystreamOpenTest, StreamsOfAKmeAreLimitedAtEitherEnd) {
  KeystreamConfig config;
  config.streams_max = 1;
  KeystreamWorld world(config);
  world.Established(kQos);
  EXPECT_EQ(world.RefusalOf(world.Open("a2", "a2", "b2", kQos)), Refusal::Kind::kExhausted);
  EXPECT_EQ(world.RefusalOf(world.Open("b2", "a2", "b2", kQos)), Refusal::Kind::kExhausted);
}

TEST(KeystreamOpenTest, APendingStreamEnds) {
  KeystreamWorld world;
  world.Open("a1", "a1", "b1", kQos);
  world.Run(Duration::Seconds(601));
  EXPECT_EQ(world.records("A") + world.records("B"), 0u);
}

TEST(KeystreamOpenTest, AStreamWithoutCallsIsClosed) {
  KeystreamWorld world;
  world.Established(kQos);
  world.Run(Duration::Seconds(3599));
  EXPECT_EQ(world.core("A").size(), 1u);
  world.Run(Duration::Seconds(120));
  EXPECT_EQ(world.records("A") + world.records("B"), 0u);
}

// ---- QoS.

TEST(KeystreamQosTest, AMinimumRateBeyondWhatIsLeftIsCounterOffered) {
  KeystreamWorld world;
  world.rate_bps = 10'000;
  KeystreamQos qos = kQos;
  qos.min_bps = 6'000;
  world.Established(qos);
  const uint64_t second = world.Open("a2", "a2", "b2", qos);
  EXPECT_EQ(world.Status(second), kQosNotMet);
  EXPECT_EQ(world.Answer(second).qos.min_bps, 4'000u);
  EXPECT_EQ(world.core("A").size(), 1u) << "nothing is opened by a counter-proposal";
  EXPECT_EQ(world.Status(world.Open("a2", "a2", "b2", world.Answer(second).qos)),
            kPeerNotConnected);
}

TEST(KeystreamQosTest, AClosedStreamGivesItsRateBack) {
  KeystreamWorld world;
  world.rate_bps = 10'000;
  KeystreamQos qos = kQos;
  qos.min_bps = 10'000;
  const KeyId id = world.Established(qos);
  EXPECT_EQ(world.Status(world.Open("a2", "a2", "b2", qos)), kQosNotMet);
  world.Close("b1", id);
  EXPECT_EQ(world.Status(world.Open("a2", "a2", "b2", qos)), kPeerNotConnected);
}

TEST(KeystreamQosTest, WhoTakesWhatIsOfferedHasAnOpenStreamWithStatus7) {
  KeystreamWorld world;
  KeystreamQos qos = kQos;
  qos.chunk_bytes = 1'000'000;
  const uint64_t call =
      world.Call(KeystreamOpen{SaeId("a1"), SaeId("a1"), SaeId("b1"), qos, {}, true});
  EXPECT_EQ(world.Status(call), kQosNotMet);
  EXPECT_EQ(world.Answer(call).qos.chunk_bytes, 2048u);
  const KeyId id = world.Answer(call).id;
  EXPECT_EQ(world.Status(world.Open("b1", "a1", "b1", {}, id)), kSuccessful);
  EXPECT_EQ(world.KeyOf(world.Get("b1", id, 0)).size(), 2048u);
}

TEST(KeystreamQosTest, MaxBpsPacesEachEnd) {
  KeystreamWorld world;
  KeystreamQos qos = kQos;
  qos.max_bps = 512;  // Two chunks a second.
  qos.jitter_bps = 0;
  const KeyId id = world.Established(qos);
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kSuccessful);
  const uint64_t next = world.Get("a1", id, 1);
  EXPECT_EQ(world.Status(world.Get("b1", id, 0)), kSuccessful) << "the ends are paced apart";
  world.Run(Duration::Millis(499));
  EXPECT_FALSE(world.answered(next));
  world.Run(Duration::Millis(1));
  EXPECT_EQ(world.Status(next), kSuccessful);
}

TEST(KeystreamQosTest, JitterLetsDeliveriesRunAhead) {
  KeystreamWorld world;
  KeystreamQos qos = kQos;
  qos.max_bps = 512;
  qos.jitter_bps = 512;
  const KeyId id = world.Established(qos);
  for (uint32_t i = 0; i < 3; ++i) {
    const uint64_t call = world.Get("a1", id, i);
    world.Run(Duration::Millis(1));
    EXPECT_TRUE(world.answered(call)) << i;
  }
  EXPECT_FALSE(world.answered(world.Get("a1", id, 3)));
}

TEST(KeystreamQosTest, ACallThatThePaceLetsWaitTooLongTimesOut) {
  KeystreamWorld world;
  KeystreamQos qos = kQos;
  qos.max_bps = 128;  // A chunk every two seconds; the time-out is one.
  qos.jitter_bps = 0;
  const KeyId id = world.Established(qos);
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kSuccessful);
  const uint64_t call = world.Get("a1", id, 1);
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Status(call), kTimeout);
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Status(world.Get("a1", id, 1)), kSuccessful) << "nothing was consumed";
}

TEST(KeystreamQosTest, TheHigherPriorityGetsScarceKeyFirst) {
  KeystreamWorld world;
  KeystreamQos low = kQos;
  low.max_bps = 256;
  low.jitter_bps = 0;
  KeystreamQos high = low;
  high.priority = 5;
  const KeyId first = world.Established(low, "a1", "b1");
  const KeyId second = world.Established(high, "a2", "b2");
  world.key_bytes = 0;
  const uint64_t slow = world.Get("a1", first, 0);
  const uint64_t fast = world.Get("a2", second, 0);
  world.AddKey(32);
  EXPECT_TRUE(world.answered(fast));
  EXPECT_FALSE(world.answered(slow));
  EXPECT_EQ(world.drawn_for, std::vector<std::string>{"a2"});
}

TEST(KeystreamQosTest, WhoIsBehindItsMinimumGoesBeforeAnyPriority) {
  KeystreamWorld world;
  KeystreamQos guaranteed = kQos;
  guaranteed.max_bps = 256;
  guaranteed.jitter_bps = 0;
  guaranteed.min_bps = 256;
  KeystreamQos high = kQos;
  high.max_bps = 256;
  high.jitter_bps = 0;
  high.priority = 5;
  const KeyId first = world.Established(guaranteed, "a1", "b1");
  const KeyId second = world.Established(high, "a2", "b2");
  world.key_bytes = 0;
  const uint64_t minimum = world.Get("a1", first, 0);
  const uint64_t urgent = world.Get("a2", second, 0);
  world.AddKey(32);
  EXPECT_TRUE(world.answered(minimum));
  EXPECT_FALSE(world.answered(urgent));
  world.AddKey(32);
  EXPECT_TRUE(world.answered(urgent));
}

// ---- GET_KEY and CLOSE.

TEST(KeystreamGetTest, BothEndsGetTheSameBytesForAnIndex) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  std::set<std::string> keys;
  for (uint32_t i = 0; i < 100; ++i) {
    const std::string first = i % 2 == 0 ? "a1" : "b1";
    const std::string second = i % 2 == 0 ? "b1" : "a1";
    const std::string key = world.KeyOf(world.Get(first, id, i));
    EXPECT_EQ(key.size(), 32u);
    EXPECT_EQ(world.KeyOf(world.Get(second, id, i)), key);
    EXPECT_TRUE(keys.insert(key).second);
  }
}

TEST(KeystreamGetTest, AChunkIsReadOnceAtEachEnd) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kSuccessful);
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kInsufficientKey);
  EXPECT_EQ(world.Status(world.Get("b1", id, 0)), kSuccessful);
  EXPECT_EQ(world.Status(world.Get("b1", id, 0)), kInsufficientKey);
}

TEST(KeystreamGetTest, IndicesMayBeReadOutOfOrderAndSkipped) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  const std::string five = world.KeyOf(world.Get("a1", id, 5));
  const std::string two = world.KeyOf(world.Get("a1", id, 2));
  EXPECT_EQ(world.KeyOf(world.Get("b1", id, 2)), two);
  EXPECT_EQ(world.KeyOf(world.Get("b1", id, 5)), five);
}

TEST(KeystreamGetTest, AnIndexFarPastTheEndIsRefusedAtOnce) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  EXPECT_EQ(world.Status(world.Get("a1", id, 64)), kInsufficientKey);
  EXPECT_EQ(world.Status(world.Get("b1", id, UINT32_MAX)), kInsufficientKey);
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kSuccessful);
}

TEST(KeystreamGetTest, WithoutKeyItIsInsufficientOnceTheTimeIsOver) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.key_bytes = 0;
  const uint64_t call = world.Get("a1", id, 0);
  world.Run(Duration::Millis(999));
  EXPECT_FALSE(world.answered(call));
  world.Run(Duration::Millis(1));
  EXPECT_EQ(world.Status(call), kInsufficientKey);
  world.key_bytes = 1'000'000;
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kSuccessful);
}

TEST(KeystreamGetTest, WithoutAWayThereIsNoConnection) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.link_up = world.reachable = false;
  const uint64_t call = world.Get("a1", id, 0);
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Status(call), kNoConnection);
}

TEST(KeystreamGetTest, TooSmallABufferForMetadataConsumesNothing) {
  KeystreamWorld world;
  KeystreamQos qos = kQos;
  qos.metadata_mimetype = kMetadataJson;
  const KeyId id = world.Established(qos);
  const uint64_t small = world.Get("a1", id, 0, 5);
  EXPECT_EQ(world.Status(small), kMetadataTooSmall);
  EXPECT_TRUE(world.Answer(small).key.empty());
  const uint32_t needed = world.Answer(small).metadata_bytes_needed;
  world.Run(Duration::Millis(250));
  const uint64_t call = world.Get("a1", id, 0, needed);
  EXPECT_EQ(world.Status(call), kSuccessful);
  EXPECT_EQ(world.Answer(call).metadata, R"({"age":250,"hops":2})");
  EXPECT_EQ(world.KeyOf(call), world.KeyOf(world.Get("b1", id, 0, 1000)));
}

TEST(KeystreamGetTest, WithoutAMediaTypeOrABufferThereIsNoMetadata) {
  KeystreamWorld world;
  const KeyId plain = world.Established(kQos);
  EXPECT_EQ(world.Answer(world.Get("a1", plain, 0, 1)).metadata, "");
  KeystreamQos qos = kQos;
  qos.metadata_mimetype = kMetadataJson;
  const KeyId typed = world.Established(qos);
  EXPECT_EQ(world.Answer(world.Get("a1", typed, 0, 0)).metadata, "");
}

TEST(KeystreamTtlTest, ChunksLeftBehindAreBurnt) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  const std::string key = world.KeyOf(world.Get("a1", id, 0));
  world.Run(Duration::Seconds(59));
  EXPECT_EQ(world.KeyOf(world.Get("b1", id, 0)), key);
  EXPECT_EQ(world.Status(world.Get("a1", id, 1)), kSuccessful);
  world.Run(Duration::Seconds(62));
  EXPECT_EQ(world.Status(world.Get("b1", id, 1)), kInsufficientKey);
  EXPECT_EQ(world.keys_left(), 0u) << "burnt, not only hidden";
}

TEST(KeystreamTtlTest, AReaderSlowerThanTheTtlFindsEachChunk) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  for (uint32_t i = 0; i < 10; ++i) {
    const std::string key = world.KeyOf(world.Get("a1", id, i));
    EXPECT_EQ(world.KeyOf(world.Get("b1", id, i)), key) << i;
    world.Run(Duration::Seconds(100));
  }
}

TEST(KeystreamTtlTest, AStreamGoesOnAfterItsChunksWereBurnt) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(world.Status(world.Get("a1", id, i)), kSuccessful);
  const auto drawn = static_cast<uint32_t>(world.core("A").counters().allocated);
  ASSERT_GT(drawn, 4u) << "some were drawn ahead";
  world.Run(Duration::Seconds(100));
  EXPECT_EQ(world.Status(world.Get("a1", id, 4)), kInsufficientKey);
  const std::string key = world.KeyOf(world.Get("a1", id, drawn));
  EXPECT_EQ(world.KeyOf(world.Get("b1", id, drawn)), key);
}

TEST(KeystreamGetTest, ChunksThatOneEndDoesNotReadStopTheOtherAndExpire) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  uint32_t got = 0;
  while (world.Status(world.Get("a1", id, got)) == kSuccessful && got < 1000) {
    ++got;
    world.Run(Duration::Seconds(1));
    if (got >= 60) break;
  }
  EXPECT_EQ(got, 60u);
  for (uint32_t i = 0; i < 10; ++i) {
    const uint64_t call = world.Get("a1", id, 60 + i);
    world.Run(Duration::Seconds(1));
    EXPECT_TRUE(world.answered(call));
  }
  EXPECT_LE(world.keys_left(), 2u * 64u);
}

TEST(KeystreamCloseTest, TheOtherMayReadWhatWasAllocated) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  const std::string key = world.KeyOf(world.Get("a1", id, 0));
  EXPECT_EQ(world.Status(world.Close("a1", id)), kSuccessful);
  EXPECT_EQ(world.RefusalOf(world.Get("a1", id, 1)), Refusal::Kind::kNotFound);
  EXPECT_EQ(world.KeyOf(world.Get("b1", id, 0)), key);
  const uint64_t drawn = world.core("A").counters().allocated;
  EXPECT_EQ(world.Status(world.Get("b1", id, static_cast<uint32_t>(drawn))), kInsufficientKey);
  EXPECT_EQ(world.core("A").counters().allocated, drawn) << "nothing new is allocated";
}

TEST(KeystreamCloseTest, BothClosedLeavesNothing) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.Get("a1", id, 0);
  EXPECT_EQ(world.Status(world.Close("b1", id)), kSuccessful);
  EXPECT_EQ(world.Status(world.Close("a1", id)), kSuccessful);
  EXPECT_EQ(world.records("A") + world.records("B"), 0u);
  EXPECT_EQ(world.keys_left(), 0u);
  EXPECT_EQ(world.RefusalOf(world.Close("a1", id)), Refusal::Kind::kNotFound);
  EXPECT_EQ(world.Status(world.Open("a1", "a1", "b1", kQos)), kPeerNotConnected);
}

TEST(KeystreamCloseTest, OneClosedIsOverAfterTheTtl) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.Get("a1", id, 0);
  world.Close("a1", id);
  world.Run(Duration::Seconds(61));
  EXPECT_EQ(world.records("A") + world.records("B"), 0u);
  EXPECT_EQ(world.keys_left(), 0u);
}

TEST(KeystreamCloseTest, EndsCallsThatWait) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.key_bytes = 0;
  const uint64_t call = world.Get("a1", id, 0);
  world.Close("a1", id);
  EXPECT_EQ(world.RefusalOf(call), Refusal::Kind::kNotFound);
}

}  // namespace
}  // namespace keyhop
