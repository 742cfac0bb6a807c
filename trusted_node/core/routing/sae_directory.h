#ifndef KEYHOP_TRUSTED_NODE_CORE_ROUTING_SAE_DIRECTORY_H_
#define KEYHOP_TRUSTED_NODE_CORE_ROUTING_SAE_DIRECTORY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "kms/base/lookup_map.h"
#include "trusted_node/core/routing/routing.h"

namespace keyhop {

// Which SAE lives where, under which registration number. An entry is made by the first claim and
// never goes away; a number of this node means one SAE for ever, also when that SAE is no longer
// configured. Bounded by `saes_max` in all and kEntriesPerHomeMax for one home, so that one corrupt
// node cannot fill it. Not thread-safe.
class SaeDirectory {
 public:
  static constexpr uint32_t kEntriesPerHomeMax = 16'384;

  enum class Claim {
    kKnown,       // Nothing new.
    kNew,         // Taken: to be recorded.
    kRenumbered,  // Its home gave it another number: to be recorded, and an alarm.
    kRefused,     // Another home's name, or no room: an alarm.
  };

  SaeDirectory(const RoutingConfig& config, const std::vector<DirectoryRecord>& recovered,
               uint32_t next_number);

  // Gives numbers to the configured SAEs that have none; returns what to record. An SAE that lives
  // elsewhere, and one for which there is no number or room left, stays without and adds to
  // `refused`.
  std::vector<DirectoryRecord> RegisterConfigured(uint64_t& refused);
  // A claim by another node, checked for shape and signature.
  Claim Take(const NodeId& home, const SaeAdvert& advert);
  // What this node said in a life that it does not remember: those numbers were given first. An SAE
  // that got one of them since gets a new one. Returns what to record.
  std::vector<DirectoryRecord> AdoptOwn(const std::vector<SaeAdvert>& adverts);

  std::optional<SaeEntry> Find(const SaeId& sae) const;
  std::optional<SaeId> FindLocal(uint32_t number) const;
  // This node's configured SAEs that have a number, ascending by name.
  std::vector<SaeAdvert> Configured() const;
  std::set<NodeId> Homes() const;
  // Every number of this node from here on is free.
  uint32_t next_number() const { return next_number_; }

 private:
  DirectoryRecord Put(const SaeId& sae, const NodeId& home, uint32_t number);
  bool HasRoomFor(const NodeId& home) const;

  const NodeId self_;
  const uint32_t saes_max_;
  const std::set<SaeId> configured_;
  LookupMap<SaeId, SaeEntry> entries_;
  std::map<NodeId, uint32_t> entries_of_home_;
  std::map<uint32_t, SaeId> local_;
  uint32_t next_number_ = 1;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_ROUTING_SAE_DIRECTORY_H_
