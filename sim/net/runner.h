#ifndef KEYHOP_SIM_NET_RUNNER_H_
#define KEYHOP_SIM_NET_RUNNER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/net/world.h"

namespace keyhop::sim {

struct SeedReport {
  uint64_t seed = 0;
  RunResult run;
};

// One run of a seed; without a bug it runs twice, and two runs that differ are a violation of
// "trace".
SeedReport RunSeed(uint64_t seed, std::optional<Bug> bug);

// Runs seeds in `jobs` processes, so that a failed check inside a core costs one seed and is
// reported as a violation of "check". `on_report` comes in no certain order; false stops the rest.
void RunSeeds(uint64_t first_seed, uint64_t seeds, unsigned jobs, std::optional<Bug> bug,
              const std::function<bool(SeedReport)>& on_report);

// The sum over seeds, and what it says.
struct Totals {
  uint64_t seeds = 0;
  uint64_t violations = 0;
  uint64_t events = 0;
  uint64_t keys_delivered = 0;
  uint64_t relays = 0;
  uint64_t crashes = 0;
  FaultCounts faults = {};
  Probes probes;

  Totals();  // Every known probe, at 0.
  void Add(const SeedReport& report);
  // One JSON object on one line.
  std::string Json() const;
  // What a run of 1,000 seeds or more must have reached and has not; empty: all.
  std::vector<std::string> Shortfalls() const;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_RUNNER_H_
