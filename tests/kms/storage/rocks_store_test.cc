#include "kms/storage/rocks_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kms/storage/temp_folder.h"

namespace keyhop {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class RocksStoreTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<RocksStore>> Open(Duration lock_wait = Duration::Seconds(10)) {
    return RocksStore::Open({.path = path(), .lock_wait = lock_wait});
  }
  std::string path() const { return folder_.path() + "/store"; }

  // Runs `body` in a child with the write end of a pipe; the parent reads from the other end.
  struct Child {
    pid_t pid;
    int from;
  };
  template <typename Body>
  Child Spawn(Body body) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      close(ends[0]);
      body(ends[1]);
      _exit(1);
    }
    close(ends[1]);
    return {pid, ends[0]};
  }
  // Leaves a log behind as a crash does: commits 1 to n, then no orderly end.
  void CommitAndDie(int n) {
    const Child child = Spawn([&](int to) {
      auto store = Open();
      if (!store.ok()) _exit(1);
      for (int i = 1; i <= n; ++i) {
        if (!(*store)
                 ->Commit(
                     {.ops = {{absl::StrCat("k", i), std::string(500, 'v')}}, .preconditions = {}})
                 .ok()) {
          _exit(1);
        }
      }
      if (write(to, "+", 1) != 1) _exit(1);
      raise(SIGKILL);
    });
    char c;
    ASSERT_EQ(read(child.from, &c, 1), 1);
    close(child.from);
    ASSERT_EQ(waitpid(child.pid, nullptr, 0), child.pid);
  }
  fs::path Log() const {
    std::vector<fs::path> logs;
    for (const auto& e : fs::directory_iterator(path())) {
      if (e.path().extension() == ".log" && e.file_size() > 0) logs.push_back(e.path());
    }
    EXPECT_FALSE(logs.empty());
    return *std::max_element(logs.begin(), logs.end());
  }

  TempFolder folder_;
};

TEST_F(RocksStoreTest, LosesAtMostTheLastCommitToATornTail) {
  CommitAndDie(10);
  const auto size = fs::file_size(Log());
  fs::resize_file(Log(), size - 100);
  const auto store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ((*store)->commit_number(), 9u);
  for (int i = 1; i <= 9; ++i) EXPECT_TRUE((*store)->Get(absl::StrCat("k", i)).ok());
  EXPECT_FALSE((*store)->Get("k10").ok());
}

TEST_F(RocksStoreTest, RefusesToOpenBehindADamagedRecord) {
  CommitAndDie(10);
  {
    std::fstream log(Log(), std::ios::in | std::ios::out | std::ios::binary);
    log.seekp(static_cast<std::streamoff>(fs::file_size(Log()) / 2));
    log << "damage";
  }
  const auto store = Open();
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kDataLoss) << store.status();
}

TEST_F(RocksStoreTest, RefusesALogWithCommitsCutOutOfIt) {
  CommitAndDie(10);
  // All records are alike in size but the first, which made the store.
  std::string bytes;
  {
    std::ifstream log(Log(), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(log), {});
  }
  // Record: checksum 4, length 2, type 1 (RocksDB's log format), payload.
  std::vector<size_t> starts;
  for (size_t at = 0; at + 7 <= bytes.size();) {
    starts.push_back(at);
    at += 7 + static_cast<uint8_t>(bytes[at + 4]) + 256u * static_cast<uint8_t>(bytes[at + 5]);
  }
  ASSERT_EQ(starts.size(), 11u);
  bytes.erase(starts[5], starts[6] - starts[5]);
  std::ofstream(Log(), std::ios::binary | std::ios::trunc) << bytes;
  const auto store = Open();
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kDataLoss) << store.status();
  EXPECT_THAT(store.status().ToString(), HasSubstr("commit 4 is followed by 6"));
}

TEST_F(RocksStoreTest, RefusesAStoreThatLostItsFiles) {
  CommitAndDie(1);
  fs::remove(path() + "/CURRENT");
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
  for (const auto& e : fs::directory_iterator(path())) {
    if (e.path().filename() != "KEYHOP_STORE") fs::remove(e.path());
  }
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(RocksStoreTest, HasEveryAcknowledgedCommitAfterAKill) {
  int acknowledged = 0;
  for (int round = 0; round < 10; ++round) {
    const Child child = Spawn([&](int to) {
      auto store = Open();
      if (!store.ok()) _exit(1);
      for (int i = acknowledged + 1;; ++i) {
        const std::string text = std::to_string(i);
        if (!(*store)
                 ->Commit({.ops = {{"a" + text, std::string(3000, 'v')}, {"b" + text, text}},
                           .preconditions = {}})
                 .ok()) {
          _exit(1);
        }
        if (write(to, &i, sizeof(i)) != sizeof(i)) _exit(1);
      }
    });
    const int enough = acknowledged + 5 + 17 * round;
    int i = 0;
    while (i < enough && read(child.from, &i, sizeof(i)) == sizeof(i)) acknowledged = i;
    ASSERT_EQ(acknowledged, enough) << "the child failed";
    kill(child.pid, SIGKILL);
    while (read(child.from, &i, sizeof(i)) == sizeof(i)) acknowledged = i;
    close(child.from);
    ASSERT_EQ(waitpid(child.pid, nullptr, 0), child.pid);
    // The last one may be there without its acknowledgement.
    const Child check = Spawn([&](int to) {
      auto store = Open();
      if (!store.ok()) _exit(1);
      const int have = static_cast<int>((*store)->commit_number());
      bool good = have == acknowledged || have == acknowledged + 1;
      for (int k = 1; k <= have; ++k) {
        const std::string text = std::to_string(k);
        const auto value = (*store)->Get("b" + text);
        good = good && value.ok() && *value == text && (*store)->Get("a" + text).ok();
      }
      good = good && !(*store)->Get("a" + std::to_string(have + 1)).ok();
      const int answer = good ? have : -1;
      if (write(to, &answer, sizeof(answer)) != sizeof(answer)) _exit(1);
    });
    int have = -1;
    ASSERT_EQ(read(check.from, &have, sizeof(have)), static_cast<ssize_t>(sizeof(have)));
    close(check.from);
    ASSERT_EQ(waitpid(check.pid, nullptr, 0), check.pid);
    ASSERT_NE(have, -1) << "a commit is missing, " << acknowledged << " were acknowledged";
    acknowledged = have;
  }
}

TEST_F(RocksStoreTest, SaysWhoHoldsIt) {
  const Child child = Spawn([&](int to) {
    auto store = Open();
    if (!store.ok() || write(to, "+", 1) != 1) _exit(1);
    while (true) pause();
  });
  char c;
  ASSERT_EQ(read(child.from, &c, 1), 1);
  const auto store = Open(Duration::Millis(100));
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(store.status().ToString(), HasSubstr(absl::StrCat("process ", child.pid)));
  kill(child.pid, SIGKILL);
  // The wait covers the end of a process that was killed this moment.
  const auto again = Open();
  EXPECT_TRUE(again.ok()) << again.status();
  close(child.from);
  waitpid(child.pid, nullptr, 0);
}

TEST_F(RocksStoreTest, SaysThatThisProcessHoldsItAndKeepsTheLock) {
  const auto store = Open();
  ASSERT_TRUE(store.ok());
  EXPECT_THAT(Open(Duration::Millis(0)).status().ToString(), HasSubstr("this one"));
  const Child child = Spawn([&](int to) {
    const char c = Open(Duration::Millis(0)).ok() ? '+' : '-';
    if (write(to, &c, 1) != 1) _exit(1);
  });
  char c;
  ASSERT_EQ(read(child.from, &c, 1), 1);
  EXPECT_EQ(c, '-');
  close(child.from);
  waitpid(child.pid, nullptr, 0);
}

TEST_F(RocksStoreTest, NamesAFolderThatItCannotMake) {
  const auto store = RocksStore::Open({.path = folder_.path() + "/absent/store"});
  EXPECT_EQ(store.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(store.status().ToString(), HasSubstr("/absent/store"));
}

}  // namespace
}  // namespace keyhop
