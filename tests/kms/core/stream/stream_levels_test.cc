#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kms/core/stream/word.h"
#include "tests/kms/core/stream/stream_world.h"

namespace keyhop {
namespace {

constexpr uint32_t kSegmentBytes = 64;

// Both ends of a stream. Segments are lost now and then, so that what arrives does not touch; all
// else arrives.
class LeakyPair {
 public:
  explicit LeakyPair(uint64_t seed) : random_(seed), shell_a_(random_), shell_b_(random_) {
    config_.segment_body_bytes = kSegmentBytes;
    config_.lease_bytes_min = 64;
    config_.epoch_interval_min = Duration::Seconds(1);
    source = std::make_unique<StreamSource>(config_, stream_, Incarnation{1, 1},
                                            std::vector<StreamRecord>{});
    destination_ = std::make_unique<StreamDestination>(config_, stream_, Incarnation{1, 2},
                                                       std::vector<StreamRecord>{});
  }

  void Settle(const StreamDemand& target) {
    for (int i = 0; i < 400; ++i) {
      now = now + Duration::Millis(50);
      source->OnTick(now, target, shell_a_);
      destination_->OnTick(now, shell_b_);
      while (const auto wish = source->NextSegment(now, target)) Relay(*wish);
      for (int round = 0; round < 3; ++round) {
        shell_a_.Sync();
        for (auto& m : shell_a_.Release()) destination_->OnMessage(now, m, shell_b_);
        shell_b_.Sync();
        for (auto& m : shell_b_.Release()) {
          const bool lease = std::holds_alternative<StreamLeaseAnswer>(m);
          if (!lease || leases_answered) source->OnMessage(now, m, shell_a_);
        }
      }
    }
  }
  uint64_t Below(uint64_t bound) { return random_.Below(bound); }
  void SayKeyIsLacking() {
    source->OnMessage(now, LacksKey{stream_, source->Levels().epoch, Incarnation{1, 1}}, shell_a_);
  }

  std::unique_ptr<StreamSource> source;
  Instant now = Instant{0};
  bool leases_answered = true;

 private:
  void Relay(const StreamSource::Wish& wish) {
    SecretBytes payload(48 + wish.body_bytes);
    for (uint8_t& b : payload.ExposeMutable(SecretAccess::ForTest())) {
      b = static_cast<uint8_t>(random_.Next());
    }
    SecretBytes copy = CopySecret(payload);
    auto launched = source->Launch(now, wish, {stream_.source, stream_.destination},
                                   std::move(payload), shell_a_);
    launched.segment.payload = std::move(copy);
    if (wish.kind == SegmentKind::kBody && random_.Chance(500)) {
      source->OnRefused(now, launched.segment.at, /*waited=*/true);
    } else {
      destination_->OnSegment(now, std::move(launched.segment), shell_b_);
    }
  }

  StreamConfig config_;
  const StreamId stream_{NodeId("a"), NodeId("b")};
  TestRandom random_;
  EndShell shell_a_;
  EndShell shell_b_;
  std::unique_ptr<StreamDestination> destination_;
};

TEST(StreamLevelsTest, WhateverWasDrawnBeforeADemandIsMet) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    LeakyPair pair(seed);
    for (int round = 0; round < 12; ++round) {
      const auto length = static_cast<uint32_t>(1 + pair.Below(kSegmentBytes));
      const uint64_t number = 1 + pair.Below(8);
      const StreamDemand target = {std::max<uint64_t>(512, 4 * number * RoundUpToWord(length)),
                                   length};
      pair.Settle(target);
      ASSERT_GE(pair.source->Drawable(pair.now, length), number)
          << number << " keys of " << length << " bytes, seed " << seed << ", round " << round;
      ASSERT_EQ(pair.source->Levels().in_flight_bytes, 0u);
      ASSERT_GE(pair.source->UsableBytes(length) + pair.source->Levels().stock_bytes,
                target.bytes * 7 / 8);
      while (pair.source->Draw(pair.now, number, length).ok()) {
      }
    }
  }
}

TEST(StreamLevelsTest, ALeaseThatNoEpochCanConfirmAnyMoreHoldsNothingUp) {
  LeakyPair pair(1);
  pair.Settle({512, 32});
  pair.leases_answered = false;
  while (pair.source->Draw(pair.now, 1, 32).ok()) {
  }
  pair.Settle({512, 32});
  ASSERT_EQ(pair.source->Drawable(pair.now, 32), 0u) << "a lease is asked for and not confirmed";
  for (int i = 0; i < 2; ++i) {
    const uint64_t before = pair.source->Levels().epoch;
    pair.SayKeyIsLacking();
    pair.Settle({512, 32});
    ASSERT_GT(pair.source->Levels().epoch, before);
  }
  pair.leases_answered = true;
  pair.Settle({512, 32});
  EXPECT_GE(pair.source->Drawable(pair.now, 32), 8u);
}

TEST(StreamLevelsTest, OnlyWhatWaitedOnItsWayMakesTheNextSegmentWaitLonger) {
  TestRandom random(1);
  EndShell shell(random);
  StreamSource source({}, {NodeId("a"), NodeId("b")}, {1, 1}, {});
  const auto lose = [&](Instant now, auto how) {
    const auto wish = source.NextSegment(now, {512, 32});
    ASSERT_TRUE(wish);
    const auto launched = source.Launch(now, *wish, {NodeId("a"), NodeId("b")},
                                        SecretBytes(kSegmentHeadBytes + wish->body_bytes), shell);
    ASSERT_TRUE(source.IsInFlight(launched.segment.at));
    how(launched.segment.at);
    ASSERT_FALSE(source.IsInFlight(launched.segment.at));
    source.OnMessage(now, LacksKey{{NodeId("a"), NodeId("b")}, source.Levels().epoch, {1, 1}},
                     shell);
  };
  Instant now{0};
  const Duration patience = source.patience();
  lose(now, [&](StreamAddress at) { source.OnRefused(now, at, /*waited=*/false); });
  EXPECT_EQ(source.patience(), patience);
  now = now + Duration::Seconds(60);
  lose(now, [&](StreamAddress at) { source.OnPathBroken(now, at); });
  EXPECT_EQ(source.patience(), patience);
  now = now + Duration::Seconds(60);
  lose(now, [&](StreamAddress at) { source.OnRefused(now, at, /*waited=*/true); });
  EXPECT_EQ(source.patience(), patience * 2);
}

TEST(StreamLevelsTest, AnOpeningWhosePathBrokeIsTriedAgainSoonHoweverManyFailedBefore) {
  TestRandom random(1);
  EndShell shell(random);
  StreamSource source({}, {NodeId("a"), NodeId("b")}, {1, 1}, {});
  Instant now{0};
  for (int i = 0; i < 10; ++i) {
    const auto wish = source.NextSegment(now, {512, 32});
    ASSERT_TRUE(wish);
    const auto launched = source.Launch(now, *wish, {NodeId("a"), NodeId("b")},
                                        SecretBytes(kSegmentHeadBytes + wish->body_bytes), shell);
    i < 9 ? source.OnRefused(now, launched.segment.at, /*waited=*/false)
          : source.OnPathBroken(now, launched.segment.at);
    source.OnMessage(now, LacksKey{{NodeId("a"), NodeId("b")}, source.Levels().epoch, {1, 1}},
                     shell);
    if (i < 9) now = now + Duration::Seconds(61);
  }
  EXPECT_FALSE(source.NextSegment(now, {512, 32}));
  EXPECT_TRUE(source.NextSegment(now + Duration::Seconds(1), {512, 32}));
}

TEST(StreamLevelsTest, EndsOfRunsDoNotCount) {
  LeakyPair pair(1);
  pair.Settle({512, 32});
  const uint64_t open = pair.source->Levels().open_bytes;
  EXPECT_EQ(pair.source->UsableBytes(4), open);
  while (pair.source->Draw(pair.now, 1, 52).ok()) {
  }
  EXPECT_GT(pair.source->Levels().open_bytes, 0u);
  EXPECT_EQ(pair.source->UsableBytes(52), 0u);
  EXPECT_EQ(pair.source->UsableBytes(4), pair.source->Levels().open_bytes);
}

TEST(StreamLevelsTest, MoreEndsOfRunsThanItKeepsDoNotStopIt) {
  LeakyPair pair(2);
  uint64_t drawn = 0;
  for (int round = 0; round < 400 && pair.source->counters().burnt_bytes < 1'000'000; ++round) {
    pair.Settle({16'384, 36});
    ASSERT_GE(pair.source->Drawable(pair.now, 36), 1u) << "after " << drawn << " keys";
    while (pair.source->Draw(pair.now, 1, 36).ok()) ++drawn;
    if (drawn > 4'000) return;
  }
  ADD_FAILURE() << "only " << drawn << " keys";
}

TEST(StreamLevelsTest, EndsOfRunsAreKeptAsAPartOfTheTarget) {
  constexpr uint64_t kTarget = 1024;
  LeakyPair pair(3);
  uint64_t drawn = 0;
  while (drawn < 1'000) {
    pair.Settle({kTarget, 28});
    const uint64_t ends = pair.source->Levels().open_bytes - pair.source->UsableBytes(28);
    // 8 bytes at the end of each run of 64, of a key more at the most where runs touch.
    ASSERT_LE(ends, kTarget / 8 + kTarget / 2 / kSegmentBytes * 24) << "after " << drawn;
    const uint64_t before = drawn;
    while (pair.source->Draw(pair.now, 1, 28).ok()) ++drawn;
    ASSERT_GT(drawn, before);
  }
}

}  // namespace
}  // namespace keyhop
