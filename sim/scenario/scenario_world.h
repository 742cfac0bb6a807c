#ifndef KEYHOP_SIM_SCENARIO_SCENARIO_WORLD_H_
#define KEYHOP_SIM_SCENARIO_SCENARIO_WORLD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sim/net/world.h"
#include "sim/scenario/scenario.h"

namespace keyhop::sim {

// What a relay takes of each link's pads besides its body: payload head and tag.
inline constexpr uint64_t kRelayPadBytes = 64;

// Segments over one path.
struct PathUse {
  uint64_t body_bytes = 0;
  uint64_t frames = 0;
};
// What one pair got while it was measured. Bits are key bits.
struct PairOutcome {
  uint64_t requests = 0;  // Draws.
  uint64_t blocked = 0;   // Refused, or lost with a node.
  uint64_t drawn_bits = 0;
  uint64_t delivered_bits = 0;             // Fetched by the slave.
  std::vector<uint32_t> latency_ms = {};   // Of each draw that was answered with keys.
  std::vector<int64_t> delivered_ms = {};  // When, since the measurement began; ascending.
  std::map<std::vector<size_t>, PathUse> paths = {};  // By the sites that its segments took.
};
struct LinkOutcome {
  uint64_t made_before_bits = 0;  // Until the measurement began, by its modules.
  uint64_t used_before_bits = 0;
  uint64_t made_bits = 0;      // Then; for both directions.
  double stopped_s = 0;        // For so long the modules stood still, by an event.
  uint64_t used_bits[2] = {};  // Pads of frames that left the lower end, the higher one.
};
struct NodeOutcome {
  uint64_t originated_bytes = 0;  // Segment bodies that it sent as their source.
  uint64_t relayed_bytes = 0;     // That it passed on.
};
struct ScenarioOutcome {
  std::optional<Violation> violation;
  std::vector<PairOutcome> pairs;  // As Scenario::demand.
  std::vector<LinkOutcome> links;  // As Network::fibres.
  std::vector<NodeOutcome> nodes;  // As Network::sites.
  // Of each event, whatever it was: seconds until every pair that still has a way, and was served
  // in the minute before, was served again; nullopt: not before its end, or the run's.
  std::vector<std::optional<double>> converged_s;
  std::vector<uint64_t> delivered_bits_in_bin;  // Sixty equal parts of the duration.
  uint64_t events = 0;
};

// `progress` hears of virtual time, of which `of` is all, now and then. INVALID_ARGUMENT when the
// scenario's node settings are refused as a daemon would.
absl::StatusOr<ScenarioOutcome> RunScenario(
    const Scenario& scenario, const std::function<void(Duration done, Duration of)>& progress);

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_SCENARIO_SCENARIO_WORLD_H_
