#include "sim/linksim/simulated_link.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "sim/linksim/link_simulator.h"
#include "tests/sim/linksim/fake_km.h"
#include "tests/sim/linksim/test_certificates.h"

namespace keyhop {
namespace {

constexpr uint64_t kRun = 1;
constexpr size_t kBlockBytes = 4096;
// Virtual time of one Tick and, at the test's rate, one block each.
constexpr Duration kStep = Duration::Millis(5);
constexpr double kBitsPerSecond = 8.0 * kBlockBytes * 200;

class SimulatedLinkTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    certificates_ = new TestCertificates({"alice", "bob", "qkd-modules"});
  }
  static void TearDownTestSuite() { delete certificates_; }

  void SetUp() override {
    alice_.Start();
    bob_.Start();
  }
  void TearDown() override {
    link_.reset();
    state_.reset();
    EXPECT_EQ(alice_.faults(), 0);
    EXPECT_EQ(bob_.faults(), 0);
    std::filesystem::remove_all(state_folder_);
  }

  LinkConfig Config() const {
    LinkConfig config;
    config.id = "alice-bob";
    config.module_pair = 3;
    config.bits_per_second = kBitsPerSecond;
    config.rate.qber = 0.0312;
    config.block_bytes = kBlockBytes;
    config.backlog_blocks = 64;
    config.ends[0] = {.node = "alice", .kq1 = alice_.address()};
    config.ends[1] = {.node = "bob", .kq1 = bob_.address()};
    return config;
  }

  // The simulator's process begins, or begins again.
  void StartLink(const LinkConfig& config) {
    link_.reset();
    if (!state_.has_value()) {
      auto state = StateDir::Open(state_folder_, Duration::Seconds(0));
      ASSERT_TRUE(state.ok()) << state.status();
      state_.emplace(*std::move(state));
    }
    link_ = std::make_unique<SimulatedLink>(config, certificates_->FilesOf("qkd-modules"), *state_,
                                            log_);
  }

  void TickOnce() {
    now_ = now_ + kStep;
    ASSERT_TRUE(link_->Tick(now_).ok());
  }

  // Lets virtual time pass until `done`; the real deadline only ends a test that hangs.
  [[nodiscard]] bool TickUntil(const std::function<bool()>& done) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!done()) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      TickOnce();
      alice_.AwaitChange();
      bob_.AwaitChange();
    }
    return true;
  }

  bool BothHave(uint64_t run, size_t blocks) const {
    return alice_.DurableBlocks(run) >= blocks && bob_.DurableBlocks(run) >= blocks;
  }

  // Every block that both have is the same at both, and no two blocks are alike.
  void ExpectIdenticalBlocks() const {
    const auto a = alice_.disk();
    const auto b = bob_.disk();
    std::set<std::string> distinct;
    for (const auto& [run, blocks] : a) {
      const auto other = b.find(run);
      if (other == b.end()) continue;
      const size_t common = std::min(blocks.size(), other->second.size());
      for (size_t i = 0; i < common; ++i) {
        // Never EXPECT_EQ: a failure would print key bytes.
        EXPECT_TRUE(blocks[i] == other->second[i]) << "run " << run << ", block " << i;
        EXPECT_TRUE(distinct.insert(blocks[i]).second) << "run " << run << ", block " << i;
      }
    }
  }

  static TestCertificates* certificates_;
  const std::string state_folder_ = MakeTempFolder();
  FakeKm alice_{certificates_->FilesOf("alice")};
  FakeKm bob_{certificates_->FilesOf("bob")};
  EventLog log_;
  std::optional<StateDir> state_;
  std::unique_ptr<SimulatedLink> link_;
  Instant now_ = {.ns = 1};
};

TestCertificates* SimulatedLinkTest::certificates_ = nullptr;

TEST_F(SimulatedLinkTest, BothEndsGetIdenticalNumberedBlocks) {
  StartLink(Config());
  ASSERT_TRUE(TickUntil([this] { return BothHave(kRun, 60); }));
  ExpectIdenticalBlocks();
  EXPECT_EQ(alice_.last_attach().link_id(), "alice-bob");
  EXPECT_EQ(alice_.last_attach().module_pair(), 3u);
  EXPECT_EQ(alice_.last_attach().peer_node_id(), "bob");
  EXPECT_EQ(bob_.last_attach().peer_node_id(), "alice");
  EXPECT_TRUE(alice_.last_status().up());
  EXPECT_EQ(alice_.last_status().qber_ppm(), 31'200u);
  EXPECT_EQ(alice_.last_status().secret_key_rate_bps(), static_cast<uint64_t>(kBitsPerSecond));
}

TEST_F(SimulatedLinkTest, MakesBlocksAtTheRateOfTheModel) {
  LinkConfig config = Config();
  config.backlog_blocks = 10'000;
  StartLink(config);
  TickOnce();
  for (int i = 0; i < 2000; ++i) TickOnce();  // 10 virtual seconds.
  EXPECT_NEAR(static_cast<double>(link_->counters().blocks_made), 2000, 2);
}

TEST_F(SimulatedLinkTest, LosesAndDoublesNothingWhenAKmIsKilledAgainAndAgain) {
  StartLink(Config());
  for (size_t round = 1; round <= 5; ++round) {
    FakeKm& victim = round % 2 == 0 ? alice_ : bob_;
    const size_t before = victim.DurableBlocks(kRun);
    ASSERT_TRUE(TickUntil([&] { return victim.DurableBlocks(kRun) >= before + 20; })) << round;
    victim.Kill();
    for (int i = 0; i < 20; ++i) TickOnce();
    victim.Start();
  }
  const size_t made = link_->counters().blocks_made;
  ASSERT_TRUE(TickUntil([&] { return BothHave(kRun, made); }));
  ExpectIdenticalBlocks();
  EXPECT_EQ(link_->counters().run, kRun);
}

TEST_F(SimulatedLinkTest, PausesWhenTheBacklogIsFullAndGoesOnWhenTheKmIsBack) {
  bob_.Kill();
  StartLink(Config());
  ASSERT_TRUE(TickUntil([this] { return link_->counters().backlog_blocks == 64; }));
  for (int i = 0; i < 1000; ++i) TickOnce();
  EXPECT_EQ(link_->counters().blocks_made, 64u);
  ASSERT_TRUE(TickUntil(
      [this] { return alice_.statuses() > 0 && alice_.last_status().secret_key_rate_bps() == 0; }));
  EXPECT_TRUE(alice_.last_status().up());
  bob_.Start();
  ASSERT_TRUE(TickUntil([this] { return BothHave(kRun, 100); }));
  ExpectIdenticalBlocks();
}

TEST_F(SimulatedLinkTest, ACommandOfEitherKmStopsThePairAndAnotherLetsItGoOn) {
  StartLink(Config());
  ASSERT_TRUE(TickUntil([this] { return BothHave(kRun, 6); }));
  bob_.Command(kq1::v1::ModuleCommand::ACTION_DISABLE);
  ASSERT_TRUE(TickUntil([this] {
    return alice_.statuses() > 0 && !alice_.last_status().up() && !bob_.last_status().up();
  }));
  const uint64_t made = link_->counters().blocks_made;
  for (int i = 0; i < 1000; ++i) TickOnce();
  EXPECT_EQ(link_->counters().blocks_made, made);
  // The command holds while its KM is away.
  bob_.Kill();
  for (int i = 0; i < 1000; ++i) TickOnce();
  EXPECT_EQ(link_->counters().blocks_made, made);
  const int statuses = bob_.statuses();
  bob_.Start();
  ASSERT_TRUE(TickUntil([&] { return bob_.statuses() > statuses; }));
  bob_.Command(kq1::v1::ModuleCommand::ACTION_ENABLE);
  ASSERT_TRUE(TickUntil([&] { return BothHave(kRun, made + 6); }));
  EXPECT_TRUE(alice_.last_status().up());
  ExpectIdenticalBlocks();
}

TEST_F(SimulatedLinkTest, BeginsANewRunAfterItsOwnRestart) {
  StartLink(Config());
  ASSERT_TRUE(TickUntil([this] { return BothHave(kRun, 9); }));
  StartLink(Config());
  ASSERT_TRUE(TickUntil([this] { return BothHave(kRun + 1, 9); }));
  ExpectIdenticalBlocks();
}

TEST_F(SimulatedLinkTest, BeginsANewRunAboveAllThatAKmKnows) {
  alice_.Know(41);
  StartLink(Config());
  ASSERT_TRUE(TickUntil([this] { return BothHave(42, 9); }));
  EXPECT_EQ(link_->counters().run, 42u);
  ExpectIdenticalBlocks();
}

TEST_F(SimulatedLinkTest, BeginsANewRunWhenAKmWasRestoredFromAnOldImage) {
  StartLink(Config());
  ASSERT_TRUE(TickUntil([this] { return link_->counters().acknowledged[0] >= 12; }));
  alice_.Kill();
  alice_.Restore(kRun, 3);
  alice_.Start();
  ASSERT_TRUE(TickUntil([this] { return BothHave(kRun + 1, 9); }));
  // The restored KM was told how far it once was.
  const auto attaches = alice_.attaches();
  EXPECT_TRUE(std::any_of(attaches.begin(), attaches.end(), [](const kq1::v1::Attach& attach) {
    return attach.run() == kRun && attach.acknowledged_next_block() >= 12;
  }));
  ExpectIdenticalBlocks();
}

TEST_F(SimulatedLinkTest, GivesNothingToAServerWithTheCertificateOfAnotherNode) {
  FakeKm impostor(certificates_->FilesOf("bob"));
  impostor.Start();
  LinkConfig config = Config();
  config.ends[0].kq1 = impostor.address();
  StartLink(config);
  ASSERT_TRUE(TickUntil([this] { return link_->counters().backlog_blocks == 64; }));
  for (int i = 0; i < 400; ++i) {
    TickOnce();
    impostor.AwaitChange();
  }
  EXPECT_EQ(impostor.last_attach().link_id(), "");
  EXPECT_TRUE(impostor.disk().empty());
  // The other end is served all the same.
  EXPECT_TRUE(TickUntil([this] { return bob_.DurableBlocks(kRun) >= 60; }));
}

TEST_F(SimulatedLinkTest, ASeedGivesTheSameBlocksAgain) {
  LinkConfig config = Config();
  config.seed = "a test";
  StartLink(config);
  ASSERT_TRUE(TickUntil([this] { return BothHave(kRun, 3); }));
  const BlockSource source("alice-bob", 3, config.seed);
  const auto disk = alice_.disk();
  for (uint64_t block = 0; block < 3; ++block) {
    const SecretBytes key = source.Make(kRun, block, kBlockBytes);
    const auto bytes = key.Expose(SecretAccess::ForTest());
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), disk.at(kRun)[block].begin(),
                           disk.at(kRun)[block].end(),
                           [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); }));
  }
}

TEST_F(SimulatedLinkTest, TheSimulatorRunsLinksOnItsOwnClock) {
  LinkSimConfig config;
  config.links = {Config()};
  config.tls = certificates_->FilesOf("qkd-modules");
  config.state_dir = state_folder_;
  auto simulator = LinkSimulator::Start(config, Duration::Seconds(0), [](const absl::Status&) {
    ADD_FAILURE() << "the simulator gave up";
  });
  ASSERT_TRUE(simulator.ok()) << simulator.status();
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!BothHave(kRun, 30) && std::chrono::steady_clock::now() < give_up) {
    alice_.AwaitChange();
    bob_.AwaitChange();
  }
  EXPECT_TRUE(BothHave(kRun, 30));
  ExpectIdenticalBlocks();
  // A second simulator over the same folder is refused, by name of the first.
  auto second = LinkSimulator::Start(config, Duration::Seconds(0), [](const absl::Status&) {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(second.status().message().find(std::to_string(getpid())), absl::string_view::npos);
}

}  // namespace
}  // namespace keyhop
