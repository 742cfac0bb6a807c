// What lost notes, crashes and old images do to a key stream.
#include <gtest/gtest.h>

#include "kms/core/keystream/keystreams.h"
#include "tests/kms/core/keystream/keystream_world.h"

namespace keyhop {
namespace {

using enum KeystreamStatus;

TEST(KeystreamPeerTest, NothingIsGivenBeforeTheOtherKmeHoldsIt) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.passes = [](const std::string& from, const KeystreamNote&) { return from == "A"; };
  const uint64_t call = world.Get("a1", id, 0);
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Status(call), kTimeout);
  world.passes = {};
  const uint64_t again = world.Get("a1", id, 0);
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Status(again), kSuccessful);
}

TEST(KeystreamPeerTest, WhatTheOtherKmeCannotHonourIsCounterOffered) {
  KeystreamWorld world;
  KeystreamQos qos = kQos;
  qos.min_bps = 5000;
  world.rate_of["B"] = 3000;
  const uint64_t call = world.Open("a1", "a1", "b1", qos);
  world.Run(Duration::Millis(500));
  EXPECT_EQ(world.Status(call), kQosNotMet);
  EXPECT_EQ(world.Answer(call).qos.min_bps, 3000u);
  EXPECT_EQ(world.records("A") + world.records("B"), 0u);
}

TEST(KeystreamPeerTest, LostNotesAreSaidAgain) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  int said = 0;
  world.passes = [&said](const std::string&, const KeystreamNote&) { return ++said % 3 == 0; };
  for (uint32_t i = 0; i < 5; ++i) {
    std::string keys[2];
    for (int end = 0; end < 2; ++end) {
      for (int tries = 0; tries < 20 && keys[end].empty(); ++tries) {
        const uint64_t call = world.Get(end == 0 ? "b1" : "a1", id, i);
        world.Run(Duration::Seconds(1));
        if (world.Status(call) == kSuccessful) keys[end] = world.KeyOf(call);
      }
    }
    EXPECT_EQ(keys[0], keys[1]);
    EXPECT_EQ(keys[0].size(), 32u);
  }
}

// Its KME did not hear in time that the peer had called.
TEST(KeystreamPeerTest, AnOpenThatTimedOutAtOneEndMayBeTriedAgainUnderItsId) {
  KeystreamWorld world;
  const KeyId id = {7};
  world.passes = [](const std::string& from, const KeystreamNote&) { return from == "B"; };
  const uint64_t first = world.Open("b1", "a1", "b1", kQos, id);
  world.Run(Duration::Millis(500));
  EXPECT_EQ(world.Status(world.Open("a1", "a1", "b1", kQos, id)), kSuccessful);
  world.Run(Duration::Millis(600));
  EXPECT_EQ(world.Status(first), kTimeout);
  EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kPeerNotYetConnected);
  world.passes = {};
  const uint64_t again = world.Open("b1", "a1", "b1", kQos, id);
  world.Run(Duration::Millis(900));
  EXPECT_EQ(world.Status(again), kSuccessful);
  const std::string key = world.KeyOf(world.Get("a1", id, 0));
  EXPECT_EQ(key.size(), 32u);
  EXPECT_EQ(world.KeyOf(world.Get("b1", id, 0)), key);
}

TEST(KeystreamPeerTest, AStreamSurvivesTheRestartOfEitherEnd) {
  for (const std::string crashed : {"A", "B"}) {
    KeystreamWorld world;
    const KeyId id = world.Established(kQos);
    const std::string zero = world.KeyOf(world.Get("a1", id, 0));
    const std::string one = world.KeyOf(world.Get("b1", id, 1));
    world.Crash(crashed);
    world.Run(Duration::Millis(500));
    EXPECT_EQ(world.Status(world.Get("a1", id, 0)), kInsufficientKey) << "once";
    EXPECT_EQ(world.KeyOf(world.Get("b1", id, 0)), zero);
    EXPECT_EQ(world.KeyOf(world.Get("a1", id, 1)), one);
    EXPECT_EQ(world.KeyOf(world.Get("a1", id, 20)), world.KeyOf(world.Get("b1", id, 20)));
  }
}

TEST(KeystreamPeerTest, ACloseThatWasLostIsHeardAfterTheRestart) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.link_up = false;
  world.Close("a1", id);
  world.Close("b1", id);
  world.Crash("A");
  world.link_up = true;
  world.Run(Duration::Seconds(10));
  EXPECT_EQ(world.records("A") + world.records("B"), 0u);
}

TEST(KeystreamPeerTest, AnAllocatorFromAnOldImageDoesNotGiveAnIndexTwice) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.Image("A", "early");
  std::map<uint32_t, std::string> given;
  for (uint32_t i = 0; i < 30; ++i) given[i] = world.KeyOf(world.Get("b1", id, i));
  world.Restore("A", "early");
  world.Run(Duration::Seconds(1));
  for (uint32_t i = 0; i < 60; ++i) {
    const uint64_t call = world.Get("a1", id, i);
    world.Run(Duration::Seconds(1));
    if (!world.answered(call) || world.Status(call) != kSuccessful) continue;
    if (given.contains(i)) {
      EXPECT_EQ(world.KeyOf(call), given[i]) << i;
    } else {
      EXPECT_EQ(world.KeyOf(call), world.KeyOf(world.Get("b1", id, i))) << i;
      given[i] = "again";
    }
  }
  EXPECT_GT(given.size(), 30u) << "the stream goes on";
}

TEST(KeystreamPeerTest, TheOtherEndFromAnOldImageGetsWhatIsLeft) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  world.Image("B", "early");
  world.Get("a1", id, 0);
  const std::string one = world.KeyOf(world.Get("b1", id, 1));
  world.Restore("B", "early");
  world.Run(Duration::Seconds(1));
  EXPECT_EQ(world.Status(world.Get("b1", id, 1)), kInsufficientKey) << "was read in another life";
  EXPECT_EQ(world.KeyOf(world.Get("a1", id, 1)), one);
  EXPECT_EQ(world.KeyOf(world.Get("a1", id, 40)), world.KeyOf(world.Get("b1", id, 40)));
}

TEST(KeystreamPeerTest, AfterARollbackAlarmNoStreamGoesOn) {
  for (const std::string end : {"A", "B"}) {
    KeystreamWorld world;
    const KeyId id = world.Established(kQos);
    world.Get("a1", id, 0);
    world.DropAll(end);
    world.Run(Duration::Seconds(4000));
    EXPECT_EQ(world.records("A") + world.records("B"), 0u) << end;
    EXPECT_EQ(world.RefusalOf(world.Get("a1", id, 1)), Refusal::Kind::kNotFound);
  }
}

TEST(KeystreamPeerTest, AnotherStreamMayHaveAnIdThatIsOver) {
  KeystreamWorld world;
  const KeyId id = world.Established(kQos);
  const std::string before = world.KeyOf(world.Get("a1", id, 0));
  world.Close("a1", id);
  world.Close("b1", id);
  world.Open("a2", "a2", "b2", kQos, id);
  ASSERT_EQ(world.Status(world.Open("b2", "a2", "b2", kQos, id)), kSuccessful);
  const std::string after = world.KeyOf(world.Get("a2", id, 0));
  EXPECT_NE(after, before);
  EXPECT_EQ(world.KeyOf(world.Get("b2", id, 0)), after);
}

TEST(KeystreamHomeTest, TwoSaesOfOneKmeShareAStream) {
  KeystreamWorld world;
  const uint64_t first = world.Open("a1", "a1", "a2", kQos);
  ASSERT_EQ(world.Status(first), kPeerNotConnected);
  const KeyId id = world.Answer(first).id;
  EXPECT_EQ(world.Status(world.Open("a2", "a1", "a2", kQos, id)), kSuccessful);
  EXPECT_EQ(world.KeyOf(world.Get("a1", id, 0)), world.KeyOf(world.Get("a2", id, 0)));
  world.Close("a1", id);
  world.Close("a2", id);
  EXPECT_EQ(world.records("A"), 0u);
  EXPECT_EQ(world.keys_left(), 0u);
}

}  // namespace
}  // namespace keyhop
