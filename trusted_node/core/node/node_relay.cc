#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "trusted_node/core/node/layout.h"
#include "trusted_node/core/node/node_impl.h"
#include "trusted_node/core/node/relay.h"

namespace keyhop {
namespace {

constexpr uint8_t kHopLimit = kPathNodesMax;

const char* NameOf(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kNoPad:
      return "no_pad";
    case RefusalReason::kLinkDown:
      return "link_down";
    case RefusalReason::kBadTag:
      return "bad_tag";
    case RefusalReason::kBadPads:
      return "bad_pads";
    case RefusalReason::kNotOnPath:
      return "not_on_path";
    case RefusalReason::kExpired:
      return "expired";
    case RefusalReason::kOverloaded:
      return "overloaded";
  }
  return "unknown";
}

}  // namespace

// ---- Delivery's view of the node.

std::optional<DeliveryContext::Sae> NodeCore::Impl::FindSae(const SaeId& sae) const {
  const auto entry = routing->FindSae(sae);
  if (!entry || (entry->home == config.self && suspended.contains(sae))) return std::nullopt;
  return Sae{entry->home, entry->number};
}

std::optional<SaeId> NodeCore::Impl::LocalSae(uint32_t number) const {
  return routing->LocalSae(number);
}

StreamSource* NodeCore::Impl::SourceTo(const PairWith& pair) {
  SourceEntry* entry = EnsureSource(pair);
  if (entry == nullptr) return nullptr;
  entry->used_until = now + config.pool.in_use;
  Touch(Machine::kSource, pair);
  return entry->end.get();
}

const StreamSource* NodeCore::Impl::FindSourceTo(const PairWith& pair) const {
  const auto it = sources.find(pair);
  return it == sources.end() ? nullptr : it->second.end.get();
}

StreamDestination* NodeCore::Impl::DestinationFrom(const PairWith& pair) {
  const auto it = destinations.find(pair);
  if (it == destinations.end()) return nullptr;
  Touch(Machine::kDestination, pair);
  return it->second.get();
}

NodeCore::Impl::SourceEntry* NodeCore::Impl::EnsureSource(const PairWith& pair) {
  const auto it = sources.find(pair);
  if (it != sources.end()) return &it->second;
  if (sources.size() + destinations.size() >= config.streams_max) return nullptr;
  SourceEntry& entry = sources[pair];
  entry.rate = RecentRate(now);
  entry.end =
      std::make_unique<StreamSource>(config.stream, StreamId{config.self, pair.node, pair.paths},
                                     own, std::vector<StreamRecord>{});
  Touch(Machine::kSource, pair);
  if (pair.paths > 1) KeepOpenForWords(pair.node);
  return &entry;
}

void NodeCore::Impl::KeepOpenForWords(const NodeId& node) {
  SourceEntry* const plain = EnsureSource(node);
  if (plain == nullptr) return;
  plain->talks = true;
  Touch(Machine::kSource, node);
}

StreamDestination* NodeCore::Impl::EnsureDestination(const PairWith& pair) {
  const auto it = destinations.find(pair);
  if (it != destinations.end()) return it->second.get();
  if (sources.size() + destinations.size() >= config.streams_max) return nullptr;
  auto& end = destinations[pair];
  end = std::make_unique<StreamDestination>(config.stream,
                                            StreamId{pair.node, config.self, pair.paths}, own,
                                            std::vector<StreamRecord>{});
  return end.get();
}

void NodeCore::Impl::EnsurePrefilled() {
  if (!config.pool.prefill || config.routing.saes.empty()) return;
  for (const NodeId& home : routing->Homes()) {
    if (home == config.self && config.routing.saes.size() < 2) continue;
    EnsureSource(home);
  }
}

bool NodeCore::Impl::InUse(const SourceEntry& entry) const {
  return config.pool.prefill || (entry.used_until && now < *entry.used_until);
}

StreamDemand NodeCore::Impl::TargetOf(const PairWith& pair, const SourceEntry& entry) const {
  uint64_t target = InUse(entry) ? config.pool.target_bytes : config.pool.idle_bytes;
  if (leases_scarce) {
    // Half of a target is leased ahead: room for a key of any size, or no draw would succeed.
    const uint64_t key_bytes = config.delivery.max_key_size_bits / 8;
    target = std::min(target, 2 * std::max(config.stream.lease_bytes_min, 2 * key_bytes));
  }
  // Half of a target is leased ahead; and twice that, since a key does not go over the end of a run
  // of bytes that touch.
  StreamDemand need = Larger(MulticastDemand(pair), KeystreamDemand(pair));
  if (entry.talks) need = Larger(need, {.bytes = kOpenBytes});
  for (const WaitingDraw& draw : entry.waiting) need = Larger(need, draw.demand);
  if (now < entry.asked_until) need = Larger(need, entry.asked);
  return Larger({target, config.delivery.key_size_bits / 8}, {4 * need.bytes, need.key_bytes});
}

// ---- Segments.

bool NodeCore::Impl::Starving(const SourceEntry& entry, const StreamDemand& target) const {
  const uint64_t usable = entry.end->UsableBytes(target.key_bytes);
  return usable + entry.end->Levels().stock_bytes < target.bytes / 4;
}

uint64_t NodeCore::Impl::ReserveFor(uint8_t priority, uint64_t payload_bytes) {
  return priority >= kPriorityStarving ? 0 : payload_bytes + kTagPadBytes;
}

void NodeCore::Impl::Refill(const PairWith& pair, SourceEntry& entry) {
  if (now < entry.not_before) return;
  entry.blocked = false;
  const StreamDemand target = TargetOf(pair, entry);
  if (target.bytes == 0) return;
  for (uint32_t i = 0; i < config.stream.segments_in_flight_max; ++i) {
    if (entry.end->Levels().in_flight_segments >= entry.window) return;
    const auto wish = entry.end->NextSegment(now, target);
    if (!wish) return;
    if (!LaunchOne(pair, entry, target, *wish)) {
      entry.blocked = true;
      entry.backoff = std::clamp(entry.backoff * 2, config.pool.pace, kBackoffMax);
      entry.not_before = now + entry.backoff;
      return;
    }
  }
}

bool NodeCore::Impl::LaunchOne(const PairWith& pair, SourceEntry& entry, const StreamDemand& target,
                               StreamSource::Wish wish) {
  if (pair.paths > 1) return LaunchShares(pair, entry, target, wish);
  const NodeId& destination = pair.node;
  if (destination == config.self) {
    SecretBytes payload(kSegmentHeadBytes + wish.body_bytes);
    entropy.Fill(payload.ExposeMutable(SecretAccess::ForRelay()));
    SecretBytes copy = payload.Duplicate(SecretAccess::ForRelay());
    auto launched = entry.end->Launch(now, wish, {config.self}, std::move(payload), stream_out);
    entry.last_path = launched.segment.path;
    launched.segment.payload = std::move(copy);
    segments_to_self.push_back(std::move(launched.segment));
    Touch(Machine::kSource, pair);
    return true;
  }
  const bool starving = wish.kind == SegmentKind::kOpening || Starving(entry, target);
  std::vector<NodeId> path =
      WayFor(wish, starving, [&](uint64_t bytes) { return routing->PathFor(destination, bytes); });
  if (path.size() < 2 || path.size() > kPathNodesMax) return false;
  const auto link = links.find(path[1]);
  if (link == links.end() || !link->second.was_open) return false;
  const uint64_t overhead = kTagPadBytes + kSegmentHeadBytes;
  const uint8_t priority = starving ? kPriorityStarving : kPriorityTopUp;
  const uint64_t reserve = std::max(
      ReserveFor(priority, kSegmentHeadBytes + wish.body_bytes),
      OwedToQueue(link->second, entry.last_launch) + OwedToOthers(link->second, pair, entry));
  const uint64_t sendable = link->second.end->SendableBytes();
  const uint64_t free = sendable - std::min(sendable, reserve);
  if (reserve > 0 && free < overhead + kBodyBytesMin) {
    if (starving) {
      SegmentWaits(path[1], link->second, pair, entry, overhead + wish.body_bytes);
    }
    return false;
  }
  if (wish.kind == SegmentKind::kBody && free < overhead + wish.body_bytes &&
      free >= overhead + kBodyBytesMin) {
    wish.body_bytes = static_cast<uint32_t>((free - overhead) / 4 * 4);
  }
  auto pads = link->second.end->TakeForSending(
      now, static_cast<uint32_t>(kSegmentHeadBytes) + wish.body_bytes);
  Touch(Machine::kLink, path[1]);
  if (!pads.ok()) {
    if (starving) {
      SegmentWaits(path[1], link->second, pair, entry, overhead + wish.body_bytes);
    }
    return false;
  }
  SegmentWent(pair, entry);
  entry.last_path = path;
  const auto launched =
      entry.end->Launch(now, wish, path, pads->pad.Duplicate(SecretAccess::ForRelay()), stream_out);
  SendFirstHop(pair, entry, launched, priority, wish.body_bytes, /*share=*/0, std::move(path),
               *pads);
  return true;
}

// The first hop is free: the payload is the pad itself, and nothing of it is sent.
void NodeCore::Impl::SendFirstHop(const PairWith& pair, const SourceEntry& entry,
                                  const StreamSource::Launched& launched, uint8_t priority,
                                  uint32_t body_bytes, uint8_t share, std::vector<NodeId> path,
                                  const TakenPads& pads) {
  const Segment& segment = launched.segment;
  const NodeId next = path[1];
  const uint64_t number = next_relay++;
  relays[number] = {pair, segment.at, path};
  RelayFrame frame;
  frame.link_session = links.at(next).end->session();
  frame.relay = {config.self, own, number};
  frame.kind = segment.kind;
  frame.stream = segment.stream;
  frame.session = segment.session;
  frame.at = segment.at;
  frame.share = share;
  frame.body_bytes = body_bytes;
  frame.path = std::move(path);
  frame.hop = 0;
  frame.priority = priority;
  frame.remaining_ms = static_cast<uint32_t>(entry.end->patience().millis());
  frame.check = segment.check;
  SealFrame(frame, pads, pads.pad, /*first_hop=*/true);
  ++counters["relay_frames_originated"];
  counters["relay_bytes_originated"] += body_bytes;
  Emit(SendToPeer{next, std::move(frame)}, std::max(launched.after, pads.after));
}

void NodeCore::Impl::OnFrame(const NodeId& from, RelayFrame frame) {
  LinkEntry& link = links.at(from);
  if (!CheckShape(frame, config.self, from).ok()) {
    ++counters["relay_malformed"];
    return;
  }
  auto pads = link.end->TakeForReceiving(frame.link_session, frame.pads);
  Touch(Machine::kLink, from);
  if (!pads.ok()) {
    // Seen before, or of another session: nothing in it can be believed, so nobody is answered.
    ++counters["relay_bad_pads"];
    return;
  }
  auto payload = OpenFrame(frame, *pads);
  if (!payload.ok()) {
    ++counters["relay_failed_tags"];
    Emit(AlarmRaised{"failed_tag", absl::StrCat("a frame from ", from.value, " failed its tag")},
         0);
    LinkOut out(*this, from);
    link.end->OnFailedTag(now, out);
    LinkMayHaveChanged(from);
    // What it says of its source cannot be believed either; but if it is so, the source need not
    // wait for its time to be over, and unequal pads are used up soon.
    Refuse(frame, RefusalReason::kBadTag);
    return;
  }
  ++counters["relay_frames_received"];
  counters["relay_bytes_received"] += frame.body_bytes;
  if (frame.path.back() == config.self) {
    Segment segment;
    segment.stream = frame.stream;
    segment.kind = frame.kind;
    segment.session = frame.session;
    segment.at = frame.at;
    segment.path = std::move(frame.path);
    segment.check = frame.check;
    segment.payload = *std::move(payload);
    if (segment.stream.paths > 1) {
      std::optional<Segment> whole = shares.Take(now, std::move(segment), frame.share);
      if (whole) DeliverSegment(*std::move(whole));
      return;
    }
    DeliverSegment(std::move(segment));
    return;
  }
  ForwardFrame(std::move(frame), *payload);
}

void NodeCore::Impl::ForwardFrame(RelayFrame frame, const SecretBytes& payload) {
  const NodeId next = frame.path[frame.hop + 2u];
  const auto link = links.find(next);
  if (link == links.end() || !link->second.was_open) {
    Refuse(frame, RefusalReason::kLinkDown);
    return;
  }
  const uint64_t reserve = ReserveFor(frame.priority, payload.size());
  const uint64_t wanted = reserve + payload.size() + kTagPadBytes;
  const bool urgent = frame.priority >= kPriorityStarving;
  if (!urgent && (!link->second.waiting.empty() || link->second.end->SendableBytes() < wanted)) {
    Refuse(frame, RefusalReason::kNoPad);
  } else if (!link->second.waiting.empty() || !SendOn(next, link->second, frame, payload)) {
    Queue(next, link->second, std::move(frame), payload);
  }
}

bool NodeCore::Impl::SendOn(const NodeId& next, LinkEntry& link, RelayFrame& frame,
                            const SecretBytes& payload) {
  auto pads = link.end->TakeForSending(now, static_cast<uint32_t>(payload.size()));
  Touch(Machine::kLink, next);
  if (!pads.ok()) return false;
  ++frame.hop;
  frame.link_session = link.end->session();
  SealFrame(frame, *pads, payload, /*first_hop=*/false);
  ++counters["relay_frames_forwarded"];
  counters["relay_bytes_forwarded"] += frame.body_bytes;
  Emit(SendToPeer{next, std::move(frame)}, pads->after);
  return true;
}

void NodeCore::Impl::Refuse(const RelayFrame& frame, RefusalReason reason) {
  ++counters[absl::StrCat("relay_refused_", NameOf(reason))];
  SendControl(frame.relay.source, RelayRefusal{frame.relay, config.self, reason}, 0);
}

void NodeCore::Impl::DeliverSegment(Segment segment) {
  if (segment.stream.destination != config.self) return;
  const PairWith source(segment.stream.source, segment.stream.paths);
  // Only an opening makes an end: a stray body has no keys to be checked against.
  StreamDestination* end =
      segment.kind == SegmentKind::kOpening ? EnsureDestination(source) : DestinationFrom(source);
  if (end == nullptr) {
    ++counters["segments_without_stream"];
    return;
  }
  end->OnSegment(now, std::move(segment), stream_out);
  ++counters["segments_delivered"];
  Touch(Machine::kDestination, source);
}

// ---- Control.

void NodeCore::Impl::SendControl(const NodeId& to, ControlBody body, WriteSeq after) {
  if (to == config.self) {
    to_self.push_back(std::move(body));
    return;
  }
  RoutedControl control;
  control.from = config.self;
  control.to = to;
  control.hop_limit = kHopLimit;
  control.body = std::move(body);
  Pass(std::move(control), after);
}

void NodeCore::Impl::Pass(RoutedControl control, WriteSeq after) {
  const auto next = routing->NextHop(control.to);
  const auto link = next ? links.find(*next) : links.end();
  if (link == links.end() || !link->second.was_open) {
    ++counters["control_without_route"];
    return;
  }
  control.link_session = link->second.end->session();
  control.mac = link->second.end->Authenticate(LayoutOf(control).bytes());
  ++counters["control_sent"];
  Emit(SendToPeer{*next, std::move(control)}, after);
}

void NodeCore::Impl::OnControl(const NodeId& from, RoutedControl control) {
  const LinkEntry& link = links.at(from);
  if (!link.end->session_open() || control.link_session != link.end->session() ||
      !EqualConstantTime(link.end->Authenticate(LayoutOf(control).bytes()), control.mac)) {
    ++counters["control_bad_macs"];
    return;
  }
  if (control.to == config.self) {
    TakeControl(std::move(control.body));
    return;
  }
  if (control.hop_limit <= 1) {
    ++counters["control_expired"];
    return;
  }
  --control.hop_limit;
  ++counters["control_forwarded"];
  Pass(std::move(control), 0);
}

void NodeCore::Impl::TakeControl(ControlBody body) {
  if (const auto* note = std::get_if<KeystreamNote>(&body)) return TakeNote(*note);
  if (const auto* refusal = std::get_if<RelayRefusal>(&body)) {
    ++counters[absl::StrCat("relays_lost_", NameOf(refusal->reason))];
    if (refusal->relay.source != config.self || refusal->relay.incarnation != own) return;
    const auto relay = relays.find(refusal->relay.number);
    if (relay == relays.end()) return;
    SourceEntry& entry = sources.at(relay->second.pair);
    entry.end->OnRefused(now, relay->second.at, refusal->reason == RefusalReason::kExpired);
    // The way was not free after all; give its links time to lease.
    entry.window = std::max<uint32_t>(1, entry.window / 2);
    entry.blocked = true;
    entry.backoff = std::clamp(entry.backoff * 2, config.pool.pace * 5, kBackoffMax);
    entry.not_before = now + entry.backoff;
    Touch(Machine::kSource, relay->second.pair);
    relays.erase(relay);
    return;
  }
  const auto& message = std::get<StreamMessage>(body);
  if (TakeAnnouncement(message)) return;
  const StreamId stream = std::visit([](const auto& m) { return m.stream; }, message);
  const bool for_destination = std::holds_alternative<SourceHello>(message) ||
                               std::holds_alternative<StreamLeaseRequest>(message) ||
                               std::holds_alternative<SupplyNotice>(message) ||
                               std::holds_alternative<SupplyCancel>(message);
  if (for_destination) {
    if (stream.destination != config.self) return;
    const PairWith pair(stream.source, stream.paths);
    StreamDestination* end = DestinationFrom(pair);
    if (end == nullptr) {
      // A source that speaks of an epoch which this store never saw.
      if (const auto* hello = std::get_if<SourceHello>(&message)) {
        SendControl(stream.source, LacksKey{stream, hello->epoch, hello->source}, start_seq);
      }
      return;
    }
    end->OnMessage(now, message, stream_out);
    Touch(Machine::kDestination, pair);
    Touch(Machine::kBoard, NodeId{});  // The session may be a new one.
    if (rollback_found) BurnAfterRollback();
  } else {
    const PairWith pair(stream.destination, stream.paths);
    const auto source = sources.find(pair);
    if (stream.source != config.self || source == sources.end()) return;
    SourceEntry& entry = source->second;
    const uint64_t before = entry.end->counters().acknowledged_bytes;
    entry.end->OnMessage(now, message, stream_out);
    if (entry.end->counters().acknowledged_bytes > before) {
      entry.window = std::min(entry.window + 1, config.stream.segments_in_flight_max);
      entry.backoff = {};
    }
    Touch(Machine::kSource, pair);
  }
}

}  // namespace keyhop
