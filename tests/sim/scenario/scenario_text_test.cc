#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "sim/scenario/scenario.h"

namespace keyhop::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kGood[] = R"(name: Three in a line
duration: 60s
topology:
  links:
    - {a: a, b: b}
    - {a: b, b: c, rate_bps: 9000}
demand:
  pairs:
    - {master: a, slave: c}
    - {master: c, slave: a, rate_bps: 77}
events:
  - {at: 5s, kind: LINK_CUT, nodes: [c, b]}
)";

std::string Refusal(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  const auto scenario = ParseScenario(text, "s.yaml");
  return scenario.ok() ? "read" : std::string(scenario.status().message());
}

TEST(ScenarioTextTest, NamesAreResolved) {
  const auto scenario = ParseScenario(kGood, "s.yaml");
  ASSERT_TRUE(scenario.ok()) << scenario.status();
  EXPECT_EQ(scenario->network.sites.size(), 3u);
  EXPECT_EQ(scenario->network.fibres[1].rate_bps, 9000u);
  ASSERT_EQ(scenario->demand.size(), 2u);
  EXPECT_EQ(scenario->demand[0].rate_bps, 2560u);
  EXPECT_EQ(scenario->demand[1].rate_bps, 77u);
  ASSERT_EQ(scenario->incidents.size(), 1u);
  EXPECT_EQ(scenario->incidents[0].links, std::vector<size_t>{1});
}

TEST(ScenarioTextTest, WhatIsWrongIsNamedWithFileAndLine) {
  EXPECT_THAT(Refusal("duration: 60s", "duraton: 60s"), StartsWith("s.yaml:2: unknown field"));
  EXPECT_THAT(Refusal("60s", "1 minute"), StartsWith("s.yaml:2: duration: expected a duration"));
  EXPECT_THAT(Refusal("slave: c", "slave: z"),
              StartsWith("s.yaml:9: demand.pairs[0].slave: no node z in the topology"));
  EXPECT_THAT(Refusal("slave: c", "slave: a"), HasSubstr("are the same node"));
  EXPECT_THAT(Refusal("{master: c, slave: a, rate_bps: 77}", "{master: a, slave: c}"),
              StartsWith("s.yaml:10: demand.pairs[1]: given twice"));
  EXPECT_THAT(Refusal("at: 5s", "at: 60s"), StartsWith("s.yaml:12: events[0].at: expected less"));
  EXPECT_THAT(Refusal("[c, b]", "[c, a]"), HasSubstr("no link joins these two nodes"));
  EXPECT_THAT(Refusal("[c, b]", "[c]"), HasSubstr("expected two nodes"));
  EXPECT_THAT(Refusal("LINK_CUT", "NODE_CRASH"), HasSubstr("expected one node"));
  EXPECT_THAT(Refusal("LINK_CUT", "FLOOD"), HasSubstr("expected one of LINK_CUT"));
  EXPECT_THAT(Refusal("{a: a, b: b}", "{a: b, b: c}"), HasSubstr("two links join b and c"));
  EXPECT_THAT(Refusal("{a: a, b: b}", "{a: a, b: x}"), HasSubstr("no way leads from node a"));
  EXPECT_THAT(Refusal("name: Three in a line\n", ""), HasSubstr("name: missing"));
  EXPECT_THAT(Refusal("demand:", "demand:\n  matrix: ALL_PAIRS"),
              HasSubstr("expected with the matrix LISTED, and only with it"));
  EXPECT_THAT(Refusal("demand:", "demand:\n  key_size_bits: 40"), HasSubstr("multiple of 32"));
}

TEST(ScenarioTextTest, RandomPairsAreDifferentOrderedPairsOfNodes) {
  const std::string text =
      "name: x\ntopology: {family: GRID, nodes: 9}\ndemand: {matrix: GRAVITY, pairs_count: 72}\n";
  const auto scenario = ParseScenario(text, "s.yaml");
  ASSERT_TRUE(scenario.ok()) << scenario.status();
  EXPECT_EQ(scenario->demand.size(), 72u);
  uint64_t sum = 0;
  for (const PairDemand& pair : scenario->demand) sum += pair.rate_bps;
  EXPECT_NEAR(static_cast<double>(sum), 72 * 2560.0, 72);
  const auto more = ParseScenario(
      "name: x\ntopology: {family: GRID, nodes: 9}\ndemand: {matrix: GRAVITY, pairs_count: 73}\n",
      "s.yaml");
  EXPECT_THAT(std::string(more.status().message()), HasSubstr("s.yaml:3: demand.pairs_count"));
}

TEST(ScenarioTextTest, EveryScenarioThatIsShippedIsRead) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("sim/scenarios")) {
    const auto scenario = LoadScenario(entry.path().string());
    EXPECT_TRUE(scenario.ok()) << scenario.status();
    ++files;
  }
  EXPECT_GT(files, 0) << "run from the root of the repository";
}

TEST(ScenarioTextTest, TheHelpHasEveryField) {
  const std::string help = ScenarioHelp();
  for (const char* field : {"topology:", "family:", "matrix:", "events:", "pools:"}) {
    EXPECT_THAT(help, HasSubstr(field));
  }
}

}  // namespace
}  // namespace keyhop::sim
