#ifndef KEYHOP_SIM_NET_PLAN_H_
#define KEYHOP_SIM_NET_PLAN_H_

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "kms/base/instant.h"
#include "kms/core/types.h"
#include "sim/net/faults.h"
#include "sim/net/prng.h"
#include "trusted_node/core/node/node.h"

namespace keyhop::sim {

struct LinkPlan {
  LinkId id;
  size_t a = 0;  // Index of the node with the lower ID, the allocator.
  size_t b = 0;
  uint32_t block_bytes = 1024;
  Duration block_interval;  // Of each module pair.
  uint32_t module_pairs = 1;
  uint64_t rate_bps = 8'000;  // As the modules tell it.
};
struct SaePlan {
  SaeId id;
  size_t node = 0;
};
// One application pair that draws again and again.
struct DemandPlan {
  size_t master = 0;  // Indices of SAEs.
  size_t slave = 0;
  Duration interval;
  bool any_size = false;
  std::vector<size_t> additional = {};  // Slaves that some of its draws name besides.
  uint8_t paths = 1;                    // What some of its draws ask for (keyhop_paths_min).
};

// Everything that a seed decides before the first event.
struct Plan {
  uint64_t seed = 0;
  std::vector<NodeId> nodes;
  std::vector<LinkPlan> links;
  std::vector<SaePlan> saes;
  std::vector<DemandPlan> demands;

  std::array<bool, kFaultCount> faults = {};
  uint32_t message_fault_permille = 0;  // Of each kind that hits single messages.
  Duration incident_interval_max;       // Between two crashes, partitions and the like.
  Duration delay_max;                   // Of a message, without a fault.
  Duration disk_max;                    // Of a commit, without a fault.
  Duration fault_time;
  Duration heal_time_max;
  bool watched = true;  // Some SAEs watch.
  // After the faults some pairs must get keys with additional slaves.
  bool heals_multicasts = true;
  // A node that changes what it passes on of segments which are split over several paths, with tags
  // that fit.
  std::optional<size_t> corrupt = {};
  // Whether the network, whole, has so many node-disjoint paths between the homes of two SAEs.
  bool HasDisjointPaths(size_t master, size_t slave, uint8_t paths) const;

  // Common to all nodes.
  StreamConfig stream;
  DeliveryConfig delivery;
  PoolConfig pool;
  LinkConfig link;  // Its limits; identity is set for each link.

  bool has(Fault f) const { return faults[static_cast<size_t>(f)]; }

  static Plan Draw(uint64_t seed);
  NodeConfig ConfigOf(size_t node) const;
  Duration IdempotencyWindow() const;
  // The pre-shared key of link `index`.
  SecretBytes LinkKey(size_t index) const;
  // For fast answers below, once nodes, links and SAEs are there.
  void Index();
  // Index of the link between two nodes; there is at most one.
  std::optional<size_t> LinkBetween(size_t x, size_t y) const;
  std::optional<size_t> FindNode(const NodeId& id) const;
  std::optional<size_t> FindSae(const SaeId& sae) const;
  // The node that is home to an SAE; nodes.size() for none of the plan's.
  size_t HomeOf(const SaeId& sae) const {
    const std::optional<size_t> index = FindSae(sae);
    return index ? saes[*index].node : nodes.size();
  }
  // Whether that SAE watches for keys drawn for it.
  bool Watches(size_t sae) const { return watched && (seed + sae) % 3 != 0; }

 private:
  absl::flat_hash_map<std::pair<size_t, size_t>, size_t> link_index_;  // By lower, higher node.
  absl::flat_hash_map<SaeId, size_t> sae_index_;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_PLAN_H_
