// Key streams (ETSI GS QKD 004): draws, fetches, rates and words to other KMEs, as this node has
// them.
#include <algorithm>
#include <utility>

#include "kms/core/delivery/extensions.h"
#include "kms/core/uuid.h"
#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

// Draws for key streams have tokens that no caller's request has.
constexpr uint64_t kDrawTokens = uint64_t{1} << 63;

}  // namespace

std::optional<NodeId> NodeCore::Impl::HomeOf(const SaeId& sae) const {
  const auto entry = routing->FindSae(sae);
  if (!entry) return std::nullopt;
  return entry->home;
}

bool NodeCore::Impl::MayAct(const SaeId& sae) const {
  const auto found = FindSae(sae);
  return found && found->home == config.self;
}

bool NodeCore::Impl::Reachable(const NodeId& home) const {
  if (home == config.self) return true;
  const auto next = routing->NextHop(home);
  const auto link = next ? links.find(*next) : links.end();
  return link != links.end() && link->second.was_open;
}

uint64_t NodeCore::Impl::FreeRateTo(const NodeId& home,
                                    const std::map<NodeId, uint64_t>& reserved) const {
  if (home == config.self) return UINT32_MAX;  // Random numbers of this node.
  using Hop = std::pair<NodeId, NodeId>;
  const auto hops_to = [this](const NodeId& to) {
    std::vector<Hop> hops;
    const std::vector<NodeId> path = routing->PathFor(to, 0);
    for (size_t i = 1; i < path.size(); ++i) hops.emplace_back(path[i - 1], path[i]);
    return hops;
  };
  std::map<Hop, uint64_t> free;
  for (const LinkState& state : routing->Database()) {
    for (const LinkAdvert& link : state.links) {
      free[{state.origin, link.peer}] = link.rate_bps * config.keystream.reservable_percent / 100;
    }
  }
  for (const auto& [peer, link] : links) {
    free[{config.self, peer}] =
        link.end->Levels().rate_bps * config.keystream.reservable_percent / 100;
  }
  for (const auto& [other, bps] : reserved) {
    for (const Hop& hop : hops_to(other)) free[hop] -= std::min(free[hop], bps);
  }
  const std::vector<Hop> hops = hops_to(home);
  if (hops.empty()) return 0;
  uint64_t least = UINT64_MAX;
  for (const Hop& hop : hops) least = std::min(least, free[hop]);
  return least;
}

uint32_t NodeCore::Impl::HopsTo(const NodeId& home) const {
  const auto it = sources.find(home);
  if (it == sources.end() || it->second.last_path.size() < 2) return 0;
  return static_cast<uint32_t>(it->second.last_path.size() - 2);
}

KeyId NodeCore::Impl::NewId() { return RandomUuid(entropy); }

bool NodeCore::Impl::BeginDraw(uint64_t ticket, const SaeId& master, const SaeId& slave,
                               uint32_t number, uint32_t bytes) {
  if (!FindSae(master) || !FindSae(slave)) return false;
  // Where the master's copies have no room, a draw would burn what it took.
  const auto own = destinations.find(config.self);
  if (own != destinations.end() &&
      !own->second->supplies().HasRoom(number, config.stream.supplies_max)) {
    return false;
  }
  DrawRequest draw{.caller = master, .slave = slave, .number = number};
  draw.size_bits = uint64_t{bytes} * 8;
  // The master too has its copy kept, at home, until it asks for it.
  draw.additional_slaves = {master};
  Touch(Machine::kMulticasts, NodeId{});
  return !multicasts.Begin(now, kDrawTokens | ticket, draw, *this).has_value();
}

bool NodeCore::Impl::TookDraw(const Multicasts::Answer& answer) {
  if ((answer.token & kDrawTokens) == 0) return false;
  std::vector<KeyId> ids;
  if (const auto* keys = std::get_if<KeyContainer>(&answer.outcome)) {
    for (const DeliveredKey& key : keys->keys) ids.push_back(key.id);
  }
  keystreams->OnDrawn(now, answer.token & ~kDrawTokens, ids, answer.after, *this);
  Touch(Machine::kKeystreams, NodeId{});
  return true;
}

Outcome<SecretBytes> NodeCore::Impl::Take(const SaeId& caller, const SaeId& master,
                                          const KeyId& key_id, WriteSeq& after) {
  auto outcome = FetchNow({caller, master, {key_id}}, after);
  if (auto* refusal = std::get_if<Refusal>(&outcome)) return std::move(*refusal);
  return std::move(std::get<KeyContainer>(outcome).keys.front().key);
}

StreamDemand NodeCore::Impl::KeystreamDemand(const PairWith& pair) const {
  if (keystreams->size() == 0) return {};
  StreamDemand need;
  if (pair == PairOf({}, config.self, pair.node, config.delivery)) {
    need = keystreams->Demand(pair.node);
  }
  // Words of key streams go by the stream that is not split.
  const bool talks = pair.paths == 1 && keystreams->peers().contains(pair.node);
  return talks ? Larger(need, {.bytes = kOpenBytes}) : need;
}

void NodeCore::Impl::Say(const NodeId& peer, KeystreamNote note, WriteSeq after) {
  SourceEntry* const entry = EnsureSource(peer);
  if (entry == nullptr) return;
  const auto voice = entry->end->voice();
  if (!voice) {
    ++counters["keystream_notes_unsaid"];
    Touch(Machine::kSource, peer);
    return;
  }
  note.session = voice->session;
  note.epoch = voice->epoch;
  note.mac = entry->end->Vouch(voice->epoch, LayoutOf(note));
  SendControl(peer, std::move(note), after);
}

void NodeCore::Impl::TakeNote(const KeystreamNote& note) {
  const NodeId& from = note.stream.source;
  if (note.stream.destination != config.self || from == config.self) return;
  StreamDestination* const end = DestinationFrom(from);
  if (end == nullptr || !end->Believes(note.session, note.epoch, LayoutOf(note), note.mac)) {
    ++counters["keystream_notes_refused"];
    return;
  }
  keystreams->OnNote(now, from, note, *this);
  Touch(Machine::kKeystreams, NodeId{});
}

void NodeCore::Impl::Answer(uint64_t token, Outcome<KeystreamAnswer> outcome, WriteSeq after) {
  Emit(KeystreamAnswered{token, std::move(outcome)}, after);
}

void NodeCore::Impl::On(KeystreamAsked input) {
  keystreams->OnCall(now, input.token, std::move(input.request), *this);
  Touch(Machine::kKeystreams, NodeId{});
}

}  // namespace keyhop
