#ifndef KEYHOP_SIM_SCENARIO_TOPOLOGY_H_
#define KEYHOP_SIM_SCENARIO_TOPOLOGY_H_
// Networks to simulate: read from a file, or of a family. Pure but for reading files; the same
// arguments give the same network.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "keyhop/scenario/v1/scenario.pb.h"

namespace keyhop::sim {

struct Site {
  std::string id;        // At most 64 bytes.
  bool in_span = false;  // A relay node within a span that was too long; has no applications.
  // Where to draw it, in any unit; by the family, or longitude and latitude.
  double x = 0;
  double y = 0;
};
struct Fibre {
  size_t a = 0;  // Indices of sites.
  size_t b = 0;
  double length_km = 0;
  double loss_db = 0;
  uint64_t rate_bps = 0;  // Secret bits per second.
};
// Connected, with at most one link between two sites and none from a site to itself; sites
// ascending by ID.
struct Network {
  std::vector<Site> sites;
  std::vector<Fibre> fibres;
};

// INVALID_ARGUMENT with the reason when the network would be none: no topology or two are named, a
// site links to itself or twice to another, a part of it is not connected, its file is not like
// those in sim/topologies.
absl::StatusOr<Network> MakeNetwork(const scenario::v1::Topology& topology,
                                    const scenario::v1::LinkModel& model, uint64_t seed);

// Sites from `a` to `b`, both included, over the fewest links.
std::vector<size_t> FewestHops(const Network& network, size_t a, size_t b);

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_SCENARIO_TOPOLOGY_H_
