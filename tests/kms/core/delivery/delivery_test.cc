#include "kms/core/delivery/delivery.h"

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kms/core/stream/stream_world.h"

namespace keyhop {
namespace {

using Kind = Refusal::Kind;

// Two KMEs, a and b, and the stream a→b, joined without a network. `At(node)` is delivery's view of
// one of them.
class TwoKmes {
 public:
  TwoKmes() : random_(1), shell_a_(random_), shell_b_(random_) {
    config_.lease_bytes_min = 64;
    source_ = std::make_unique<StreamSource>(config_, stream_, Incarnation{1, 1},
                                             std::vector<StreamRecord>{});
    StartDestination();
  }

  void StartDestination() {
    destination_ = std::make_unique<StreamDestination>(
        config_, stream_, Incarnation{++starts_, random_.Next()}, shell_b_.disk.Read());
    destination_->OnTick(now, shell_b_);
    shell_b_.Sync();
    shell_b_.Release();
  }

  // Lets both ends speak until `bytes` can be drawn.
  void Fill(uint64_t bytes) {
    for (int i = 0; i < 200 && source_->Levels().open_bytes < bytes; ++i) {
      now = now + Duration::Millis(50);
      source_->OnTick(now, {2 * bytes, 32}, shell_a_);
      destination_->OnTick(now, shell_b_);
      while (const auto wish = source_->NextSegment(now, {2 * bytes, 32})) {
        SecretBytes payload(48 + wish->body_bytes);
        for (uint8_t& b : payload.ExposeMutable(SecretAccess::ForTest())) {
          b = static_cast<uint8_t>(random_.Next());
        }
        SecretBytes copy = CopySecret(payload);
        auto launched = source_->Launch(now, *wish, {stream_.source, stream_.destination},
                                        std::move(payload), shell_a_);
        launched.segment.payload = std::move(copy);
        destination_->OnSegment(now, std::move(launched.segment), shell_b_);
      }
      Exchange();
    }
  }

  void Exchange() {
    for (int round = 0; round < 4; ++round) {
      shell_a_.Sync();
      for (auto& m : shell_a_.Release()) destination_->OnMessage(now, m, shell_b_);
      shell_b_.Sync();
      for (auto& m : shell_b_.Release()) source_->OnMessage(now, m, shell_a_);
    }
  }

  class View : public DeliveryContext {
   public:
    View(TwoKmes& world, NodeId self) : world_(world), self_(std::move(self)) {}
    const NodeId& Self() const override { return self_; }
    std::optional<Sae> FindSae(const SaeId& sae) const override {
      const std::map<std::string, Sae> all = {
          {"alice", {NodeId("a"), 1}}, {"bob", {NodeId("b"), 1}}, {"bert", {NodeId("b"), 2}}};
      const auto it = all.find(sae.value);
      if (it == all.end()) return std::nullopt;
      return it->second;
    }
    std::optional<SaeId> LocalSae(uint32_t number) const override {
      if (self_ == NodeId("a")) return number == 1 ? std::optional(SaeId("alice")) : std::nullopt;
      if (number == 1) return SaeId("bob");
      if (number == 2) return SaeId("bert");
      return std::nullopt;
    }
    StreamSource* SourceTo(const PairWith& pair) override {
      return self_ == NodeId("a") && pair == PairWith(NodeId("b")) ? world_.source_.get() : nullptr;
    }
    const StreamSource* FindSourceTo(const PairWith& pair) const override {
      return self_ == NodeId("a") && pair == PairWith(NodeId("b")) ? world_.source_.get() : nullptr;
    }
    StreamDestination* DestinationFrom(const PairWith& pair) override {
      return self_ == NodeId("b") && pair == PairWith(NodeId("a")) ? world_.destination_.get()
                                                                   : nullptr;
    }
    StreamOutbox& OutboxFor(const NodeId&, const NodeId&) override { return world_.shell_b_; }
    uint64_t PoolTargetBytes() const override { return 4096; }
    uint64_t RefillBytesPerSecond(Instant, const PairWith&) const override {
      return world_.refill_bytes_per_s;
    }

   private:
    TwoKmes& world_;
    const NodeId self_;
  };
  View At(const char* node) { return View(*this, NodeId(node)); }

  Instant now{1'000'000'000};
  uint64_t refill_bytes_per_s = 0;

 private:
  StreamConfig config_;
  const StreamId stream_{NodeId("a"), NodeId("b")};
  TestRandom random_;
  EndShell shell_a_;
  EndShell shell_b_;
  std::unique_ptr<StreamSource> source_;
  std::unique_ptr<StreamDestination> destination_;
  uint64_t starts_ = 1;
};

class DeliveryTest : public ::testing::Test {
 protected:
  DeliveryTest() : at_a_(DeliveryConfig{}), at_b_(Limited()) {}

  static DeliveryConfig Limited() {
    DeliveryConfig config;
    config.failed_fetches_burst = 5;
    return config;
  }

  Outcome<KeyContainer> Draw(DrawRequest request) {
    auto view = world_.At("a");
    WriteSeq after = 0;
    return at_a_.Draw(world_.now, request, view, after);
  }
  KeyContainer Drawn(uint64_t number = 1) {
    auto outcome = Draw({.caller = SaeId("alice"), .slave = SaeId("bob"), .number = number});
    EXPECT_TRUE(std::holds_alternative<KeyContainer>(outcome));
    return std::move(std::get<KeyContainer>(outcome));
  }
  Outcome<KeyContainer> Fetch(const char* caller, std::vector<KeyId> ids,
                              const char* master = "alice") {
    auto view = world_.At("b");
    WriteSeq after = 0;
    return at_b_.Fetch(world_.now, {SaeId(caller), SaeId(master), std::move(ids)}, view, after);
  }
  static void ExpectRefusal(const Outcome<KeyContainer>& outcome, Kind kind,
                            const std::string& message) {
    const auto* refusal = std::get_if<Refusal>(&outcome);
    ASSERT_NE(refusal, nullptr);
    EXPECT_EQ(refusal->kind, kind);
    EXPECT_EQ(refusal->message, message);
  }

  TwoKmes world_;
  Delivery at_a_;
  Delivery at_b_;
};

TEST_F(DeliveryTest, TheNamedSlaveFetchesWhatTheMasterDrewOnce) {
  world_.Fill(1024);
  const KeyContainer drawn = Drawn();
  ASSERT_EQ(drawn.keys.size(), 1u);
  EXPECT_EQ(drawn.keys[0].key.size(), 32u);

  auto fetched = Fetch("bob", {drawn.keys[0].id});
  auto* got = std::get_if<KeyContainer>(&fetched);
  ASSERT_NE(got, nullptr);
  EXPECT_TRUE(got->keys[0].key.EqualsConstantTime(drawn.keys[0].key));

  ExpectRefusal(Fetch("bob", {drawn.keys[0].id}), Kind::kNotFound, kKeysNotFound);
}

TEST_F(DeliveryTest, AnotherSaeOfTheSameKmeIsUnauthorizedAndTakesNothing) {
  world_.Fill(1024);
  const KeyContainer drawn = Drawn(2);
  ExpectRefusal(Fetch("bert", {drawn.keys[0].id}), Kind::kUnauthorized, "Unauthorized");
  auto fetched = Fetch("bob", {drawn.keys[0].id, drawn.keys[1].id});
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(fetched));
}

TEST_F(DeliveryTest, OneUnknownIdSpoilsABatchAndNothingIsTaken) {
  world_.Fill(1024);
  const KeyContainer drawn = Drawn(1);
  KeyId unknown = drawn.keys[0].id;
  unknown[0] ^= 1;
  ExpectRefusal(Fetch("bob", {drawn.keys[0].id, unknown}), Kind::kNotFound, kKeysNotFound);
  ExpectRefusal(Fetch("bob", {drawn.keys[0].id, drawn.keys[0].id}), Kind::kNotFound, kKeysNotFound);
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(Fetch("bob", {drawn.keys[0].id})));
}

TEST_F(DeliveryTest, AnUnknownOrWrongMasterLooksLikeAnUnknownKey) {
  world_.Fill(1024);
  const KeyContainer drawn = Drawn();
  ExpectRefusal(Fetch("bob", {drawn.keys[0].id}, "nobody"), Kind::kNotFound, kKeysNotFound);
  ExpectRefusal(Fetch("bob", {drawn.keys[0].id}, "bert"), Kind::kNotFound, kKeysNotFound);
}

TEST_F(DeliveryTest, FailedFetchesAreLimitedPerSaeAndTheLimitHeals) {
  world_.Fill(1024);
  const KeyContainer drawn = Drawn();
  KeyId unknown = drawn.keys[0].id;
  unknown[15] ^= 1;
  for (int i = 0; i < 5; ++i) {
    ExpectRefusal(Fetch("bert", {unknown}), Kind::kNotFound, kKeysNotFound);
  }
  ExpectRefusal(Fetch("bert", {unknown}), Kind::kExhausted, "too many failed fetches; retry later");
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(Fetch("bob", {drawn.keys[0].id})));
  world_.now = world_.now + Duration::Millis(150);
  ExpectRefusal(Fetch("bert", {unknown}), Kind::kNotFound, kKeysNotFound);
}

TEST_F(DeliveryTest, AfterARestartTheSlavesKmeAsksToRetryUntilItHeardTheMasters) {
  world_.Fill(1024);
  const KeyContainer drawn = Drawn();
  world_.StartDestination();
  const auto early = Fetch("bob", {drawn.keys[0].id});
  ASSERT_TRUE(std::holds_alternative<Refusal>(early));
  EXPECT_EQ(std::get<Refusal>(early).kind, Kind::kUnavailable);
  EXPECT_TRUE(std::get<Refusal>(early).retry_after.has_value());

  world_.Fill(100'000);  // Whatever else happens, the ends have spoken.
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(Fetch("bob", {drawn.keys[0].id})));
}

TEST_F(DeliveryTest, AShortPoolSaysWhatIsAtHand) {
  auto outcome = Draw({.caller = SaeId("alice"), .slave = SaeId("bob"), .number = 3});
  const auto* refusal = std::get_if<Refusal>(&outcome);
  ASSERT_NE(refusal, nullptr);
  EXPECT_EQ(refusal->kind, Kind::kUnavailable);
  EXPECT_EQ(refusal->details.at("bits_asked"), "768");
  EXPECT_EQ(refusal->details.at("bits_at_hand"), "0");
}

TEST_F(DeliveryTest, RefusesWithTheStandardsTextsAndTakesNothing) {
  world_.Fill(1024);
  const SaeId alice("alice");
  const SaeId bob("bob");
  ExpectRefusal(Draw({.caller = alice, .slave = bob, .size_bits = 7}), Kind::kBadRequest,
                kSizeNotMultipleOf8);
  ExpectRefusal(Draw({.caller = alice, .slave = bob, .size_bits = 24}), Kind::kBadRequest,
                "size shall be from 32 to 16384 bits");
  ExpectRefusal(Draw({.caller = alice, .slave = bob, .number = 0}), Kind::kBadRequest,
                "number shall be from 1 to 128");
  ExpectRefusal(Draw({.caller = alice, .slave = bob, .extension_mandatory = {{"x_y"}}}),
                Kind::kBadRequest, kExtensionUnsupported);
  ExpectRefusal(
      Draw({.caller = alice, .slave = bob, .extension_mandatory = {{"keyhop_route_type"}}}),
      Kind::kBadRequest, kExtensionUnmet);
  ExpectRefusal(Draw({.caller = alice, .slave = alice}), Kind::kBadRequest,
                "slave and master are the same SAE");
  ExpectRefusal(Draw({.caller = alice, .slave = SaeId("nobody")}), Kind::kBadRequest,
                "slave_SAE_ID is not known in this network");
  ExpectRefusal(Draw({.caller = bob, .slave = alice}), Kind::kUnauthorized, "Unauthorized");
}

TEST_F(DeliveryTest, StatusCountsWhatCanBeDrawnAndTakesNothing) {
  world_.Fill(1024);
  auto view = world_.At("a");
  const StatusRequest request{SaeId("alice"), SaeId("bob")};
  const auto first = std::get<PairStatus>(at_a_.Status(world_.now, request, view));
  const auto again = std::get<PairStatus>(at_a_.Status(world_.now, request, view));
  EXPECT_GE(first.stored_key_count, 32u);
  EXPECT_EQ(first.stored_key_count, again.stored_key_count);
  EXPECT_LE(first.stored_key_count, first.max_key_count);
  Drawn(3);
  const auto after = std::get<PairStatus>(at_a_.Status(world_.now, request, view));
  EXPECT_EQ(after.stored_key_count, first.stored_key_count - 3);
}

TEST_F(DeliveryTest, StatusTellsRateTimeToRefillLimitsAndExtensions) {
  auto view = world_.At("a");
  const StatusRequest request{SaeId("alice"), SaeId("bob")};
  auto status = std::get<PairStatus>(at_a_.Status(world_.now, request, view));
  EXPECT_EQ(status.extension.at("keyhop_stored_bits"), Fact(uint64_t{0}));
  EXPECT_EQ(status.extension.at("keyhop_refill_bits_per_s"), Fact(uint64_t{0}));
  EXPECT_FALSE(status.extension.contains("keyhop_refill_ms")) << "nobody can know";
  world_.Fill(1024);
  world_.refill_bytes_per_s = 100;
  status = std::get<PairStatus>(at_a_.Status(world_.now, request, view));
  const uint64_t bits = std::get<uint64_t>(status.extension.at("keyhop_stored_bits"));
  EXPECT_GE(bits, 8192u);
  EXPECT_EQ(status.extension.at("keyhop_pool_bits"), Fact(uint64_t{4096 * 8}));
  EXPECT_EQ(status.extension.at("keyhop_refill_bits_per_s"), Fact(uint64_t{800}));
  EXPECT_EQ(status.extension.at("keyhop_refill_ms"), Fact((4096 - bits / 8) * 10));
  EXPECT_EQ(status.extension.at("keyhop_deadline_ms_max"), Fact(uint64_t{60'000}));
  const auto& states =
      std::get<std::map<std::string, std::string>>(status.extension.at("keyhop_extensions"));
  EXPECT_EQ(states.at("keyhop_deadline_ms"), "supported");
  for (const char* name : {"keyhop_route_type", "keyhop_excluded_nodes", "keyhop_age_max"}) {
    EXPECT_EQ(states.at(name), "known, cannot be met");
  }
}

TEST_F(DeliveryTest, AnnouncesTheMostKeysThatThereMayBeAndHoldsToIt) {
  world_.Fill(1024);
  DeliveryConfig config;
  config.max_key_count = 10;
  Delivery few(config);
  auto view = world_.At("a");
  const auto status = std::get<PairStatus>(
      few.Status(world_.now, StatusRequest{SaeId("alice"), SaeId("bob")}, view));
  EXPECT_EQ(status.max_key_count, 10u);
  EXPECT_EQ(status.stored_key_count, 10u);
  EXPECT_EQ(status.max_key_per_request, 10u);
  WriteSeq after = 0;
  DrawRequest request{.caller = SaeId("alice"), .slave = SaeId("bob"), .number = 11};
  ExpectRefusal(few.Draw(world_.now, request, view, after), Kind::kBadRequest,
                "number shall be from 1 to 10");
  request.number = 10;
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(few.Draw(world_.now, request, view, after)));
}

}  // namespace
}  // namespace keyhop
