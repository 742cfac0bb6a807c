#include "sim/scenario/scenario_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "sim/scenario/report.h"

namespace keyhop::sim {
namespace {

using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Optional;
using ::testing::SizeIs;

Scenario Read(const std::string& text) {
  auto scenario = ParseScenario("name: test\nwarm_up: 20s\n" + text, "s.yaml");
  EXPECT_TRUE(scenario.ok()) << scenario.status();
  return *std::move(scenario);
}

ScenarioOutcome Outcome(const Scenario& scenario) {
  auto outcome = RunScenario(scenario, [](Duration, Duration) {});
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_FALSE(outcome->violation) << outcome->violation->text;
  return *std::move(outcome);
}

constexpr char kRing[] = R"(duration: 60s
topology: {family: RING, nodes: 5}
demand: {matrix: ALL_PAIRS, rate_bps: 1024}
)";

TEST(ScenarioWorldTest, ARingWithKeyToSpareGivesEveryPairWhatItAsksFor) {
  const Scenario scenario = Read(kRing);
  const Figures figures = FiguresOf(scenario, Outcome(scenario));
  EXPECT_EQ(figures.blocking, 0);
  EXPECT_GT(figures.worst_share, 0.9);
  EXPECT_GT(figures.jain, 0.99);
}

TEST(ScenarioWorldTest, TheSameScenarioGivesTheSameBytesAndAnotherSeedOthers) {
  const Scenario scenario = Read(kRing);
  const auto files = ReportFiles(scenario, Outcome(scenario));
  EXPECT_THAT(files, SizeIs(7));
  EXPECT_EQ(files, ReportFiles(scenario, Outcome(scenario)));
  const Scenario other = Read(std::string("seed: 2\n") + kRing);
  EXPECT_NE(files.at("pairs.csv"), ReportFiles(other, Outcome(other)).at("pairs.csv"));
}

TEST(ScenarioWorldTest, NoMoreIsDeliveredThanThinLinksMake) {
  const Scenario scenario = Read(R"(duration: 120s
topology: {links: [{a: a, b: b, rate_bps: 4000}]}
demand: {pairs: [{master: a, slave: b, rate_bps: 100000}]}
)");
  const ScenarioOutcome outcome = Outcome(scenario);
  EXPECT_GT(outcome.pairs[0].blocked, 0u);
  EXPECT_GT(outcome.pairs[0].delivered_bits, 0u);
  EXPECT_LE(outcome.pairs[0].delivered_bits, 4000u * 140);
  EXPECT_LE(outcome.links[0].made_bits, 4000u * 121);
}

TEST(ScenarioWorldTest, ACutLinkIsRoutedAroundAndACrashedNodeServesAgain) {
  const Scenario scenario = Read(std::string(kRing) + R"(events:
  - {at: 10s, kind: LINK_CUT, nodes: [n0, n1], lasts: 20s}
  - {at: 35s, kind: NODE_CRASH, nodes: [n3], lasts: 5s}
)");
  const ScenarioOutcome outcome = Outcome(scenario);
  ASSERT_THAT(outcome.converged_s, SizeIs(2));
  EXPECT_THAT(outcome.converged_s[0], Optional(Gt(0.0)));
  EXPECT_GT(outcome.links[0].stopped_s, 19);
  for (const PairOutcome& pair : outcome.pairs) {
    ASSERT_FALSE(pair.delivered_ms.empty());
    EXPECT_GT(pair.delivered_ms.back(), 55'000);
  }
}

TEST(ScenarioWorldTest, APartitionStopsPairsAcrossItAndEndsWithIt) {
  const Scenario scenario = Read(R"(duration: 120s
topology: {family: LINE, nodes: 4}
demand: {pairs: [{master: n0, slave: n3}, {master: n0, slave: n1}]}
pools: {target_bytes: 1KiB}
events:
  - {at: 20s, kind: PARTITION, nodes: [n0, n1], lasts: 40s}
)");
  const ScenarioOutcome outcome = Outcome(scenario);
  EXPECT_EQ(outcome.pairs[1].blocked, 0u);
  EXPECT_GT(outcome.pairs[0].blocked, 0u);
  EXPECT_GT(outcome.pairs[0].delivered_ms.back(), 110'000);
}

TEST(ScenarioWorldTest, KeysOverTwoPathsUseTwo) {
  const Scenario scenario = Read(R"(duration: 60s
topology: {family: RING, nodes: 5}
demand: {pairs: [{master: n0, slave: n2}], paths_min: 2}
)");
  const ScenarioOutcome outcome = Outcome(scenario);
  EXPECT_GT(outcome.pairs[0].delivered_bits, 0u);
  EXPECT_THAT(outcome.pairs[0].paths, SizeIs(2));
}

TEST(ScenarioWorldTest, SettingsThatADaemonWouldRefuseAreRefused) {
  const auto scenario = ParseScenario(
      "name: x\ntopology: {family: RING}\ndemand: {matrix: ALL_PAIRS}\npools: {target_bytes: 1}\n",
      "s.yaml");
  EXPECT_THAT(std::string(scenario.status().message()),
              HasSubstr("s.yaml:4: pools.target_bytes: expected a size in bytes from 1KiB"));
}

}  // namespace
}  // namespace keyhop::sim
