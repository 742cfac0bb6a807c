#include "kms/storage/sealed_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/crypto/os_entropy.h"
#include "kms/storage/memory_store.h"
#include "kms/storage/rocks_store.h"
#include "tests/kms/storage/sealed_world.h"
#include "tests/kms/storage/temp_folder.h"

namespace keyhop {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kKek(32, 'K');

class SealedStoreTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<SealedStore>> Open(absl::string_view kek = kKek) {
    return SealedStore::Open({.key_path = "key", .kek = ToSecret(kek), .rewrap_batch = 3}, store_,
                             files_, entropy_);
  }
  static void Put(SealedStore& s, const std::string& key, const std::string& open,
                  const std::string& secret) {
    const SecretBytes bytes = ToSecret(secret);
    ASSERT_TRUE(s.Commit({{.key = key, .open = open, .secret = &bytes}}).ok());
  }

  OsEntropy entropy_;
  MemoryStore store_;
  FakeDisk disk_;
  CrashPoint never_ = CrashPoint::Never();
  FakeFileOps files_{disk_, never_};
};

TEST_F(SealedStoreTest, GivesBackWhatWasPutOverAReopening) {
  {
    auto s = Open();
    ASSERT_TRUE(s.ok()) << s.status();
    Put(**s, "unit/1", "open one", "secret one");
    Put(**s, "unit/2", "", "");
    ASSERT_TRUE((*s)->Commit({{.key = "book", .open = "mark 7"}}).ok());
  }
  auto s = Open();
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(*ReadAll(**s), (Records{{"book", {"mark 7", "-"}},
                                    {"unit/1", {"open one", "secret one"}},
                                    {"unit/2", {"", ""}}}));
  EXPECT_EQ(ReadAll(**s, "unit/")->size(), 2u);
  EXPECT_EQ(ToText(*(*s)->Get("unit/1")->secret), "secret one");
  EXPECT_EQ((*s)->Get("absent").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(SealedStoreTest, TakesTheLastChangeOfARecordInABatch) {
  auto s = Open();
  const SecretBytes one = ToSecret("1"), two = ToSecret("2");
  ASSERT_TRUE((*s)->Commit({{.key = "a", .secret = &one},
                            {.key = "b", .secret = &one},
                            {.key = "c", .erase = true},
                            {.key = "a", .secret = &two},
                            {.key = "b", .erase = true},
                            {.key = "c", .secret = &one},
                            {.key = "d", .secret = &one},
                            {.key = "d", .open = "now open"}})
                  .ok());
  EXPECT_EQ(*ReadAll(**s), (Records{{"a", {"", "2"}}, {"c", {"", "1"}}, {"d", {"now open", "-"}}}));
  ASSERT_TRUE((*s)->Commit({{.key = "a", .open = "x"}, {.key = "c", .erase = true}}).ok());
  EXPECT_EQ(*ReadAll(**s), (Records{{"a", {"x", "-"}}, {"d", {"now open", "-"}}}));
}

TEST_F(SealedStoreTest, LeavesNoSecretInTheStore) {
  auto s = Open();
  Put(**s, "unit", "open", "a secret that must not be seen");
  ASSERT_TRUE(store_
                  .Scan("",
                        [](absl::string_view, absl::string_view value) {
                          EXPECT_EQ(value.find("must not"), absl::string_view::npos);
                          return absl::OkStatus();
                        })
                  .ok());
}

TEST_F(SealedStoreTest, RefusesAnyChangedByteNamingTheKey) {
  auto s = Open();
  Put(**s, "unit", "open", "secret");
  for (const std::string key : {"v/unit", "k/unit"}) {
    const std::string good = *store_.Get(key);
    for (size_t i = 0; i < good.size(); ++i) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 3);
      ASSERT_TRUE(store_.Commit({.ops = {{key, bad}}, .preconditions = {}}).ok());
      const auto record = (*s)->Get("unit");
      EXPECT_EQ(record.status().code(), absl::StatusCode::kDataLoss) << key << " byte " << i;
      EXPECT_THAT(record.status().ToString(), HasSubstr("record unit:"));
      EXPECT_EQ(ReadAll(**s).status().code(), absl::StatusCode::kDataLoss);
    }
    for (size_t size = 0; size < good.size(); ++size) {
      ASSERT_TRUE(store_.Commit({.ops = {{key, good.substr(0, size)}}, .preconditions = {}}).ok());
      EXPECT_EQ((*s)->Get("unit").status().code(), absl::StatusCode::kDataLoss);
    }
    ASSERT_TRUE(store_.Commit({.ops = {{key, good}}, .preconditions = {}}).ok());
  }
  EXPECT_EQ(*ReadAll(**s), (Records{{"unit", {"open", "secret"}}}));
}

TEST_F(SealedStoreTest, RefusesSwappedRecords) {
  auto s = Open();
  Put(**s, "a", "same", "secret of a");
  Put(**s, "b", "same", "secret of b");
  const std::string va = *store_.Get("v/a"), ka = *store_.Get("k/a");
  const std::string vb = *store_.Get("v/b"), kb = *store_.Get("k/b");
  const std::vector<std::vector<StoreOp>> swaps = {
      {{"v/a", vb}, {"v/b", va}}, {{"k/a", kb}, {"k/b", ka}}, {{"v/a", vb}, {"k/a", kb}}};
  for (const auto& ops : swaps) {
    ASSERT_TRUE(store_.Commit({.ops = ops, .preconditions = {}}).ok());
    const auto record = (*s)->Get("a");
    EXPECT_EQ(record.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(record.status().ToString(), HasSubstr("record a:"));
    ASSERT_TRUE(store_
                    .Commit({.ops = {{"v/a", va}, {"k/a", ka}, {"v/b", vb}, {"k/b", kb}},
                             .preconditions = {}})
                    .ok());
  }
}

TEST_F(SealedStoreTest, RefusesAHalfOfARecord) {
  auto s = Open();
  Put(**s, "a", "", "secret");
  const std::string v = *store_.Get("v/a"), k = *store_.Get("k/a");
  ASSERT_TRUE(store_.Commit({.ops = {{"v/a", std::nullopt}}, .preconditions = {}}).ok());
  EXPECT_THAT(ReadAll(**s).status().ToString(), HasSubstr("record a: its secret is missing"));
  ASSERT_TRUE(
      store_.Commit({.ops = {{"v/a", v}, {"k/a", std::nullopt}}, .preconditions = {}}).ok());
  EXPECT_THAT(ReadAll(**s).status().ToString(), HasSubstr("record a: its data key is missing"));
}

TEST_F(SealedStoreTest, RefusesAnotherKekAndAMissingKeyFile) {
  {
    auto s = Open();
    Put(**s, "a", "", "secret");
  }
  const FakeDisk before = disk_;
  const auto other = Open(std::string(32, 'X'));
  EXPECT_EQ(other.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(other.status().ToString(), HasSubstr("key.a"));
  EXPECT_TRUE(Open().ok()) << "the attempt destroyed the key";
  disk_.now.clear();
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(SealedStoreTest, KeepsOneFileWithOneKeyBetweenRotations) {
  auto s = Open();
  Put(**s, "a", "", "secret");
  for (int i = 0; i < 5; ++i) {
    const std::string wrapped = *store_.Get("k/a");
    ASSERT_TRUE((*s)->Rotate().ok());
    EXPECT_NE(*store_.Get("k/a"), wrapped);
    EXPECT_EQ(disk_.now.size(), 1u);
    EXPECT_EQ(disk_.synced.size(), 1u);
  }
  EXPECT_TRUE((*s)->Close().ok());
  EXPECT_EQ(ReadAll(*Open().value())->at("a").second, "secret");
}

TEST_F(SealedStoreTest, LosesNothingByACrashAtAnyStepOfARotation) {
  for (const bool power_lost : {false, true}) {
    for (const CrashPoint::Mode mode :
         {CrashPoint::Mode::kBefore, CrashPoint::Mode::kAfter, CrashPoint::Mode::kTorn}) {
      bool crashed = true;
      for (int step = 1; crashed; ++step) {
        ASSERT_LT(step, 200);
        const auto image = std::make_shared<MemoryDisk>();
        MemoryStore store(image);
        FakeDisk disk;
        CrashPoint never = CrashPoint::Never();
        FakeFileOps sound(disk, never);
        const auto options = [] {
          return SealedStoreOptions{.key_path = "key", .kek = ToSecret(kKek), .rewrap_batch = 3};
        };
        Records expected;
        {
          auto s = SealedStore::Open(options(), store, sound, entropy_);
          ASSERT_TRUE(s.ok()) << s.status();
          for (int i = 0; i < 10; ++i) {
            const std::string n = std::to_string(i);
            Put(**s, n, "open " + n, "secret " + n);
            expected[n] = {"open " + n, "secret " + n};
          }
        }
        CrashPoint crash(step, mode);
        {
          // One rotation by opening, one by itself.
          FakeFileOps files(disk, crash);
          CrashingStore crashing(store, crash);
          auto s = SealedStore::Open(options(), crashing, files, entropy_);
          if (s.ok()) (*s)->Rotate().IgnoreError();
        }
        crashed = crash.dead();
        if (power_lost) disk.LoseUnsynced();
        auto s = SealedStore::Open(options(), store, sound, entropy_);
        ASSERT_TRUE(s.ok()) << "step " << step << ": " << s.status();
        ASSERT_EQ(*ReadAll(**s), expected) << "step " << step;
        ASSERT_EQ(disk.now.size(), 1u) << "step " << step;
      }
    }
  }
}

// The process ends at one step, its successor at another, and then the power fails.
TEST_F(SealedStoreTest, LosesNothingByACrashInTheRecoveryFromACrash) {
  const auto options = [] {
    return SealedStoreOptions{.key_path = "key", .kek = ToSecret(kKek), .rewrap_batch = 3};
  };
  bool first_crashed = true;
  for (int first = 1; first_crashed; ++first) {
    bool second_crashed = true;
    for (int second = 1; second_crashed; ++second) {
      ASSERT_LT(first + second, 400);
      MemoryStore store;
      FakeDisk disk;
      CrashPoint never = CrashPoint::Never();
      FakeFileOps sound(disk, never);
      {
        auto s = SealedStore::Open(options(), store, sound, entropy_);
        ASSERT_TRUE(s.ok()) << s.status();
        for (int i = 0; i < 4; ++i) Put(**s, std::to_string(i), "", "secret");
      }
      CrashPoint crash_1(first, CrashPoint::Mode::kBefore);
      CrashPoint crash_2(second, CrashPoint::Mode::kAfter);
      for (CrashPoint* crash : {&crash_1, &crash_2}) {
        FakeFileOps files(disk, *crash);
        CrashingStore crashing(store, *crash);
        SealedStore::Open(options(), crashing, files, entropy_).status().IgnoreError();
      }
      first_crashed = crash_1.dead();
      second_crashed = crash_2.dead();
      disk.LoseUnsynced();
      auto s = SealedStore::Open(options(), store, sound, entropy_);
      ASSERT_TRUE(s.ok()) << "steps " << first << ", " << second << ": " << s.status();
      const auto all = ReadAll(**s);
      ASSERT_TRUE(all.ok()) << "steps " << first << ", " << second << ": " << all.status();
      ASSERT_EQ(all->size(), 4u);
    }
  }
}

TEST_F(SealedStoreTest, GoesOnAfterAnErrorInARotation) {
  CrashPoint count = CrashPoint::Never();
  {
    FakeFileOps files(disk_, count);
    auto s = SealedStore::Open({.key_path = "key", .kek = ToSecret(kKek)}, store_, files, entropy_);
    Put(**s, "a", "", "secret");
  }
  // The same store object lives on, its files fail for a while.
  class Flaky final : public FileOps {
   public:
    explicit Flaky(FileOps& files) : files_(files) {}
    absl::StatusOr<std::optional<std::string>> Read(const std::string& path) override {
      return files_.Read(path);
    }
    absl::Status WriteSynced(const std::string& path, absl::string_view contents) override {
      return Fails() ? Error() : files_.WriteSynced(path, contents);
    }
    absl::Status Sync(const std::string& path) override {
      return Fails() ? Error() : files_.Sync(path);
    }
    absl::Status Overwrite(const std::string& path) override {
      return Fails() ? Error() : files_.Overwrite(path);
    }
    absl::Status Unlink(const std::string& path) override {
      return Fails() ? Error() : files_.Unlink(path);
    }
    int fail_in = 0;

   private:
    bool Fails() { return fail_in > 0 && --fail_in == 0; }
    static absl::Status Error() { return absl::InternalError("disk full"); }
    FileOps& files_;
  } flaky(files_);
  auto s = SealedStore::Open({.key_path = "key", .kek = ToSecret(kKek)}, store_, flaky, entropy_);
  ASSERT_TRUE(s.ok());
  for (int step = 1; step <= 12; ++step) {
    flaky.fail_in = step;
    EXPECT_FALSE((*s)->Rotate().ok()) << step;
    Put(**s, absl::StrCat("b", step), "", "new");
    ASSERT_TRUE((*s)->Rotate().ok());
    EXPECT_EQ(ReadAll(**s)->at("a").second, "secret");
    EXPECT_EQ(disk_.now.size(), 1u) << step;
  }
  EXPECT_EQ(ReadAll(*Open().value())->size(), 13u);
}

TEST_F(SealedStoreTest, RotatesUnderCommits) {
  auto s = Open();
  std::atomic<bool> stop = false;
  constexpr int kThreads = 3, kKeys = 20;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !stop || i < 2 * kKeys; ++i) {
        const std::string key = absl::StrCat(t, "/", i % kKeys);
        const SecretBytes secret = ToSecret(absl::StrCat("secret of ", key));
        EXPECT_TRUE((*s)->Commit({{.key = key, .secret = &secret}}).ok());
        const auto record = (*s)->Get(key);
        EXPECT_TRUE(record.ok()) << record.status();
        if (i % 7 == 0) {
          EXPECT_TRUE((*s)->Commit({{.key = key, .erase = true}}).ok());
        }
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    const absl::Status rotated = (*s)->Rotate();
    EXPECT_TRUE(rotated.ok()) << rotated;
  }
  stop = true;
  for (std::thread& t : threads) t.join();
  const auto all = ReadAll(*Open().value());
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_GE(all->size(), size_t{kThreads * kKeys * 5 / 7});
  for (const auto& [key, record] : *all) EXPECT_EQ(record.second, "secret of " + key);
}

// On a real disk: a copy of the files from before the erasure, and the key file of after it.
TEST_F(SealedStoreTest, CannotOpenWhatWasErasedFromOldFilesOnceRotated) {
  TempFolder folder;
  DiskFileOps files;
  const std::string db = folder.path() + "/store", old_db = folder.path() + "/old_store";
  const std::string keys = folder.path() + "/keys", old_keys = folder.path() + "/old_keys";
  fs::create_directory(keys);
  const auto open = [&](Store& store, const std::string& key_folder) {
    return SealedStore::Open({.key_path = key_folder + "/store_key", .kek = ToSecret(kKek)}, store,
                             files, entropy_);
  };
  const std::string marked = "0123456789abcdef-this-was-erased";
  std::string old_key_bytes;
  {
    auto store = RocksStore::Open({.path = db});
    ASSERT_TRUE(store.ok()) << store.status();
    auto s = open(**store, keys);
    ASSERT_TRUE(s.ok()) << s.status();
    Put(**s, "erased", "", marked);
    Put(**s, "kept", "", "kept");
    fs::copy(db, old_db, fs::copy_options::recursive);
    fs::copy(keys, old_keys, fs::copy_options::recursive);
    ASSERT_TRUE((*s)->Commit({{.key = "erased", .erase = true}}).ok());
    ASSERT_TRUE((*s)->Close().ok());
  }
  for (const auto& e : fs::recursive_directory_iterator(folder.path())) {
    if (!e.is_regular_file()) continue;
    std::ifstream file(e.path(), std::ios::binary);
    const std::string contents((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(contents.find(marked.substr(0, 8)), std::string::npos) << e.path();
  }
  {
    auto store = RocksStore::Open({.path = old_db});
    ASSERT_TRUE(store.ok()) << store.status();
    const auto s = open(**store, keys);
    EXPECT_EQ(s.status().code(), absl::StatusCode::kDataLoss) << s.status();
    EXPECT_THAT(s.status().ToString(), HasSubstr("under a store key that is gone"));
  }
  {
    auto store = RocksStore::Open({.path = db});
    auto s = open(**store, keys);
    ASSERT_TRUE(s.ok()) << s.status();
    EXPECT_EQ(*ReadAll(**s), (Records{{"kept", {"", "kept"}}}));
  }
  // The old key file would have opened it: so it is the key that is gone.
  auto store = RocksStore::Open({.path = old_db});
  auto s = open(**store, old_keys);
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(ReadAll(**s)->at("erased").second, marked);
}

}  // namespace
}  // namespace keyhop
