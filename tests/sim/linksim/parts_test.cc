#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "sim/linksim/block_backlog.h"
#include "sim/linksim/block_source.h"
#include "sim/linksim/run_counter.h"

namespace keyhop {
namespace {

TEST(BlockBacklogTest, KeepsABlockUntilBothEndsAcknowledgedIt) {
  BlockBacklog backlog(7, 4);
  for (int i = 0; i < 4; ++i) backlog.Push(SecretBytes(8));
  EXPECT_TRUE(backlog.full());
  EXPECT_EQ(backlog.next_block(), 4u);
  backlog.Acknowledge(0, 4);
  EXPECT_TRUE(backlog.full());
  backlog.Acknowledge(1, 3);
  EXPECT_EQ(backlog.size(), 1u);
  EXPECT_EQ(backlog.At(3).size(), 8u);
  backlog.Acknowledge(1, 1);  // An old one changes nothing.
  EXPECT_EQ(backlog.acknowledged(1), 3u);
  backlog.Push(SecretBytes(8));
  EXPECT_EQ(backlog.next_block(), 5u);
}

TEST(BlockPaceTest, PaysOutTheRateAndNothingForAPause) {
  BlockPace pace(8000, 1000);  // One block a second.
  Instant now = {.ns = 5};
  pace.Advance(now);
  EXPECT_FALSE(pace.Take());
  int blocks = 0;
  for (int i = 0; i < 1000; ++i) {
    now = now + Duration::Millis(10);
    pace.Advance(now);
    while (pace.Take()) ++blocks;
  }
  EXPECT_NEAR(blocks, 10, 1);
  now = now + Duration::Seconds(100);
  pace.Advance(now);  // The machine slept: at most one block is owed.
  pace.Take();
  EXPECT_FALSE(pace.Take());
  now = now + Duration::Seconds(100);
  pace.Skip(now);
  EXPECT_FALSE(pace.Take());
}

TEST(BlockPaceTest, ARateOfZeroMakesNothing) {
  BlockPace pace(0, 1024);
  pace.Advance({.ns = 0});
  pace.Advance({.ns = Duration::Seconds(1000).ns});
  EXPECT_FALSE(pace.Take());
}

TEST(BlockSourceTest, SeededBlocksDependOnEveryPartOfTheirName) {
  const std::string seed = "seed";
  const BlockSource source("link", 1, seed);
  const SecretBytes block = source.Make(1, 1, 1000);
  EXPECT_TRUE(block.EqualsConstantTime(source.Make(1, 1, 1000)));
  EXPECT_FALSE(block.EqualsConstantTime(source.Make(1, 2, 1000)));
  EXPECT_FALSE(block.EqualsConstantTime(source.Make(2, 1, 1000)));
  EXPECT_FALSE(block.EqualsConstantTime(BlockSource("link", 2, seed).Make(1, 1, 1000)));
  EXPECT_FALSE(block.EqualsConstantTime(BlockSource("other", 1, seed).Make(1, 1, 1000)));
  const BlockSource random("link", 1, std::nullopt);
  EXPECT_FALSE(random.Make(1, 1, 1000).EqualsConstantTime(random.Make(1, 1, 1000)));
}

class StateDirTest : public testing::Test {
 protected:
  ~StateDirTest() override { std::filesystem::remove_all(folder_); }
  static std::string MakeFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "keyhop-XXXXXX").string();
    return mkdtemp(pattern.data());
  }
  const std::string folder_ = MakeFolder();
};

TEST_F(StateDirTest, RunNumbersGrowOverRestartsAndAboveTheFloor) {
  {
    auto state = StateDir::Open(folder_ + "/new", Duration());
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_EQ(*state->NextRun("l", 1, 0), 1u);
    EXPECT_EQ(*state->NextRun("l", 2, 0), 1u);
    EXPECT_EQ(*state->NextRun("l/../x", 1, 0), 1u);
  }
  auto state = StateDir::Open(folder_ + "/new", Duration());
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(*state->NextRun("l", 1, 0), 2u);
  EXPECT_EQ(*state->NextRun("l", 1, 40), 41u);
  EXPECT_EQ(*state->NextRun("l", 1, 7), 42u);
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/new/run-l%2f..%2fx-1"));
}

TEST_F(StateDirTest, RefusesAFileThatIsNotARunNumberAndNamesIt) {
  auto state = StateDir::Open(folder_, Duration());
  ASSERT_TRUE(state.ok()) << state.status();
  for (const char* text : {"x", "-1", "18446744073709551615", "18446744073709551616", "1 2"}) {
    std::ofstream(folder_ + "/run-l-1") << text;
    const auto run = state->NextRun("l", 1, 0);
    EXPECT_EQ(run.status().code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(std::string(run.status().message()), testing::HasSubstr("run-l-1"));
  }
}

TEST_F(StateDirTest, RefusesASecondHolderAndSaysWhoTheFirstIs) {
  auto first = StateDir::Open(folder_, Duration());
  ASSERT_TRUE(first.ok());
  auto second = StateDir::Open(folder_, Duration::Millis(30));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()), testing::HasSubstr(std::to_string(getpid())));
}

TEST_F(StateDirTest, SaysWhichFolderCannotBeMade) {
  std::ofstream(folder_ + "/file") << "x";
  const auto state = StateDir::Open(folder_ + "/file/below", Duration());
  EXPECT_EQ(state.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(state.status().message()), testing::HasSubstr("file/below"));
}

}  // namespace
}  // namespace keyhop
