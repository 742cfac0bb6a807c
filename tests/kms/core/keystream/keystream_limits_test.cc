// What an operator may set for key streams: each limit, set to another value than its default, and
// what is seen of it on both sides of the limit. Those of streams are in keystreams_test.cc, those
// of QoS in admission_test.cc.
#include <gtest/gtest.h>

#include <string>

#include "tests/kms/core/keystream/keystream_world.h"

namespace keyhop {
namespace {

using enum KeystreamStatus;

TEST(KeystreamLimitsTest, CallsThatWaitAreLimited) {
  KeystreamConfig config;
  config.calls_waiting_max = 2;
  KeystreamWorld world(config);
  const KeyId id = world.Established(kQos);
  world.key_bytes = 0;
  const uint64_t first = world.Get("a1", id, 0);
  world.Run(Duration::Millis(500));
  const uint64_t second = world.Get("a1", id, 1);
  EXPECT_EQ(world.RefusalOf(world.Get("a1", id, 2)), Refusal::Kind::kExhausted);
  EXPECT_EQ(world.RefusalOf(world.Open("a2", "a2", "b2", kQos)), Refusal::Kind::kExhausted);
  EXPECT_FALSE(world.answered(first) || world.answered(second)) << "they are not pushed out";
  world.Run(Duration::Millis(500));
  EXPECT_EQ(world.Status(first), kInsufficientKey);
  EXPECT_EQ(world.Status(world.Open("a2", "a2", "b2", kQos)), kPeerNotConnected);
}

TEST(KeystreamLimitsTest, ChunksThatOneEndLeavesUnreadAreLimited) {
  KeystreamConfig config;
  config.chunks_max = 4;
  KeystreamWorld world(config);
  const KeyId id = world.Established(kQos);
  const uint64_t past = world.Get("a1", id, 4);
  EXPECT_EQ(world.Status(past), kInsufficientKey) << "at once";
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(world.Status(world.Get("a1", id, i)), kSuccessful);
  const uint64_t fifth = world.Get("a1", id, 4);
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Status(fifth), kInsufficientKey);
  EXPECT_EQ(world.core("A").counters().allocated, 4u);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(world.Status(world.Get("b1", id, i)), kSuccessful);
  EXPECT_EQ(world.Status(world.Get("a1", id, 4)), kSuccessful);
}

TEST(KeystreamLimitsTest, NoMoreChunksThanAreAllowedAreDrawnAheadOfTheCalls) {
  for (const uint32_t ahead : {0u, 3u}) {
    KeystreamConfig config;
    config.ahead_max = ahead;
    KeystreamWorld world(config);
    const KeyId id = world.Established(kQos);
    for (uint32_t i = 0; i < 5; ++i) {
      EXPECT_EQ(world.Status(world.Get("a1", id, i)), kSuccessful);
      EXPECT_EQ(world.Status(world.Get("b1", id, i)), kSuccessful);
    }
    EXPECT_EQ(world.core("A").counters().allocated, 5u + ahead);
  }
}

TEST(KeystreamLimitsTest, AStreamWaitsSoLongForItsSecondEnd) {
  KeystreamConfig config;
  config.pending = Duration::Seconds(5);
  KeystreamWorld world(config);
  const KeyId in_time = world.Answer(world.Open("a1", "a1", "b1", kQos)).id;
  world.Run(Duration::Millis(4900));
  EXPECT_EQ(world.Status(world.Open("b1", "a1", "b1", {}, in_time)), kSuccessful);
  const KeyId late = world.Answer(world.Open("a1", "a1", "b1", kQos)).id;
  world.Run(Duration::Millis(5100));
  EXPECT_EQ(world.core("A").size(), 1u) << "the one that both opened";
  EXPECT_FALSE(late == in_time);
}

TEST(KeystreamLimitsTest, AStreamWithoutCallsStandsSoLong) {
  KeystreamConfig config;
  config.idle = Duration::Seconds(20);
  KeystreamWorld world(config);
  const KeyId id = world.Established(kQos);
  world.Run(Duration::Seconds(19));
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kSuccessful);
  EXPECT_EQ(world.Status(world.Get("b1", id, 0)), kSuccessful);
  world.Run(Duration::Seconds(19));
  EXPECT_EQ(world.Status(world.Get("a1", id, 1)), kSuccessful) << "each call counts anew";
  EXPECT_EQ(world.Status(world.Get("b1", id, 1)), kSuccessful);
  world.Run(Duration::Seconds(21));
  EXPECT_EQ(world.RefusalOf(world.Get("a1", id, 2)), Refusal::Kind::kNotFound);
}

}  // namespace
}  // namespace keyhop
