// What every Store must do; run on each implementation.

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kms/storage/memory_store.h"
#include "kms/storage/rocks_store.h"
#include "tests/kms/storage/temp_folder.h"

namespace keyhop {
namespace {

// Opens the same store again and again.
class World {
 public:
  virtual ~World() = default;
  virtual std::unique_ptr<Store> Open() = 0;
};

class MemoryWorld final : public World {
 public:
  std::unique_ptr<Store> Open() override { return std::make_unique<MemoryStore>(disk_); }

 private:
  const std::shared_ptr<MemoryDisk> disk_ = std::make_shared<MemoryDisk>();
};

class RocksWorld final : public World {
 public:
  std::unique_ptr<Store> Open() override {
    absl::StatusOr<std::unique_ptr<RocksStore>> store =
        RocksStore::Open({.path = folder_.path() + "/store"});
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

 private:
  TempFolder folder_;
};

struct Kind {
  std::string name;
  std::function<std::unique_ptr<World>()> make;
};

class StoreContractTest : public testing::TestWithParam<Kind> {
 protected:
  StoreContractTest() : world_(GetParam().make()), store_(world_->Open()) {}

  void Reopen() {
    store_.reset();
    store_ = world_->Open();
  }
  absl::Status Put(const std::string& key, const std::string& value) {
    return store_->Commit({.ops = {{key, value}}, .preconditions = {}});
  }
  std::map<std::string, std::string> All(const std::string& prefix = "") {
    std::map<std::string, std::string> all;
    EXPECT_TRUE(store_
                    ->Scan(prefix,
                           [&](absl::string_view key, absl::string_view value) {
                             EXPECT_TRUE(all.emplace(key, value).second);
                             return absl::OkStatus();
                           })
                    .ok());
    return all;
  }

  const std::unique_ptr<World> world_;
  std::unique_ptr<Store> store_;
};

using Map = std::map<std::string, std::string>;

TEST_P(StoreContractTest, IsEmptyWhenNew) {
  EXPECT_EQ(All(), Map());
  EXPECT_EQ(store_->commit_number(), 0u);
  EXPECT_EQ(store_->Get("a").status().code(), absl::StatusCode::kNotFound);
}

TEST_P(StoreContractTest, KeepsWhatWasCommittedOverAReopening) {
  ASSERT_TRUE(Put("a", "1").ok());
  ASSERT_TRUE(Put("b", "").ok());
  Reopen();
  EXPECT_EQ(All(), (Map{{"a", "1"}, {"b", ""}}));
  EXPECT_EQ(store_->commit_number(), 2u);
  EXPECT_EQ(*store_->Get("b"), "");
}

TEST_P(StoreContractTest, AppliesTheOpsOfABatchInOrder) {
  ASSERT_TRUE(Put("old", "x").ok());
  ASSERT_TRUE(store_
                  ->Commit({.ops = {{"k", "1"},
                                    {"k", std::nullopt},
                                    {"k", "2"},
                                    {"old", std::nullopt},
                                    {"absent", std::nullopt}},
                            .preconditions = {}})
                  .ok());
  EXPECT_EQ(All(), (Map{{"k", "2"}}));
}

TEST_P(StoreContractTest, TakesBinaryKeysAndValuesInOrderOfBytes) {
  const std::string zero("a\0b", 3), high("a\xff", 2), value("\0\xff\n", 3);
  ASSERT_TRUE(Put(high, value).ok());
  ASSERT_TRUE(Put(zero, value).ok());
  ASSERT_TRUE(Put("a", value).ok());
  std::vector<std::string> keys;
  ASSERT_TRUE(store_
                  ->Scan("a",
                         [&](absl::string_view key, absl::string_view v) {
                           keys.emplace_back(key);
                           EXPECT_EQ(v, value);
                           return absl::OkStatus();
                         })
                  .ok());
  EXPECT_EQ(keys, (std::vector<std::string>{"a", zero, high}));
}

TEST_P(StoreContractTest, ScansAPrefixOnly) {
  for (const char* key : {"a", "b", "ba", "bz", "c"}) ASSERT_TRUE(Put(key, key).ok());
  EXPECT_EQ(All("b"), (Map{{"b", "b"}, {"ba", "ba"}, {"bz", "bz"}}));
  EXPECT_EQ(All("x"), Map());
}

TEST_P(StoreContractTest, EndsAScanWithTheErrorOfItsVisitor) {
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(Put(key, key).ok());
  int seen = 0;
  const absl::Status s = store_->Scan("", [&](absl::string_view, absl::string_view) {
    return ++seen == 2 ? absl::CancelledError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(s, absl::CancelledError("enough"));
  EXPECT_EQ(seen, 2);
}

TEST_P(StoreContractTest, ScansAsOfOneMoment) {
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(Put(key, "old").ok());
  std::set<std::string> values;
  ASSERT_TRUE(store_
                  ->Scan("",
                         [&](absl::string_view, absl::string_view value) {
                           values.emplace(value);
                           return Put("c", "new");
                         })
                  .ok());
  EXPECT_EQ(values, std::set<std::string>{"old"});
}

TEST_P(StoreContractTest, AppliesNothingWhenAPreconditionFails) {
  ASSERT_TRUE(Put("a", "1").ok());
  const std::vector<StorePrecondition> failing = {
      {"a", "2"}, {"a", std::nullopt}, {"absent", ""}, {"a", ""}};
  for (const StorePrecondition& p : failing) {
    const absl::Status s = store_->Commit(
        {.ops = {{"a", std::nullopt}, {"b", "x"}}, .preconditions = {{"a", "1"}, p}});
    EXPECT_EQ(s.code(), absl::StatusCode::kFailedPrecondition) << s;
  }
  EXPECT_EQ(All(), (Map{{"a", "1"}}));
  EXPECT_EQ(store_->commit_number(), 1u);
  ASSERT_TRUE(
      store_->Commit({.ops = {{"a", "2"}}, .preconditions = {{"a", "1"}, {"absent", std::nullopt}}})
          .ok());
  Reopen();
  EXPECT_EQ(All(), (Map{{"a", "2"}}));
}

TEST_P(StoreContractTest, RefusesKeysAndValuesOutsideItsLimits) {
  const std::string bad_keys[] = {"", std::string(Store::kMaxKeyBytes + 1, 'k'),
                                  std::string("\0own", 4)};
  for (const std::string& key : bad_keys) {
    EXPECT_EQ(Put(key, "").code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(store_->Commit({.ops = {}, .preconditions = {{key, std::nullopt}}}).code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(Put("k", std::string(Store::kMaxValueBytes + 1, 'v')).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Put(std::string(Store::kMaxKeyBytes, 'k'), "v").ok());
  EXPECT_EQ(All().size(), 1u);
}

TEST_P(StoreContractTest, LetsOnePreconditionWinAmongThreads) {
  // Each thread adds 1 to a counter by compare and set.
  constexpr int kThreads = 4, kRounds = 25;
  ASSERT_TRUE(Put("n", "0").ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int done = 0; done < kRounds;) {
        const std::string now = *store_->Get("n");
        const absl::Status s = store_->Commit(
            {.ops = {{"n", std::to_string(std::stoi(now) + 1)}}, .preconditions = {{"n", now}}});
        if (s.ok()) {
          ++done;
        } else {
          EXPECT_EQ(s.code(), absl::StatusCode::kFailedPrecondition) << s;
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(*store_->Get("n"), std::to_string(kThreads * kRounds));
  EXPECT_EQ(store_->commit_number(), uint64_t{1 + kThreads * kRounds});
}

TEST_P(StoreContractTest, AgreesWithAMapUnderRandomBatchesAndReopenings) {
  std::mt19937 random(20240607);
  const auto draw = [&](size_t below) { return random() % below; };
  Map model;
  for (int round = 0; round < 200; ++round) {
    StoreBatch batch;
    Map next = model;
    bool holds = true;
    for (size_t n = draw(8); n > 0; --n) {
      const std::string key(1 + draw(2), static_cast<char>('a' + draw(6)));
      if (draw(3) == 0) {
        batch.ops.push_back({key, std::nullopt});
        next.erase(key);
      } else {
        const std::string value(draw(2000), static_cast<char>(draw(256)));
        batch.ops.push_back({key, value});
        next[key] = value;
      }
    }
    if (draw(3) == 0) {
      const std::string key(1, static_cast<char>('a' + draw(6)));
      const auto it = model.find(key);
      holds = draw(2) == 0;
      const std::optional<std::string> now =
          it == model.end() ? std::nullopt : std::optional(it->second);
      batch.preconditions.push_back({key, holds ? now : std::optional<std::string>("other")});
    }
    const absl::Status s = store_->Commit(batch);
    ASSERT_EQ(s.code(), holds ? absl::StatusCode::kOk : absl::StatusCode::kFailedPrecondition);
    if (holds) model = next;
    if (draw(20) == 0) Reopen();
    ASSERT_EQ(All(), model);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Each, StoreContractTest,
    testing::Values(Kind{"Memory", [] { return std::make_unique<MemoryWorld>(); }},
                    Kind{"Rocks", [] { return std::make_unique<RocksWorld>(); }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace keyhop
