#include "trusted_node/daemon/store_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kms/crypto/os_entropy.h"
#include "kms/storage/memory_store.h"
#include "tests/kms/storage/sealed_world.h"
#include "trusted_node/wire/records.h"

namespace keyhop {
namespace {

const BookId kBook{1, 2};

Record Pad(uint64_t block, std::optional<std::string> bytes) {
  PadRecord pad{LinkId("l"), kBook, block, std::nullopt};
  if (bytes) pad.bytes = ToSecret(*bytes);
  return LinkRecordVariant(std::move(pad));
}

class StoreLogTest : public ::testing::Test {
 protected:
  StoreLogTest() { Open(); }
  void Open() {
    auto opened = SealedStore::Open({.key_path = "key", .kek = ToSecret(std::string(32, 'K'))},
                                    store_, files_, entropy_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    sealed_ = *std::move(opened);
    log_ = std::make_unique<StoreLog>(*sealed_);
  }
  template <typename... R>
  absl::Status Commit(R... records) {
    std::vector<Record> batch;
    (batch.push_back(std::move(records)), ...);
    return log_->Commit(batch);
  }
  // Block to pad, of the pads that a start finds.
  std::map<uint64_t, std::string> Pads() {
    std::map<uint64_t, std::string> pads;
    const auto records = log_->Recover();
    EXPECT_TRUE(records.ok()) << records.status();
    if (!records.ok()) return pads;
    for (const Record& record : *records) {
      const auto* link = std::get_if<LinkRecordVariant>(&record);
      const auto* pad = link == nullptr ? nullptr : std::get_if<PadRecord>(link);
      if (pad != nullptr) pads[pad->block] = ToText(*pad->bytes);
    }
    return pads;
  }

  OsEntropy entropy_;
  MemoryStore store_;
  FakeDisk disk_;
  CrashPoint never_ = CrashPoint::Never();
  FakeFileOps files_{disk_, never_};
  std::unique_ptr<SealedStore> sealed_;
  std::unique_ptr<StoreLog> log_;
};

TEST_F(StoreLogTest, GivesBackWhatWasCommittedOverAReopening) {
  ASSERT_TRUE(
      Commit(NodeRecord{7}, Pad(1, "pad one"), Pad(2, "pad two"), LinkDownRecord{LinkId("l")})
          .ok());
  Open();
  const auto records = log_->Recover();
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 4u);
  bool down = false;
  uint64_t counter = 0;
  for (const Record& record : *records) {
    if (const auto* node = std::get_if<NodeRecord>(&record)) counter = node->incarnation_counter;
    if (const auto* link = std::get_if<LinkDownRecord>(&record)) down = link->link == LinkId("l");
  }
  EXPECT_EQ(counter, 7u);
  EXPECT_TRUE(down);
  EXPECT_EQ(Pads(), (std::map<uint64_t, std::string>{{1, "pad one"}, {2, "pad two"}}));
}

TEST_F(StoreLogTest, TheLastOfSeveralRecordsUnderOneKeyCounts) {
  ASSERT_TRUE(Commit(Pad(1, "old"), Pad(1, std::nullopt), Pad(2, "kept"), Pad(1, "new")).ok());
  EXPECT_EQ(Pads(), (std::map<uint64_t, std::string>{{1, "new"}, {2, "kept"}}));
}

TEST_F(StoreLogTest, WhatIsErasedIsGone) {
  ASSERT_TRUE(Commit(Pad(1, "used"), LinkDownRecord{LinkId("l")}).ok());
  ASSERT_TRUE(Commit(Pad(1, std::nullopt), LinkDownRecord{LinkId("l"), /*erased=*/true}).ok());
  const auto records = log_->Recover();
  ASSERT_TRUE(records.ok());
  EXPECT_TRUE(records->empty());
  EXPECT_FALSE(store_.Get("v/" + ToStored(Pad(1, "x")).key).ok());
}

TEST_F(StoreLogTest, RefusesRecordsThatItCannotRead) {
  ASSERT_TRUE(Commit(Pad(1, "one"), NodeRecord{1}).ok());
  const Record node = NodeRecord{1};
  // A record of another kind under this one's key; then one that nobody wrote.
  const StoredRecord stored = ToStored(node);
  ASSERT_TRUE(sealed_->Commit({{.key = "sae/x", .open = stored.public_bytes}}).ok());
  EXPECT_EQ(log_->Recover().status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(sealed_->Commit({{.key = "sae/x", .open = "garbage"}}).ok());
  EXPECT_EQ(log_->Recover().status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(sealed_->Commit({{.key = "sae/x", .erase = true}}).ok());
  EXPECT_TRUE(log_->Recover().ok());
}

TEST_F(StoreLogTest, TellsThatACommitFailed) {
  CrashPoint crash(1, CrashPoint::Mode::kBefore);
  CrashingStore dying(store_, crash);
  CrashPoint never = CrashPoint::Never();
  FakeFileOps files(disk_, never);
  auto sealed = SealedStore::Open({.key_path = "other", .kek = ToSecret(std::string(32, 'K'))},
                                  dying, files, entropy_);
  ASSERT_TRUE(sealed.ok()) << sealed.status();
  StoreLog log(**sealed);
  std::vector<Record> batch;
  batch.push_back(NodeRecord{1});
  EXPECT_EQ(log.Commit(batch).code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace keyhop
