#include "sim/scenario/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace keyhop::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Scenario TwoPairs(const std::string& name) {
  auto scenario = ParseScenario("name: '" + name + R"('
duration: 100s
topology: {links: [{a: a, b: b, rate_bps: 1000}, {a: b, b: c, rate_bps: 1000}]}
demand: {pairs: [{master: a, slave: c, rate_bps: 1000}, {master: b, slave: c, rate_bps: 1000}]}
)",
                                "s.yaml");
  EXPECT_TRUE(scenario.ok()) << scenario.status();
  return *std::move(scenario);
}

ScenarioOutcome Outcome(const Scenario& scenario) {
  ScenarioOutcome outcome;
  outcome.pairs.resize(2);
  outcome.links.resize(2);
  outcome.nodes.resize(3);
  outcome.delivered_bits_in_bin.assign(60, 0);
  // The pads of half a link each, if a frame were as long as its body.
  outcome.pairs[0].delivered_bits = 50'000;
  outcome.pairs[0].paths[{0, 1, 2}] = {.body_bytes = 1'000'000, .frames = 0};
  outcome.pairs[1].delivered_bits = 25'000;
  outcome.pairs[1].paths[{1, 2}] = {.body_bytes = 1'000'000, .frames = 0};
  outcome.pairs[1].requests = 10;
  outcome.pairs[1].blocked = 5;
  EXPECT_EQ(scenario.demand.size(), 2u);
  return outcome;
}

TEST(ReportTest, FairRatesAreThoseOfTheLinksThatWereUsed) {
  const Scenario scenario = TwoPairs("x");
  const Figures figures = FiguresOf(scenario, Outcome(scenario));
  EXPECT_NEAR(figures.fair_bps[0], 500, 1e-6);
  EXPECT_NEAR(figures.fair_bps[1], 500, 1e-6);
  EXPECT_NEAR(figures.share[0], 1, 1e-6);
  EXPECT_NEAR(figures.share[1], 0.5, 1e-6);
  EXPECT_EQ(figures.worst_pair, 1u);
  EXPECT_NEAR(figures.jain, 1.5 * 1.5 / (2 * 1.25), 1e-6);
  EXPECT_NEAR(figures.blocking, 0.5, 1e-9);
}

TEST(ReportTest, APairThatNothingWasSentForHasAFairRateAllTheSame) {
  const Scenario scenario = TwoPairs("x");
  ScenarioOutcome outcome = Outcome(scenario);
  outcome.pairs[0] = {};
  const Figures figures = FiguresOf(scenario, outcome);
  EXPECT_NEAR(figures.fair_bps[0], 500, 1e-6);
  EXPECT_EQ(figures.worst_share, 0);
}

TEST(ReportTest, NamesCannotBecomeMarkup) {
  const Scenario scenario = TwoPairs("<script>alert(1)</script> \"q\"");
  const auto files = ReportFiles(scenario, Outcome(scenario));
  EXPECT_THAT(files.at("report.html"), Not(HasSubstr("<script>")));
  EXPECT_THAT(files.at("report.html"), HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(files.at("result.json"), HasSubstr("\\\"q\\\""));
}

TEST(ReportTest, QuantilesAreValuesThatWere) {
  EXPECT_EQ(Quantile({}, 0.5), 0u);
  EXPECT_EQ(Quantile({5}, 0.99), 5u);
  EXPECT_EQ(Quantile({4, 1, 3, 2}, 0.5), 2u);
  EXPECT_EQ(Quantile({4, 1, 3, 2}, 0.99), 4u);
}

}  // namespace
}  // namespace keyhop::sim
