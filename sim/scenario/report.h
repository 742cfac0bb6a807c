#ifndef KEYHOP_SIM_SCENARIO_REPORT_H_
#define KEYHOP_SIM_SCENARIO_REPORT_H_
// What a run of a scenario says, in files. Pure: the same outcome gives the same bytes.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/scenario/scenario.h"
#include "sim/scenario/scenario_world.h"

namespace keyhop::sim {

// What is worked out of an outcome. Rates in key bits per second over the duration.
struct Figures {
  std::vector<double> delivered_bps;  // By pair.
  std::vector<double> fair_bps;       // Max-min over the same paths and what the links made.
  std::vector<double> share;          // Delivered over fair; 1 where fair is 0.
  double demand_bps = 0;              // Sums over pairs.
  double delivered_sum_bps = 0;
  double fair_sum_bps = 0;
  double jain = 1;            // Of the shares.
  double worst_share = 1;     // The smallest share,
  size_t worst_pair = 0;      // and whose it is.
  double blocking = 0;        // Part of the requests that got no key.
  double pad_efficiency = 0;  // Key bits times hops, over pad bits that relays took.
  std::optional<double> convergence_median_s;  // Over events; nullopt: none, or one did not.
  std::optional<double> convergence_worst_s;
};
Figures FiguresOf(const Scenario& scenario, const ScenarioOutcome& outcome);

// Smallest value that `part` of `values` do not exceed; 0 for none.
uint32_t Quantile(std::vector<uint32_t> values, double part);

// File name: content. result.json, pairs.csv, links.csv, nodes.csv, events.csv, timeline.csv and
// report.html; docs/netsim.md has their columns.
std::map<std::string, std::string> ReportFiles(const Scenario& scenario,
                                               const ScenarioOutcome& outcome);
// report.html: one page with pictures, which needs nothing else.
std::string HtmlReport(const Scenario& scenario, const ScenarioOutcome& outcome,
                       const Figures& figures);

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_SCENARIO_REPORT_H_
