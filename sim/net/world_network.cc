#include <algorithm>
#include <utility>

#include "kms/base/check.h"
#include "sim/net/world.h"

namespace keyhop::sim {
namespace {

constexpr size_t kKeptMax = 48;

}  // namespace

void World::Send(size_t from, const NodeId& peer, KxMessage message) {
  const std::optional<size_t> to = plan_.FindNode(peer);
  const std::optional<size_t> link = to ? plan_.LinkBetween(from, *to) : std::nullopt;
  KEYHOP_CHECK(link.has_value(), "a node only speaks to its neighbours");
  std::vector<KxMessage> again;
  const bool leaves = saboteur_.OnOutgoing(from, *to, message, again);
  oracle_.OnSent(now_, from, *to, message);
  if (auto* frame = std::get_if<RelayFrame>(&message);
      frame != nullptr && from == plan_.corrupt && faults_on_ && split_prng_.Chance(300)) {
    oracle_.Forge(from, *to, *frame, split_prng_.Next());
  }
  for (KxMessage& answer : saboteur_.Answers(from, *to, message)) {
    Deliver(*to, from, std::move(answer), Duration::Millis(1), false);
  }
  for (KxMessage& copy : again) {
    oracle_.OnSent(now_, from, *to, copy);
    Deliver(from, *to, std::move(copy), Duration::Seconds(1), false);
  }
  if (!leaves) return;
  Observe(from, *to, message);
  hash_.Add(message);
  if (trace_) Trace(plan_.nodes[from].value + " -> " + peer.value + " " + Describe(message));

  LinkWorld& world = links_[*link];
  const size_t end = EndOf(*link, from);
  if (!world.connected[end]) {  // No transport: it goes nowhere.
    oracle_.OnMessageFault();
    return;
  }
  if (plan_.has(Fault::kOldMessage) && faults_on_ && prng_.Chance(60)) {
    if (world.kept[end].size() < kKeptMax) {
      world.kept[end].push_back(message);
    } else {
      world.kept[end][prng_.Below(kKeptMax)] = message;
    }
  }
  if (now_ < world.dead_until[end]) {
    Trace("  lost in a partition");
    oracle_.OnMessageFault();
    return;
  }
  const uint32_t p = plan_.message_fault_permille;
  if (Faulty(Fault::kLoss, p)) {
    Count(Fault::kLoss);
    Trace("  lost");
    oracle_.OnMessageFault();
    return;
  }
  if (Faulty(Fault::kBitFlip, p / 2)) {
    Count(Fault::kBitFlip);
    oracle_.OnMessageFault();
    if (std::holds_alternative<RelayFrame>(message)) oracle_.OnFrameChanged();
    Tamper(prng_, message);
    if (trace_) Trace("  changed: " + Describe(message));
  }
  Duration delay = prng_.Between(Duration::Micros(100), plan_.delay_max);
  bool in_order = true;
  if (Faulty(Fault::kDelay, p / 2)) {
    Count(Fault::kDelay);
    oracle_.OnMessageFault();
    delay = delay + Duration::Millis(prng_.Between(100, 12'000));
    in_order = false;
  }
  if (Faulty(Fault::kReorder, p)) {
    Count(Fault::kReorder);
    // Transports keep order: what is overtaken may be refused, as frames are whose lease is not
    // confirmed yet.
    oracle_.OnMessageFault();
    in_order = false;
    delay = delay + prng_.Between(Duration{}, plan_.delay_max * 4);
  }
  if (Faulty(Fault::kDoubling, p)) {
    Count(Fault::kDoubling);
    Deliver(from, *to, message, delay + prng_.Between(Duration{}, Duration::Millis(500)), false);
  }
  Deliver(from, *to, std::move(message), delay, in_order);
}

void World::Deliver(size_t from, size_t to, KxMessage message, Duration delay, bool in_order) {
  const size_t link = *plan_.LinkBetween(from, to);
  Instant at = now_ + delay;
  if (in_order) {
    Instant& last = links_[link].last_arrival[EndOf(link, from)];
    at = std::max(at, last);
    last = at;
  }
  At(at - now_, [this, from, to, message = std::move(message)]() mutable {
    if (!hosts_[to].up()) return oracle_.OnMessageFault();
    if (saboteur_.OnIncoming(from, to, message)) {
      Feed(to, PeerMessage{plan_.nodes[from], std::move(message)});
    }
  });
}

void World::Connect(size_t link) {
  LinkWorld& world = links_[link];
  const size_t a = plan_.links[link].a;
  const size_t b = plan_.links[link].b;
  if (!hosts_[a].up() || !hosts_[b].up()) return;  // The one that starts later connects.
  if (world.connected[0] && world.connected[1]) return;
  if (now_ < world.cut_until) return;
  ++world.transport;
  for (size_t end : {size_t{0}, size_t{1}}) {
    const size_t node = NodeAt(link, end);
    if (!hosts_[node].up()) continue;
    if (world.connected[end]) Disconnect(link, end);
    world.connected[end] = true;
    Feed(node, PeerConnected{plan_.nodes[NodeAt(link, 1 - end)]});
  }
}

void World::Disconnect(size_t link, size_t end) {
  LinkWorld& world = links_[link];
  if (!world.connected[end]) return;
  world.connected[end] = false;
  Feed(NodeAt(link, end), PeerDisconnected{plan_.nodes[NodeAt(link, 1 - end)]});
}

}  // namespace keyhop::sim
