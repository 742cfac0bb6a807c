// A node's links: pads and news of their modules, neighbours that come and go, and what the others
// are told of them.
#include <utility>

#include "absl/strings/str_cat.h"
#include "trusted_node/core/node/node_impl.h"

namespace keyhop {

void NodeCore::Impl::On(PadBlockArrived input) {
  const auto peer = peer_of.find(input.link);
  if (peer == peer_of.end()) {
    Emit(PadBlockTaken{input.token, absl::NotFoundError(absl::StrCat("no link ", input.link.value,
                                                                     " at this node"))},
         0);
    return;
  }
  LinkOut out(*this, peer->second);
  auto taken =
      links.at(peer->second).end->Take(now, input.book, input.block, std::move(input.bytes), out);
  if (taken.ok()) {
    ++counters["pad_blocks_taken"];
    Emit(PadBlockTaken{input.token, absl::OkStatus()}, *taken);
  } else {
    ++counters["pad_blocks_refused"];
    Emit(PadBlockTaken{input.token, taken.status()}, 0);
  }
  Touch(Machine::kLink, peer->second);
}

void NodeCore::Impl::On(ModuleStatusChanged input) {
  const auto peer = peer_of.find(input.link);
  if (peer == peer_of.end()) return;
  links.at(peer->second).end->SetModule(input.up, input.qber_ppm, input.rate_bps);
  LinkMayHaveChanged(peer->second);
}

void NodeCore::Impl::On(PeerConnected input) {
  const auto link = links.find(input.peer);
  if (link == links.end()) return;
  link->second.connected = true;
  LinkOut out(*this, input.peer);
  link->second.end->OnConnected(now, out);
  routing->OnNeighbourUp(now, input.peer, *this);
  Touch(Machine::kRouting, NodeId{});
  LinkMayHaveChanged(input.peer);
}

void NodeCore::Impl::On(PeerDisconnected input) {
  const auto link = links.find(input.peer);
  if (link == links.end()) return;
  link->second.connected = false;
  LinkMayHaveChanged(input.peer);
}

void NodeCore::Impl::OnLinkMessage(const NodeId& from, const LinkMessage& message) {
  LinkOut out(*this, from);
  links.at(from).end->OnMessage(now, message, out);
  LinkMayHaveChanged(from);
}

void NodeCore::Impl::LinkMayHaveChanged(const NodeId& peer) {
  LinkEntry& link = links.at(peer);
  Touch(Machine::kLink, peer);
  neighbour_heard |= link.end->session_open();
  const bool open = link.connected && link.end->session_open() && !link.down;
  if (open == link.was_open) return;
  link.was_open = open;
  AdvertiseLinks();
  if (!open) BurnUnderWay([&](const std::vector<NodeId>& path) { return path[1] == peer; });
  if (open) {
    routing->OnNeighbourUp(now, peer, *this);
    for (auto& [node, entry] : sources) {
      if (entry.blocked) entry.not_before = now;
      Touch(Machine::kSource, node);
    }
  }
}

void NodeCore::Impl::BurnUnderWay(absl::FunctionRef<bool(const std::vector<NodeId>& path)> broken) {
  for (auto it = relays.begin(); it != relays.end();) {
    const RelayUnderWay& relay = it->second;
    StreamSource& source = *sources.at(relay.pair).end;
    const bool burn = source.IsInFlight(relay.at) && broken(relay.path);
    if (burn) {
      ++counters["relays_lost_path_broken"];
      source.OnPathBroken(now, relay.at);
      Touch(Machine::kSource, relay.pair);
    }
    it = source.IsInFlight(relay.at) ? std::next(it) : relays.erase(it);
  }
}

void NodeCore::Impl::LookAfterRelays() {
  const bool changed =
      std::exchange(topology_looked_at, routing->topology_changes()) != routing->topology_changes();
  BurnUnderWay([&](const std::vector<NodeId>& path) { return changed && !routing->IsUp(path); });
}

void NodeCore::Impl::AdvertiseLinks() {
  std::vector<LinkAdvert> adverts;
  for (const auto& [peer, link] : links) {
    const LinkLevels levels = link.end->Levels();
    adverts.push_back({.link = link.end->config().id,
                       .peer = peer,
                       .up = link.connected && levels.session_open && !link.down,
                       .free_bytes = levels.send_open_bytes + levels.stock_bytes / 2,
                       .rate_bps = levels.rate_bps});
  }
  routing->SetLinks(now, std::move(adverts), *this);
  Touch(Machine::kRouting, NodeId{});
}

}  // namespace keyhop
