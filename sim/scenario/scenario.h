#ifndef KEYHOP_SIM_SCENARIO_SCENARIO_H_
#define KEYHOP_SIM_SCENARIO_SCENARIO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "keyhop/scenario/v1/scenario.pb.h"
#include "sim/scenario/topology.h"

namespace keyhop::sim {

// Who asks for key with whom, and how much.
struct PairDemand {
  size_t master = 0;  // Indices of sites.
  size_t slave = 0;
  uint64_t rate_bps = 0;  // Key bits per second.
};

// A scenario with its network and demand worked out.
struct Scenario {
  scenario::v1::Scenario text;
  Network network;
  std::vector<PairDemand> demand;  // Each ordered pair once.
  // Of each event: the links that it cuts or whose modules it stops, and the node that it crashes.
  struct Incident {
    std::vector<size_t> links;
    std::vector<size_t> nodes;
  };
  std::vector<Incident> incidents;
};

double SecondsOf(const google::protobuf::Duration& duration);

// Reads and checks a scenario (YAML, proto/keyhop/scenario/v1). Errors as LoadConfig's: file, line,
// field, what was expected.
absl::StatusOr<Scenario> LoadScenario(const std::string& path);
// The same from text; `name` stands for the file in errors and for the folder of relative paths.
absl::StatusOr<Scenario> ParseScenario(absl::string_view yaml, const std::string& name);
// Every field with default, range and meaning.
std::string ScenarioHelp();

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_SCENARIO_SCENARIO_H_
