// A rotation of the store key while records change, broken off at every step.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "kms/crypto/os_entropy.h"
#include "kms/storage/memory_store.h"
#include "kms/storage/sealed_store.h"
#include "tests/kms/storage/sealed_world.h"

namespace keyhop {
namespace {

constexpr int kRecords = 8;

// Before each commit that is asked of it, somebody else commits.
class BusyStore final : public Store {
 public:
  explicit BusyStore(Store& store) : store_(store) {}
  absl::Status Commit(const StoreBatch& batch) override {
    if (between && !busy_) {
      busy_ = true;
      between();
      busy_ = false;
    }
    return store_.Commit(batch);
  }
  absl::StatusOr<std::string> Get(absl::string_view key) const override { return store_.Get(key); }
  absl::Status Scan(absl::string_view prefix, const Visitor& visit) const override {
    return store_.Scan(prefix, visit);
  }
  uint64_t commit_number() const override { return store_.commit_number(); }

  std::function<void()> between;

 private:
  Store& store_;
  bool busy_ = false;
};

// What the records may be, by what was acknowledged: one value, or two where an answer never came.
using Expected = std::map<std::string, std::set<std::string>>;

class RotationTest : public ::testing::TestWithParam<std::pair<CrashPoint::Mode, bool>> {
 protected:
  absl::StatusOr<std::unique_ptr<SealedStore>> Open(Store& store, FileOps& files) {
    return SealedStore::Open(
        {.key_path = "key", .kek = ToSecret(std::string(32, 'K')), .rewrap_batch = 3}, store, files,
        entropy_);
  }
  // Writes record `i`, or erases it, and notes what became of it.
  static void Change(SealedStore& s, int i, const std::string& value, Expected& expected) {
    const std::string key = std::to_string(i);
    const SecretBytes secret = ToSecret(value);
    const bool erase = value.empty();
    SealedOp op{.key = key, .erase = erase, .secret = erase ? nullptr : &secret};
    if (s.Commit({op}).ok()) expected[key].clear();
    expected[key].insert(value);
  }
  static void Check(const SealedStore& s, const Expected& expected, int step) {
    const auto all = ReadAll(s);
    ASSERT_TRUE(all.ok()) << "step " << step << ": " << all.status();
    for (const auto& [key, values] : expected) {
      const auto found = all->find(key);
      EXPECT_TRUE(values.contains(found == all->end() ? "" : found->second.second))
          << "step " << step << ", record " << key;
    }
  }

  OsEntropy entropy_;
};

TEST_P(RotationTest, LosesAndRevivesNothingAtAnyStepWhileRecordsChange) {
  const auto [mode, power_lost] = GetParam();
  bool crashed = true;
  int step = 1;
  for (; crashed; ++step) {
    ASSERT_LT(step, 200);
    MemoryStore store;
    FakeDisk disk;
    CrashPoint never = CrashPoint::Never();
    FakeFileOps sound(disk, never);
    Expected expected;
    {
      auto s = Open(store, sound);
      ASSERT_TRUE(s.ok()) << s.status();
      for (int i = 0; i < kRecords; ++i) Change(**s, i, "first", expected);
    }
    CrashPoint crash(step, mode);
    FakeFileOps files(disk, crash);
    CrashingStore crashing(store, crash);
    BusyStore busy(crashing);
    {
      auto s = Open(busy, files);
      if (s.ok()) {
        int change = 0;
        // Of each batch that is wrapped anew some records change first, or go.
        busy.between = [&] {
          for (int k = 0; k < 3; ++k, ++change) {
            const bool erase = change % 4 == 3;
            Change(**s, change * 3 % kRecords, erase ? "" : "changed " + std::to_string(change),
                   expected);
          }
        };
        const absl::Status rotated = (*s)->Rotate();
        EXPECT_EQ(rotated.ok(), !crash.dead()) << "step " << step << ": " << rotated;
        busy.between = nullptr;
        if (rotated.ok()) Check(**s, expected, step);
      }
    }
    crashed = crash.dead();
    if (power_lost) disk.LoseUnsynced();
    auto s = Open(store, sound);
    ASSERT_TRUE(s.ok()) << "step " << step << ": " << s.status();
    Check(**s, expected, step);
    EXPECT_EQ(disk.now.size(), 1u) << "step " << step;
  }
  EXPECT_GT(step, 25) << "both rotations have more steps than that";
}

INSTANTIATE_TEST_SUITE_P(All, RotationTest,
                         ::testing::Values(std::pair(CrashPoint::Mode::kBefore, false),
                                           std::pair(CrashPoint::Mode::kBefore, true),
                                           std::pair(CrashPoint::Mode::kAfter, false),
                                           std::pair(CrashPoint::Mode::kAfter, true),
                                           std::pair(CrashPoint::Mode::kTorn, false),
                                           std::pair(CrashPoint::Mode::kTorn, true)));

TEST_F(RotationTest, EachRotationHasAHigherNumber) {
  MemoryStore store;
  FakeDisk disk;
  CrashPoint never = CrashPoint::Never();
  FakeFileOps files(disk, never);
  uint64_t last = 0;
  for (int start = 0; start < 2; ++start) {
    auto s = Open(store, files);
    ASSERT_TRUE(s.ok()) << s.status();
    for (int i = 0; i < 3; ++i) {
      EXPECT_GT((*s)->store_key_number(), last);
      last = (*s)->store_key_number();
      ASSERT_TRUE((*s)->Rotate().ok());
    }
    EXPECT_EQ((*s)->store_key_number(), last + 1);
  }
}

}  // namespace
}  // namespace keyhop
