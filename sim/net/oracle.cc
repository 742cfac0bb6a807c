#include "sim/net/oracle.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <variant>

#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "kms/core/uuid.h"
#include "kms/crypto/mac.h"
#include "sim/net/frame_pads.h"
#include "sim/net/message_bytes.h"
#include "sim/net/oracle_words.h"
#include "trusted_node/core/node/layout.h"

namespace keyhop::sim {
namespace {

constexpr uint64_t kScanOneIn = 8;

// What all hops of one relay say alike.
bool SameHeader(const RelayFrame& a, const RelayFrame& b) {
  return a.kind == b.kind && a.stream == b.stream && a.session == b.session && a.at == b.at &&
         a.body_bytes == b.body_bytes && a.path == b.path && a.check == b.check;
}

}  // namespace

void Oracle::Violate(const char* invariant, const std::string& text) {
  if (!violation_) violation_ = Violation{invariant, text};
}

void Oracle::Probe(absl::string_view name) {
  if (!watching_) return;
  const auto it = probes_.find(name);
  if (it != probes_.end()) {
    ++it->second;
  } else {
    probes_.emplace(name, 1);
  }
}

// ---- Messages.

void Oracle::OnSent(Instant now, size_t from, size_t to, const KxMessage& message) {
  if (!watching_) {
    // Forge needs the leases, in each run alike.
    const auto* link_message = std::get_if<LinkMessage>(&message);
    if (link_message != nullptr && plan_.corrupt) leases_.OnSent(from, *link_message);
    return;
  }
  std::visit(Overload{[&](const LinkMessage& m) { OnLink(from, m); },
                      [&](const RelayFrame& m) { OnFrame(now, from, to, m); },
                      [&](const RoutedControl& m) { OnControl(from, m); }, [](const LinkState&) {}},
             message);
  // Frames of several hops carry payload; the rest is scanned by samples.
  const auto* control = std::get_if<RoutedControl>(&message);
  const auto* stream = control ? std::get_if<StreamMessage>(&control->body) : nullptr;
  const bool announces = stream && std::holds_alternative<Announcements>(*stream);
  if (scanned_++ % kScanOneIn == 0 || announces) ScanForSecrets(message);
}

void Oracle::OnLink(size_t from, const LinkMessage& message) {
  if (!leases_.OnSent(from, message)) {
    Violate("G3", "two lease requests of " + plan_.nodes[from].value + " under one number");
  }
  if (const auto* answer = std::get_if<LinkLeaseAnswer>(&message)) {
    Probe(answer->refused ? "link_lease_refused" : "link_lease_confirmed");
    if (!answer->lacking.empty()) Probe("link_lease_lacking");
  }
}

void Oracle::OnControl(size_t from, const RoutedControl& control) {
  if (control.from != plan_.nodes[from]) {
    Probe("control_passed_on");
    return;
  }
  const auto acknowledge = [&](const StreamId& stream, SegmentKind kind, const StreamAddress& at) {
    const auto it = by_address_.find({stream, kind, at});
    if (it == by_address_.end()) return;
    Relay& relay = *it->second;
    if (relay.acknowledged) return;
    relay.acknowledged = true;
    if (stream.paths > 1) {
      Probe("split_segment_delivered");
      if (splits_.at({stream, kind, at}).forged) {
        return Violate("G1", "a segment was accepted of which a share was changed");
      }
    }
    Probe(relay.first.path.size() > 2 ? "multi_hop_relay_delivered" : "one_hop_relay_delivered");
    if (relay.first.path.size() > 4) Probe("long_relay_delivered");
  };
  std::visit(
      Overload{
          [&](const StreamMessage& stream) {
            std::visit(
                Overload{
                    [&](const SegmentAck& m) { acknowledge(m.stream, SegmentKind::kBody, m.at); },
                    [&](const OpeningAnswer& m) {
                      if (m.accepted) acknowledge(m.stream, SegmentKind::kOpening, {m.epoch, 0});
                      Probe(m.accepted ? "epoch_opened" : "opening_refused");
                      if (m.accepted && m.epoch > 1) Probe("epoch_reopened");
                    },
                    [&](const StreamLeaseAnswer& m) {
                      Probe(m.refused ? "stream_lease_refused" : "stream_lease_confirmed");
                      if (!m.lacking.empty()) Probe("stream_lease_lacking");
                    },
                    [&](const SupplyAnswer& m) {
                      Probe(m.outcome == SupplyOutcome::kStands    ? "supply_stands"
                            : m.outcome == SupplyOutcome::kRefused ? "supply_refused"
                                                                   : "supply_cancelled");
                    },
                    [&](const LacksKey&) { Probe("lacks_key_said"); },
                    [&](const VersionReport&) { Probe("version_reported"); }, [](const auto&) {}},
                stream);
          },
          [&](const KeystreamNote& m) {
            if (!m.chunks.empty()) Probe("keystream_chunks_told");
            if (m.gone) Probe("keystream_gone_said");
            if (m.conflict) Probe("keystream_conflict_said");
          },
          [&](const RelayRefusal& m) {
            Probe("refusal_" + std::to_string(static_cast<int>(m.reason)));
            Probe("refusal_sent");
            ++burn_allowed_;
          }},
      control.body);
}

// ---- Frames: pads once (G3), secret (G5), authentic (G6).

void Oracle::MarkUsed(size_t link, const BookId& book, uint64_t block, uint32_t begin,
                      uint32_t length, const char* what) {
  std::vector<bool>& bits = used_[{link, book, block}];
  bits.resize(truth_.block_bytes(link));
  for (uint32_t i = begin; i < begin + length; ++i) {
    if (bits[i]) {
      Violate("G3", "pad byte used twice (now as " + std::string(what) + "): link " +
                        plan_.links[link].id.value + ", run " + std::to_string(book.run) +
                        ", block " + std::to_string(block) + ", byte " + std::to_string(i));
      return;
    }
    bits[i] = true;
  }
}

void Oracle::OnFrame(Instant now, size_t from, size_t to, const RelayFrame& frame) {
  const std::optional<size_t> link = plan_.LinkBetween(from, to);
  KEYHOP_CHECK(link.has_value(), "frames go to neighbours only");
  const End end = truth_.EndOf(*link, from);
  std::vector<uint8_t> bytes;
  for (const PadRange& range : frame.pads) {
    if (!truth_.Append(*link, range, end, bytes)) {
      return Violate("G3", "frame " + Name(frame.relay) + " names pads that do not exist");
    }
    MarkUsed(*link, range.book, range.block, range.offset_bytes, range.length_bytes, "pad");
  }
  const size_t payload_bytes = kSegmentHeadBytes + frame.body_bytes;
  if (bytes.size() != 16 + payload_bytes) {
    return Violate("G3", "frame " + Name(frame.relay) + " takes pads of another length");
  }
  const std::vector<uint8_t> s(bytes.begin(), bytes.begin() + 16);
  const std::vector<uint8_t> pad(bytes.begin() + 16, bytes.end());
  const auto known = relays_.find(frame.relay);
  if (known != relays_.end() && known->second.hops_seen > frame.hop) {
    return Violate(
        "G6", "frame " + Name(frame.relay) + " left hop " + std::to_string(frame.hop) + " twice");
  }
  if (frame.hop == 0) {
    OnFirstHop(now, frame, pad);
  } else {
    OnLaterHop(from, frame, pad);
  }
  if (const auto it = relays_.find(frame.relay); it != relays_.end() && !violation_) {
    it->second.hops_seen = static_cast<uint8_t>(frame.hop + 1);
    CheckTag(*link, from, frame, s, it->second.payload);
  }
}

void Oracle::OnFirstHop(Instant now, const RelayFrame& frame, std::vector<uint8_t> payload) {
  // The first hop is free: the payload is the pad. A ciphertext would mean another payload.
  for (size_t i = 0; i < std::min(payload.size(), frame.ciphertext.size()); ++i) {
    payload[i] ^= frame.ciphertext[i];
  }
  if (frame.stream.paths > 1) {
    const SegmentName name{frame.stream, frame.kind, frame.at};
    if (!splits_.contains(name)) CheckAddresses(now, frame);
    OnShare(frame, payload);
  } else {
    CheckAddresses(now, frame);
  }
  if (violation_) return;
  Relay& relay = relays_[frame.relay];
  relay.first = frame;
  relay.payload = std::move(payload);
  if (frame.stream.paths == 1) EnterSegment(relay);
}

void Oracle::OnLaterHop(size_t from, const RelayFrame& frame, const std::vector<uint8_t>& pad) {
  const auto it = relays_.find(frame.relay);
  if (it == relays_.end()) {
    return Violate("G6", "frame " + Name(frame.relay) + " comes from nowhere");
  }
  const Relay& relay = it->second;
  if (frame.hop != relay.hops_seen || frame.path.size() <= size_t{frame.hop} + 1 ||
      frame.path[frame.hop] != plan_.nodes[from] || !SameHeader(frame, relay.first)) {
    return Violate("G6", "frame " + Name(frame.relay) + " was changed or led astray before hop " +
                             std::to_string(frame.hop));
  }
  if (frame.ciphertext.size() != relay.payload.size()) {
    return Violate("G6", "frame " + Name(frame.relay) + " changed its length");
  }
  uint32_t equal_run = 0;
  for (size_t i = 0; i < pad.size(); ++i) {
    equal_run = frame.ciphertext[i] == relay.payload[i] ? equal_run + 1 : 0;
    if (equal_run >= kWindow) {
      return Violate("G5", "frame " + Name(frame.relay) + " shows its payload");
    }
  }
  for (size_t i = 0; i < pad.size(); ++i) {
    if ((frame.ciphertext[i] ^ pad[i]) != relay.payload[i]) {
      return Violate("G6", "frame " + Name(frame.relay) + " carries another payload at hop " +
                               std::to_string(frame.hop) + " than its source gave it");
    }
  }
}

void Oracle::CheckTag(size_t link, size_t from, const RelayFrame& frame,
                      const std::vector<uint8_t>& s, const std::vector<uint8_t>& payload) {
  LeaseWatch::Lease* lease = leases_.Find(link, from, frame);
  if (lease == nullptr) {
    return Violate("G3", "frame " + Name(frame.relay) + " uses a lease that nobody asked for");
  }
  const std::optional<uint64_t> r_block = lease->RBlock();
  const std::optional<std::vector<uint8_t>> r = ROf(truth_, link, from, *lease);
  if (!r) return Violate("G6", "frame " + Name(frame.relay) + " uses an empty lease");
  if (!lease->r_marked) {
    lease->r_marked = true;
    MarkUsed(link, lease->book, *r_block, 0, 16, "r");
  }
  const ByteWriter layout = LayoutOf(frame);
  if (OneTimeTag(*r, s, layout.bytes(), payload) != frame.tag) {
    Violate("G6", "frame " + Name(frame.relay) + " leaves hop " + std::to_string(frame.hop) +
                      " with a wrong tag");
  }
}

void Oracle::LearnSecret(std::span<const uint8_t> bytes) {
  for (size_t i = 0; i + kWindow <= bytes.size(); i += kWindow) secrets_.insert(WindowAt(bytes, i));
}

void Oracle::ScanForSecrets(const KxMessage& message) {
  const std::vector<uint8_t> bytes = BytesOf(message);
  for (size_t i = 0; i + kWindow <= bytes.size(); ++i) {
    const uint64_t window = WindowAt(bytes, i);
    if (secrets_.contains(window) || body_windows_.contains(window)) {
      return Violate("G5", "a " + KindOf(message) + " shows bytes of a key, pad or payload");
    }
  }
}

// ---- Keys: agreement (G1), once (G2).

void Oracle::CheckContent(const KeyId& id, const DrawnKey& key) {
  std::set<uint32_t> segments;
  const uint32_t number = static_cast<uint32_t>(scanned_keys_.size());
  scanned_keys_.push_back(id);
  for (size_t i = 0; i + kWindow <= key.bytes.size(); i += 4) {
    const uint64_t window = WindowAt(key.bytes, i);
    const auto [it, fresh] = key_windows_.emplace(window, number);
    if (!fresh && it->second != number) {
      return Violate("G2", "keys " + FormatUuid(id) + " and " +
                               FormatUuid(scanned_keys_[it->second]) + " share bytes");
    }
    if (const auto found = body_windows_.find(window); found != body_windows_.end()) {
      segments.insert(found->second);
    }
  }
  if (key.bytes.size() < 16) return;
  if (segments.empty()) {
    return Violate("G1", "key " + FormatUuid(id) + " is not made of what the stream carried");
  }
  for (const uint32_t segment : segments) {
    const Relay& relay = *bodies_[segment];
    if (relay.first.stream != key.stream) {
      return Violate("G2", "key " + FormatUuid(id) + " comes from another pair's stream");
    }
    if (!relay.acknowledged) {
      return Violate("G4", "key " + FormatUuid(id) + " was drawn before its bytes were there");
    }
  }
  if (segments.size() > 1) Probe("key_spans_segments");
}

bool Oracle::IsRetry(Instant now, const SaeId& caller, const std::optional<std::string>& key,
                     const KeyContainer& container) {
  if (!key) return false;
  std::vector<KeyId> ids;
  for (const DeliveredKey& delivered : container.keys) ids.push_back(delivered.id);
  const auto found = retries_.OnAnswer(now, HomeOf(caller), caller, *key, std::move(ids));
  if (found.wrong) Violate("G2", *found.wrong);
  if (found.kind == RetryWatch::Kind::kFirst) return false;
  if (found.kind == RetryWatch::Kind::kUncertain) return true;
  Probe(found.kind == RetryWatch::Kind::kRepeated ? "answer_repeated"
                                                  : "answer_repeated_after_start");
  for (const DeliveredKey& delivered : container.keys) {
    const auto drawn = keys_.find(delivered.id);
    const auto bytes = delivered.key.Expose(SecretAccess::ForSimulation());
    if (drawn == keys_.end() || !std::equal(bytes.begin(), bytes.end(), drawn->second.bytes.begin(),
                                            drawn->second.bytes.end())) {
      Violate("G1", "key " + FormatUuid(delivered.id) + " is repeated with other bytes");
    }
  }
  return true;
}

void Oracle::OnDrawn(Instant now, const DrawRequest& request, const KeyContainer& container,
                     std::optional<Instant> asked) {
  AwaitAnnouncements(request, container);
  if (!watching_ || IsRetry(now, request.caller, request.idempotency_key, container)) return;
  const uint64_t bits = request.size_bits.value_or(plan_.delivery.key_size_bits);
  if (container.keys.size() != request.number) {
    return Violate("G2", "a draw gave another number of keys than was asked for");
  }
  const size_t source = HomeOf(request.caller);
  const size_t destination = HomeOf(request.slave);
  for (const DeliveredKey& delivered : container.keys) {
    const std::span<const uint8_t> bytes = delivered.key.Expose(SecretAccess::ForSimulation());
    if (bytes.size() * 8 != bits) return Violate("G2", "a drawn key has another size");
    DrawnKey& key = keys_[delivered.id];
    if (key.drawn) {
      return Violate("G2", "key " + FormatUuid(delivered.id) + " went to a master twice");
    }
    key.drawn = true;
    key.master = request.caller;
    key.slave = request.slave;
    key.additional = {request.additional_slaves.begin(), request.additional_slaves.end()};
    for (const SaeId& sae : key.additional) key.additional_starts[sae] = starts_[HomeOf(sae)];
    if (!key.additional.empty()) Probe("multicast_delivered");
    key.stream = {plan_.nodes[source], plan_.nodes[destination], PathsAskedFor(request)};
    key.bytes.assign(bytes.begin(), bytes.end());
    key.at = now;
    key.asked = asked.value_or(now);
    key.answered_late = !key.additional.empty() || request.idempotency_key.has_value();
    key.source_starts = starts_[source];
    key.destination_starts = starts_[destination];
    key.openings = openings_[key.stream];
    CheckContent(delivered.id, key);
    if (key.source_starts > 1) Probe("draw_after_restart");
  }
}

void Oracle::OnFetched(Instant now, const FetchRequest& request, const KeyContainer& container) {
  if (!watching_ || IsRetry(now, request.caller, request.idempotency_key, container)) return;
  if (container.keys.size() != request.key_ids.size()) {
    return Violate("G2", "a fetch gave another number of keys than was asked for");
  }
  for (size_t i = 0; i < container.keys.size(); ++i) {
    const DeliveredKey& delivered = container.keys[i];
    const std::string name = FormatUuid(delivered.id);
    if (delivered.id != request.key_ids[i]) return Violate("G2", "a fetch gave another key_ID");
    const auto it = keys_.find(delivered.id);
    if (it == keys_.end()) {
      return Violate("G2", "key " + name + " was fetched and never drawn");
    }
    DrawnKey& key = it->second;
    if (!key.names(request.caller) || request.master != key.master) {
      return Violate(
          "G2", "key " + name + " went to " + request.caller.value + ", which it does not name");
    }
    if (!key.fetched.insert(request.caller).second) {
      return Violate("G2", "key " + name + " went to slave " + request.caller.value + " twice");
    }
    const std::span<const uint8_t> bytes = delivered.key.Expose(SecretAccess::ForSimulation());
    if (!std::equal(bytes.begin(), bytes.end(), key.bytes.begin(), key.bytes.end())) {
      return Violate("G1", "key " + name + " differs between master and slave");
    }
    if (request.caller != key.slave) {
      Probe("supplied_key_fetched");
      if (starts_[HomeOf(request.caller)] > key.additional_starts[request.caller]) {
        Probe("supplied_key_fetched_after_restart");
      }
      if (key.fetched.size() == 1 + key.additional.size()) Probe("multicast_fetched_by_all");
      continue;
    }
    ++keys_delivered_;
    if (starts_[HomeOf(key.slave)] > key.destination_starts)
      Probe("fetch_after_restart_of_slave_km");
    if (starts_[HomeOf(key.master)] > key.source_starts) Probe("fetch_after_restart_of_master_km");
  }
}

bool Oracle::MustBeThere(Instant now, const DrawnKey& key, const SaeId& slave) {
  if (!key.names(slave) || key.fetched.contains(slave)) return false;
  if (!key.answered_late) {
    return now - key.at < plan_.stream.fetch_life && openings_[key.stream] == key.openings;
  }
  // It waited for notices, or for the disk to hold its answer.
  StreamId stream = key.stream;
  stream.destination = plan_.nodes[HomeOf(slave)];
  const auto opened = opened_at_.find(stream);
  return now - key.asked < plan_.stream.fetch_life &&
         (opened == opened_at_.end() || opened->second < key.asked);
}

void Oracle::OnFetchRefused(Instant now, const FetchRequest& request, const Refusal& refusal,
                            bool in_doubt) {
  if (!watching_ || refusal.kind != Refusal::Kind::kNotFound || in_doubt || !restored_.empty())
    return;
  // A key that could be drawn is there, until its life ends or a new epoch may have burnt it.
  const bool all_there =
      std::all_of(request.key_ids.begin(), request.key_ids.end(), [&](const KeyId& id) {
        const auto it = keys_.find(id);
        if (it == keys_.end()) return false;
        const DrawnKey& key = it->second;
        return key.master == request.master && MustBeThere(now, key, request.caller);
      });
  if (all_there) {
    Violate("G4",
            "key " + FormatUuid(request.key_ids.front()) + " was drawn and cannot be fetched");
  }
}

// ---- The world's faults.

void Oracle::OnStarted(Instant now, size_t node) {
  ++starts_[node];
  retries_.OnStarted(now, node);
}
void Oracle::OnCrashed(Instant now, size_t node) {
  ++incidents_;
  retries_.OnCrashed(now, node);
}
void Oracle::OnImageRestored(size_t node, bool known) {
  restored_.insert(node);
  retries_.OnImageRestored(node, known);
}

void Oracle::CheckBurn() {
  if (!watching_) return;
  uint64_t lost = 0;
  for (const auto& [id, relay] : relays_) {
    lost += relay.acknowledged || relay.first.stream.paths > 1 ? 0 : 1;
  }
  for (const auto& [name, split] : splits_) lost += split.whole.acknowledged ? 0 : 1;
  uint64_t streams = plan_.nodes.size() * (plan_.nodes.size() - 1);
  for (const DemandPlan& demand : plan_.demands) streams += demand.paths > 1 ? 1 : 0;
  const uint64_t allowed =
      64 + burn_allowed_ + incidents_ * streams * (plan_.stream.segments_in_flight_max + 1);
  if (lost > allowed) {
    Violate("G4", std::to_string(lost) + " segments were burnt, where the faults explain " +
                      std::to_string(allowed));
  }
}

}  // namespace keyhop::sim
