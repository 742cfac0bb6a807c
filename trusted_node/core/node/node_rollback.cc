// What makes an old image of the store show, and what follows then (DESIGN §3, "Node version").
#include <set>
#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {

void NodeCore::Impl::RaiseLinkVersions() {
  for (auto& [peer, link] : links) {
    LinkOut out(*this, peer);
    link.end->RaiseVersion(now, out);
    Touch(Machine::kLink, peer);
  }
}

void NodeCore::Impl::BurnAfterRollback() {
  rollback_found = false;
  ++counters["rollback_alarms"];
  const std::set<NodeId> found_at = std::exchange(rollback_links, {});
  if (std::exchange(old_image_burnt, true)) {
    // One more peer remembers what the store's image lacks. All that was from the image is burnt;
    // what came since is fresh. A stream's end has dealt with itself.
    for (const NodeId& peer : found_at) {
      LinkOut out(*this, peer);
      links.at(peer).end->BurnAll(now, out);
      Touch(Machine::kLink, peer);
    }
    rollback_found = false;
    rollback_links.clear();
    return;
  }
  Emit(AlarmRaised{"rollback",
                   "a peer remembers more of this node than its store does: all pads "
                   "and stock are burnt"},
       0);
  for (auto& [peer, link] : links) {
    LinkOut out(*this, peer);
    link.end->BurnAll(now, out);
    Touch(Machine::kLink, peer);
  }
  for (auto& [node, entry] : sources) {
    entry.end->BurnAll(now, stream_out);
    Touch(Machine::kSource, node);
  }
  for (auto& [node, end] : destinations) {
    end->BurnAll(stream_out);
    Touch(Machine::kDestination, node);
  }
  idempotency->BurnAll(now, *this);
  Touch(Machine::kIdempotency, NodeId{});
  keystreams->DropAll(now, *this);
  Touch(Machine::kKeystreams, NodeId{});
  rollback_found = false;
  rollback_links.clear();
}

}  // namespace keyhop
