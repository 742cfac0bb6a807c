// What slaves that watch are told: of each key drawn for them once, or of a gap.
#include <algorithm>
#include <set>

#include "kms/core/uuid.h"
#include "sim/net/oracle.h"

namespace keyhop::sim {

// How long a run lasts hangs on this: it is kept in either run of a seed.
void Oracle::AwaitAnnouncements(const DrawRequest& request, const KeyContainer& container) {
  const size_t source = HomeOf(request.caller);
  // A repeated answer may be of a life of the master's KME that ended long ago, with its gap told.
  if (request.idempotency_key && starts_[source] > 1) return;
  std::set<SaeId> slaves = {request.additional_slaves.begin(), request.additional_slaves.end()};
  slaves.insert(request.slave);
  for (const DeliveredKey& key : container.keys) {
    if (!awaited_.insert(key.id).second) continue;
    for (const SaeId& sae : slaves) {
      if (plan_.Watches(*plan_.FindSae(sae))) {
        heard_[sae].not_yet.emplace(key.id, plan_.nodes[source]);
      }
    }
  }
}

void Oracle::OnWatched(const SaeId& slave, const WatchAnswer& answer) {
  Heard& heard = heard_[slave];
  for (const WatchEntry& entry : answer.entries) {
    if (entry.gap_at) {
      std::erase_if(heard.not_yet, [&](const auto& item) {
        return entry.gap_at->empty() || item.second == *entry.gap_at;
      });
    }
    heard.not_yet.erase(entry.key_id);
    if (watching_) CheckEntry(slave, heard, entry);
  }
}

void Oracle::CheckEntry(const SaeId& slave, Heard& heard, const WatchEntry& entry) {
  if (entry.gap_at) {
    Probe(entry.gap_at->empty() ? "gap_of_all_told" : "gap_of_a_node_told");
    if (entry.gap_at->empty()) heard.told.clear();
    return;
  }
  Probe("key_announced");
  const std::string name = FormatUuid(entry.key_id);
  const auto it = keys_.find(entry.key_id);
  if (it == keys_.end()) {
    // At home it is entered in the batch that its answer waits for: a crash in between loses the
    // answer alone.
    const size_t home = HomeOf(slave);
    if (HomeOf(entry.master) == home && starts_[home] > 1) return;
    return Violate("G2", "key " + name + " was announced and never drawn");
  }
  const DrawnKey& key = it->second;
  if (!key.names(slave) || key.master != entry.master) {
    return Violate("G2", "key " + name + " was announced to " + slave.value + " as of " +
                             entry.master.value + ", which it does not name");
  }
  if (key.bytes.size() * 8 != entry.size_bits) {
    return Violate("G2", "key " + name + " was announced with another size");
  }
  if (!heard.told.insert(entry.key_id).second) {
    Violate("G2", "key " + name + " was announced twice");
  }
}

bool Oracle::AllAnnounced() const {
  return std::all_of(heard_.begin(), heard_.end(),
                     [](const auto& item) { return item.second.not_yet.empty(); });
}

void Oracle::CheckAnnounced() {
  for (const auto& [slave, heard] : heard_) {
    if (heard.not_yet.empty()) continue;
    Violate("G4", "key " + FormatUuid(heard.not_yet.begin()->first) + " was drawn at " +
                      heard.not_yet.begin()->second.value + " for " + slave.value +
                      ", which heard neither of it nor of a gap");
  }
}

}  // namespace keyhop::sim
