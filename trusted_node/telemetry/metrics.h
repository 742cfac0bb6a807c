#ifndef KEYHOP_TRUSTED_NODE_TELEMETRY_METRICS_H_
#define KEYHOP_TRUSTED_NODE_TELEMETRY_METRICS_H_

#include <string>

#include "trusted_node/core/node/node.h"

namespace keyhop {

struct BuildInfo {
  std::string version;
  std::string compiler;
};

// A node's metrics in Prometheus' text format (version 0.0.4), made anew from one snapshot: what
// is told is what the core holds, and nothing is registered that is not set. Sizes in bytes.
// Label sets are bounded by the node's links, its pair streams (at most `pairs_max`, the rest as
// one aggregate with destination "other") and its list of counters.
std::string MetricsText(const NodeSnapshot& snapshot, const BuildInfo& build,
                        size_t pairs_max = 256);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_TELEMETRY_METRICS_H_
