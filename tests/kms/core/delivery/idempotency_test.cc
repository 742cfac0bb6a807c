#include "kms/core/delivery/idempotency.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace keyhop {
namespace {

using Kind = Refusal::Kind;

constexpr Duration kWindow = Duration::Seconds(60);

// What the table writes, as a store would keep it.
class Shell final : public IdempotencyOutbox {
 public:
  WriteSeq Write(IdempotencyRecord record) override {
    const std::pair name(record.caller, record.key);
    records.erase(name);
    if (record.answer) records.emplace(name, std::move(record));
    return ++seq;
  }
  WriteSeq Write(RunTimeRecord record) override {
    run_time = record;
    return ++seq;
  }
  std::vector<IdempotencyRecord> Records() const {
    std::vector<IdempotencyRecord> out;
    for (const auto& [name, r] : records) {
      out.push_back(
          {r.caller, r.key, r.request_hash, r.ends, r.answer->Duplicate(SecretAccess::ForTest())});
    }
    return out;
  }
  std::map<std::pair<SaeId, std::string>, IdempotencyRecord> records;
  std::optional<RunTimeRecord> run_time;
  WriteSeq seq = 0;
};

KeyContainer Keys(uint8_t first, size_t number = 1) {
  KeyContainer out;
  for (size_t i = 0; i < number; ++i) {
    const std::vector<uint8_t> bytes(32, static_cast<uint8_t>(first + i));
    KeyId id = {};
    id[0] = static_cast<uint8_t>(first + i);
    out.keys.push_back({id, SecretBytes::CopyOf(bytes)});
  }
  return out;
}

bool Same(const KeyContainer& a, const KeyContainer& b) {
  if (a.keys.size() != b.keys.size()) return false;
  for (size_t i = 0; i < a.keys.size(); ++i) {
    if (a.keys[i].id != b.keys[i].id) return false;
    if (!a.keys[i].key.EqualsConstantTime(b.keys[i].key)) return false;
  }
  return true;
}

class IdempotencyTest : public ::testing::Test {
 protected:
  IdempotencyTest() { Start(); }

  // A start, from what was written before.
  void Start() {
    table_.emplace(config_, shell_.Records(), shell_.run_time);
    table_->Start(now_);
  }
  void After(Duration span) {
    now_ = now_ + span;
    table_->OnTick(now_, shell_);
  }

  static IdempotencyTable::Request Request(const std::string& key, uint8_t hash = 1,
                                           const char* caller = "alice") {
    IdempotencyTable::Request request{.caller = SaeId(caller), .key = key, .answer_bytes_max = 600};
    request.hash.fill(hash);
    request.neighbour_heard = request.pair_heard = true;
    return request;
  }
  IdempotencyTable::Verdict Begin(uint64_t token, const IdempotencyTable::Request& request) {
    return table_->Begin(now_, token, request, shell_);
  }
  // Serves `request` as a fresh one with `keys`.
  void Serve(const IdempotencyTable::Request& request, KeyContainer keys) {
    const uint64_t token = next_token_++;
    ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Fresh>(Begin(token, request)));
    Outcome<KeyContainer> outcome = std::move(keys);
    WriteSeq after = 0;
    EXPECT_TRUE(table_->End(now_, token, outcome, after, shell_).empty());
    EXPECT_EQ(after, shell_.seq);
  }
  bool Repeats(const IdempotencyTable::Request& request, const KeyContainer& keys) {
    const auto verdict = Begin(next_token_++, request);
    const auto* repeated = std::get_if<IdempotencyTable::Repeated>(&verdict);
    return repeated != nullptr && Same(repeated->keys, keys);
  }
  std::optional<Kind> RefusedAs(const IdempotencyTable::Request& request) {
    const auto verdict = Begin(next_token_++, request);
    const auto* refusal = std::get_if<Refusal>(&verdict);
    return refusal ? std::optional(refusal->kind) : std::nullopt;
  }
  bool IsFresh(const IdempotencyTable::Request& request) {
    const uint64_t token = next_token_++;
    if (!std::holds_alternative<IdempotencyTable::Fresh>(Begin(token, request))) return false;
    Outcome<KeyContainer> outcome = Refusal{};
    WriteSeq after = 0;
    table_->End(now_, token, outcome, after, shell_);
    return true;
  }

  DeliveryConfig config_;
  Instant now_{5'000'000'000};
  Shell shell_;
  std::optional<IdempotencyTable> table_;
  uint64_t next_token_ = 1;
};

TEST_F(IdempotencyTest, TheIdenticalRequestGetsTheIdenticalAnswer) {
  Serve(Request("k"), Keys(1, 3));
  EXPECT_TRUE(Repeats(Request("k"), Keys(1, 3)));
  EXPECT_TRUE(Repeats(Request("k"), Keys(1, 3)));
}

TEST_F(IdempotencyTest, AnAnswerLeavesOnlyWithItsRecord) {
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Fresh>(Begin(1, Request("k"))));
  Outcome<KeyContainer> outcome = Keys(1);
  WriteSeq after = 0;
  table_->End(now_, 1, outcome, after, shell_);
  EXPECT_NE(after, 0u);
  const auto verdict = Begin(2, Request("k"));
  EXPECT_EQ(std::get<IdempotencyTable::Repeated>(verdict).after, after);
}

TEST_F(IdempotencyTest, AnotherRequestUnderTheKeyIsRefused) {
  Serve(Request("k", 1), Keys(1));
  EXPECT_EQ(RefusedAs(Request("k", 2)), Kind::kOtherRequest);
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Fresh>(Begin(100, Request("m", 1))));
  EXPECT_EQ(RefusedAs(Request("m", 2)), Kind::kOtherRequest);
}

TEST_F(IdempotencyTest, AnotherSaeHasKeysOfItsOwn) {
  Serve(Request("k", 1, "alice"), Keys(1));
  EXPECT_TRUE(IsFresh(Request("k", 1, "bob")));
}

TEST_F(IdempotencyTest, ASecondOneAtOnceWaitsForTheFirst) {
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Fresh>(Begin(1, Request("k"))));
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Waits>(Begin(2, Request("k"))));
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Waits>(Begin(3, Request("k"))));
  EXPECT_TRUE(table_->UnderWay(1));
  EXPECT_FALSE(table_->UnderWay(2));
  Outcome<KeyContainer> outcome = Keys(1);
  WriteSeq after = 0;
  EXPECT_EQ(table_->End(now_, 1, outcome, after, shell_), (std::vector<uint64_t>{2, 3}));
}

TEST_F(IdempotencyTest, OnlyAFewWaitForOne) {
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Fresh>(Begin(1, Request("k"))));
  for (uint64_t i = 0; i < IdempotencyTable::kWaitingMax; ++i) {
    ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Waits>(Begin(10 + i, Request("k"))));
  }
  EXPECT_EQ(RefusedAs(Request("k")), Kind::kExhausted);
}

TEST_F(IdempotencyTest, ARefusalIsNotKept) {
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Fresh>(Begin(1, Request("k"))));
  Outcome<KeyContainer> outcome = Refusal{Kind::kUnavailable, "none now"};
  WriteSeq after = 0;
  table_->End(now_, 1, outcome, after, shell_);
  EXPECT_EQ(after, 0u);
  EXPECT_TRUE(shell_.records.empty());
  EXPECT_TRUE(IsFresh(Request("k")));
  EXPECT_TRUE(IsFresh(Request("k", 2)));
}

TEST_F(IdempotencyTest, AfterTheWindowItIsErasedAndForgotten) {
  Serve(Request("k"), Keys(1));
  After(kWindow - Duration::Millis(1));
  EXPECT_EQ(shell_.records.size(), 1u);
  EXPECT_TRUE(Repeats(Request("k"), Keys(1)));
  ASSERT_EQ(table_->NextDeadline(), now_ + Duration::Millis(1));
  After(Duration::Millis(1));
  EXPECT_TRUE(shell_.records.empty());
  EXPECT_EQ(table_->NextDeadline(), std::nullopt);
  EXPECT_TRUE(IsFresh(Request("k", 2)));
}

TEST_F(IdempotencyTest, TheAnswerOutlivesARestart) {
  Serve(Request("k"), Keys(1, 2));
  Start();
  EXPECT_TRUE(Repeats(Request("k"), Keys(1, 2)));
  EXPECT_EQ(RefusedAs(Request("k", 2)), Kind::kOtherRequest);
}

TEST_F(IdempotencyTest, TheWindowIsRunTime) {
  Serve(Request("k"), Keys(1));
  for (int i = 0; i < 3; ++i) After(Duration::Seconds(10));
  now_ = now_ + Duration::Seconds(100'000);  // Down.
  Start();
  After(Duration::Seconds(29));
  EXPECT_TRUE(Repeats(Request("k"), Keys(1)));
  After(Duration::Seconds(1));
  EXPECT_TRUE(IsFresh(Request("k")));
}

TEST_F(IdempotencyTest, RestartsDoNotProlongAWindowForLong) {
  Serve(Request("k"), Keys(1));
  // Each life is cut off just before it records its run time again.
  int lives = 0;
  for (; lives < 20 && !shell_.records.empty(); ++lives) {
    After(Duration::Seconds(10));
    After(Duration::Millis(9'999));
    Start();
  }
  EXPECT_LE(lives, 6);
}

TEST_F(IdempotencyTest, BeforeANeighbourWasHeardNothingIsAnswered) {
  Serve(Request("k"), Keys(1));
  Start();
  IdempotencyTable::Request request = Request("k");
  request.neighbour_heard = false;
  EXPECT_EQ(RefusedAs(request), Kind::kUnavailable);
  request.key = "new";
  EXPECT_EQ(RefusedAs(request), Kind::kUnavailable);
}

TEST_F(IdempotencyTest, AnOldAnswerIsRepeatedOnceItsPairWasHeard) {
  Serve(Request("k"), Keys(1));
  IdempotencyTable::Request request = Request("k");
  request.pair_heard = false;
  EXPECT_TRUE(Repeats(request, Keys(1))) << "this start knows";
  Start();
  EXPECT_EQ(RefusedAs(request), Kind::kUnavailable);
  EXPECT_TRUE(Repeats(Request("k"), Keys(1)));
}

TEST_F(IdempotencyTest, AfterARollbackRetriesAreRefusedForAWindowEvenAcrossAStart) {
  Serve(Request("k"), Keys(1));
  table_->BurnAll(now_, shell_);
  EXPECT_TRUE(shell_.records.empty());
  EXPECT_EQ(RefusedAs(Request("k")), Kind::kUnavailable);
  Start();
  EXPECT_EQ(RefusedAs(Request("k")), Kind::kUnavailable);
  EXPECT_EQ(RefusedAs(Request("new")), Kind::kUnavailable);
  const auto verdict = Begin(99, Request("k"));
  EXPECT_EQ(std::get<Refusal>(verdict).retry_after, kWindow);
  After(kWindow);
  EXPECT_TRUE(IsFresh(Request("k")));
  EXPECT_EQ(table_->NextDeadline(), std::nullopt);
}

TEST_F(IdempotencyTest, WhatIsUnderWayWhenARollbackIsFoundIsRefused) {
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Fresh>(Begin(1, Request("k"))));
  ASSERT_TRUE(std::holds_alternative<IdempotencyTable::Waits>(Begin(2, Request("k"))));
  table_->BurnAll(now_, shell_);
  Outcome<KeyContainer> outcome = Keys(1);
  WriteSeq after = 0;
  EXPECT_EQ(table_->End(now_, 1, outcome, after, shell_), std::vector<uint64_t>{2});
  ASSERT_TRUE(std::holds_alternative<Refusal>(outcome));
  EXPECT_EQ(std::get<Refusal>(outcome).kind, Kind::kUnavailable);
  EXPECT_TRUE(shell_.records.empty());
}

TEST_F(IdempotencyTest, OneSaeMayHaveSoManyOpenAndNoMore) {
  config_.idempotency_open_max = 3;
  Start();
  for (const char* key : {"a", "b", "c"}) Serve(Request(key), Keys(1));
  EXPECT_EQ(RefusedAs(Request("d")), Kind::kExhausted);
  EXPECT_TRUE(Repeats(Request("a"), Keys(1)));
  EXPECT_TRUE(IsFresh(Request("d", 1, "bob")));
  Start();
  EXPECT_EQ(RefusedAs(Request("d")), Kind::kExhausted) << "a restart gives no room";
  const auto verdict = Begin(99, Request("d"));
  EXPECT_EQ(std::get<Refusal>(verdict).retry_after, kWindow);
  After(kWindow);
  EXPECT_TRUE(IsFresh(Request("d")));
}

TEST_F(IdempotencyTest, AnswersHaveRoomsOfTheirOwn) {
  config_.idempotency_bytes_max = 16 * 1024;
  Start();
  // A quarter is 4 KiB: 600 bytes are taken by what is under way, 562 by an answer of one key.
  int served = 0;
  for (; served < 100; ++served) {
    if (!IsFresh(Request("k" + std::to_string(served)))) break;
    Serve(Request("k" + std::to_string(served)), Keys(1));
  }
  EXPECT_EQ(served, 7);
  EXPECT_EQ(RefusedAs(Request("one more")), Kind::kExhausted);
  EXPECT_TRUE(IsFresh(Request("one more", 1, "bob")));
  IdempotencyTable::Request never = Request("x", 1, "bob");
  never.answer_bytes_max = 4 * 1024 + 1;
  EXPECT_EQ(RefusedAs(never), Kind::kBadRequest);
}

TEST_F(IdempotencyTest, AKeyIsPrintableAndNotLong) {
  EXPECT_EQ(RefusedAs(Request("")), Kind::kBadRequest);
  EXPECT_EQ(RefusedAs(Request(std::string(256, 'x'))), Kind::kBadRequest);
  EXPECT_EQ(RefusedAs(Request("a\nb")), Kind::kBadRequest);
  EXPECT_EQ(RefusedAs(Request("\xc3\xa9")), Kind::kBadRequest);
  EXPECT_TRUE(IsFresh(Request(std::string(255, 'x'))));
  EXPECT_TRUE(IsFresh(Request("\"8e03978e-40d5-43e8-bc93-6894a57f9324\"")));
}

TEST_F(IdempotencyTest, NothingIsWrittenWhereNobodyUsesKeys) {
  for (int i = 0; i < 100; ++i) After(Duration::Seconds(10));
  EXPECT_EQ(shell_.seq, 0u);
  EXPECT_EQ(table_->NextDeadline(), std::nullopt);
}

TEST(IdempotencyHashTest, EveryPartOfARequestCounts) {
  const DrawRequest draw{.caller = SaeId("a"), .slave = SaeId("b")};
  std::vector<DrawRequest> draws(7, draw);
  draws[1].slave = SaeId("c");
  draws[2].number = 2;
  draws[3].size_bits = 256;
  draws[4].additional_slaves = {SaeId("c")};
  draws[5].extension_mandatory = {{.name = "x"}};
  draws[6].extension_optional = {{.name = "x"}};
  const FetchRequest fetch{.caller = SaeId("a"), .master = SaeId("b"), .key_ids = {KeyId{1}}};
  std::vector<FetchRequest> fetches(3, fetch);
  fetches[1].master = SaeId("c");
  fetches[2].key_ids = {KeyId{1}, KeyId{2}};
  std::set<std::array<uint8_t, 32>> hashes;
  for (const DrawRequest& request : draws) hashes.insert(HashOf(request));
  for (const FetchRequest& request : fetches) hashes.insert(HashOf(request));
  EXPECT_EQ(hashes.size(), draws.size() + fetches.size());
}

TEST(IdempotencyHashTest, TheKeyItselfDoesNot) {
  DrawRequest draw{.caller = SaeId("a"), .slave = SaeId("b")};
  const auto hash = HashOf(draw);
  draw.idempotency_key = "k";
  EXPECT_EQ(HashOf(draw), hash);
}

}  // namespace
}  // namespace keyhop
