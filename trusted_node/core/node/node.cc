#include "trusted_node/core/node/node.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "kms/base/status_macros.h"
#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

// Link adverts are looked at this often; Routing decides what is worth flooding.
constexpr Duration kAdvertInterval = Duration::Millis(1000);
// Rounds of work that one step does for itself before it leaves the rest to a timer.
constexpr int kRoundsMax = 64;

absl::Status Validate(const NodeConfig& config) {
  if (config.self.empty() || config.self.value.size() > 64) {
    return absl::InvalidArgumentError("node.id shall have 1 to 64 bytes");
  }
  if (config.routing.self != config.self) {
    return absl::InvalidArgumentError("routing.self is not the node");
  }
  const DeliveryConfig& d = config.delivery;
  if (d.max_key_size_bits > 32'760 || d.min_key_size_bits < 8 ||
      d.key_size_bits < d.min_key_size_bits || d.key_size_bits > d.max_key_size_bits ||
      d.key_size_bits % 8 != 0) {
    return absl::InvalidArgumentError(
        "delivery: sizes shall be multiples of 8 bits, min <= default <= max <= 32760");
  }
  const StreamConfig& s = config.stream;
  if (s.segment_body_bytes < 64 || s.segment_body_bytes > kSegmentBodyBytesMax ||
      s.segment_body_bytes % 4 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "stream.segment_body_bytes shall be a multiple of 4 from 64 to ", kSegmentBodyBytesMax));
  }
  std::set<NodeId> peers;
  for (const LinkSetup& link : config.links) {
    KEYHOP_RETURN_IF_ERROR(link.config.Validate());
    if (link.config.self != config.self) {
      return absl::InvalidArgumentError(
          absl::StrCat("link ", link.config.id.value, " does not start at this node"));
    }
    if (!peers.insert(link.config.peer).second) {
      return absl::InvalidArgumentError(absl::StrCat("two links to node ", link.config.peer.value));
    }
  }
  return absl::OkStatus();
}

}  // namespace

NodeCore::NodeCore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NodeCore::~NodeCore() = default;

absl::StatusOr<std::unique_ptr<NodeCore>> NodeCore::Create(NodeConfig config,
                                                           EntropySource& entropy,
                                                           LinkStateAuthority& authority,
                                                           std::vector<Record> recovered) {
  KEYHOP_RETURN_IF_ERROR(Validate(config));
  auto impl = std::make_unique<Impl>(std::move(config), entropy, authority);
  KEYHOP_RETURN_IF_ERROR(impl->Recover(std::move(recovered)));
  return std::unique_ptr<NodeCore>(new NodeCore(std::move(impl)));
}

absl::Status NodeCore::Impl::Recover(std::vector<Record> recovered) {
  std::map<LinkId, std::vector<LinkRecordVariant>> of_link;
  std::map<PairWith, std::vector<StreamRecord>> of_source;
  std::map<PairWith, std::vector<StreamRecord>> of_destination;
  std::vector<DirectoryRecord> directory;
  std::optional<RoutingRecord> routing_record;
  std::set<LinkId> down;
  std::vector<AnnounceRecord> announced;
  Quotas::Table operators_quotas;
  std::vector<IdempotencyRecord> idempotency_records;
  std::optional<RunTimeRecord> run_time;
  std::vector<KeystreamRecord> keystream_records;
  std::vector<KeystreamChunkRecord> keystream_chunks;
  const auto file_stream = [&](const StreamId& stream, bool at_source, StreamRecord record) {
    if (at_source) {
      of_source[{stream.destination, stream.paths}].push_back(std::move(record));
    } else {
      of_destination[{stream.source, stream.paths}].push_back(std::move(record));
    }
  };
  for (Record& record : recovered) {
    std::visit(Overload{
                   [&](NodeRecord& r) { incarnation_counter = r.incarnation_counter; },
                   [&](DirectoryRecord& r) { directory.push_back(std::move(r)); },
                   [&](AnnounceRecord& r) { announced.push_back(std::move(r)); },
                   [&](RoutingRecord& r) { routing_record = r; },
                   [&](LinkDownRecord& r) { down.insert(r.link); },
                   [&](IdempotencyRecord& r) { idempotency_records.push_back(std::move(r)); },
                   [&](RunTimeRecord& r) { run_time = r; },
                   [&](KeystreamRecord& r) { keystream_records.push_back(std::move(r)); },
                   [&](KeystreamChunkRecord& r) { keystream_chunks.push_back(r); },
                   [&](QuotaRecord& r) { operators_quotas[r.of] = r.quota; },
                   [&](SaeSuspendedRecord& r) { suspended.insert(r.sae); },
                   [&](LinkRecordVariant& r) {
                     const LinkId link = std::visit([](const auto& x) { return x.link; }, r);
                     of_link[link].push_back(std::move(r));
                   },
                   [&](StreamRecord& r) {
                     const StreamId stream = std::visit([](const auto& x) { return x.stream; }, r);
                     const bool at_source =
                         std::visit(Overload{[](const SourceRecord&) { return true; },
                                             [](const SourceSegmentRecord&) { return true; },
                                             [](const EpochRecord& x) { return x.at_source; },
                                             [](const auto&) { return false; }},
                                    r);
                     file_stream(stream, at_source, std::move(r));
                   },
               },
               record);
  }
  own = {++incarnation_counter, entropy.NextU64()};
  for (LinkSetup& setup : config.links) {
    const NodeId peer = setup.config.peer;
    const LinkId id = setup.config.id;
    KEYHOP_ASSIGN_OR_RETURN(
        auto end, LinkEnd::Create(setup.config, std::move(setup.key), own, std::move(of_link[id])));
    links[peer].end = std::move(end);
    links[peer].down = down.contains(id);
    peer_of[id] = peer;
    Touch(Machine::kLink, peer);
  }
  for (auto& [pair, records] : of_source) {
    sources[pair].end = std::make_unique<StreamSource>(
        config.stream, StreamId{config.self, pair.node, pair.paths}, own, std::move(records));
    Touch(Machine::kSource, pair);
  }
  for (const auto& [pair, records] : of_source) {
    if (pair.paths > 1) KeepOpenForWords(pair.node);
  }
  for (auto& [pair, records] : of_destination) {
    if (absl::Status whole = StreamDestination::CheckRecovered(records); !whole.ok()) {
      return absl::DataLossError(
          absl::StrCat("pair stream from ", pair.node.value, ": ", whole.message(),
                       ": the store lost part of a batch, or mixes two states"));
    }
    destinations[pair] = std::make_unique<StreamDestination>(
        config.stream, StreamId{pair.node, config.self, pair.paths}, own, std::move(records));
    Touch(Machine::kDestination, pair);
  }
  quotas = Quotas(config.quotas, std::move(operators_quotas));
  board = std::make_unique<Board>(config.announce, config.self, std::move(announced));
  idempotency.emplace(config.delivery, std::move(idempotency_records), run_time);
  keystreams.emplace(config.keystream, std::move(keystream_records), std::move(keystream_chunks));
  neighbour_heard = links.empty();
  routing = std::make_unique<Routing>(config.routing, authority, std::move(directory),
                                      std::move(routing_record));
  return absl::OkStatus();
}

Effects NodeCore::Step(Instant now, Input input) {
  Impl& node = *impl_;
  node.now = now;
  node.effects = Effects{};
  if (!node.started) {
    KEYHOP_CHECK(std::holds_alternative<DeadlineReached>(input), "the first step only starts");
    node.Start();
  }
  std::visit([&](auto&& x) { node.On(std::move(x)); }, std::move(input));
  node.Finish();
  return std::exchange(node.effects, Effects{});
}

std::optional<Instant> NodeCore::NextDeadline() const {
  if (!impl_->started) return Instant{0};
  if (impl_->timers.empty()) return std::nullopt;
  return impl_->timers.begin()->first;
}

std::map<BookId, uint64_t> NodeCore::TakenTops(const LinkId& link) const {
  const auto it = impl_->peer_of.find(link);
  if (it == impl_->peer_of.end()) return {};
  return impl_->links.at(it->second).end->TakenTops();
}

NodeSnapshot NodeCore::Snapshot(Instant now) const { return impl_->Snapshot(now); }

WriteSeq NodeCore::Impl::Write(Record record) {
  if (effects.seq == 0) effects.seq = ++last_seq;
  effects.writes.push_back(std::move(record));
  return effects.seq;
}

void NodeCore::Impl::Emit(Output output, WriteSeq after) {
  // Nothing leaves before this start's incarnation is durable.
  effects.outputs.push_back({std::max(after, start_seq), std::move(output)});
}

void NodeCore::Impl::SendTo(const NodeId& peer, LinkMessage message, WriteSeq after) {
  Emit(SendToPeer{peer, std::move(message)}, after);
}

void NodeCore::Impl::SendTo(const NodeId& neighbour, const LinkState& state, WriteSeq after) {
  Emit(SendToPeer{neighbour, state}, after);
}

void NodeCore::Impl::Flood(const LinkState& state, const NodeId& except, WriteSeq after) {
  for (const auto& [peer, link] : links) {
    if (link.connected && peer != except) Emit(SendToPeer{peer, state}, after);
  }
}

void NodeCore::Impl::Start() {
  started = true;
  start_seq = Write(NodeRecord{incarnation_counter});
  if (config.burn_open_leases_on_start) BurnOpenLeases();
  routing->Start(now, *this);
  idempotency->Start(now);
  Touch(Machine::kIdempotency, NodeId{});
  keystreams->Start(now, *this);
  Touch(Machine::kKeystreams, NodeId{});
  adverts_at = now;
  Arm({Machine::kAdverts, NodeId{}}, adverts_at);
  Touch(Machine::kRouting, NodeId{});
  Touch(Machine::kBoard, NodeId{});
  EnsurePrefilled();
}

void NodeCore::Impl::On(PeerMessage input) {
  if (!links.contains(input.from)) return;
  std::visit(Overload{
                 [&](LinkMessage& m) { OnLinkMessage(input.from, m); },
                 [&](RelayFrame& m) { OnFrame(input.from, std::move(m)); },
                 [&](RoutedControl& m) { OnControl(input.from, std::move(m)); },
                 [&](LinkState& m) {
                   routing->OnLinkState(now, input.from, m, *this);
                   Touch(Machine::kRouting, NodeId{});
                   EnsurePrefilled();
                 },
             },
             input.message);
}

void NodeCore::Impl::On(FetchAsked input) {
  if (AnsweredByKey(input.token, input.request)) return;
  WriteSeq after = 0;
  auto outcome = FetchNow(input.request, after);
  if (const auto* got = std::get_if<KeyContainer>(&outcome)) {
    ++counters["fetches_ok"];
    counters["keys_fetched"] += got->keys.size();
  } else {
    ++counters["fetches_refused"];
    CountRefusal("fetch", std::get<Refusal>(outcome));
  }
  AnswerKeys(input.token, std::move(outcome), after);
}

Outcome<KeyContainer> NodeCore::Impl::FetchNow(const FetchRequest& request, WriteSeq& after) {
  // A pair at home has no other end that would remember more than an old image of the store: the
  // neighbours do, who hear of each such fetch by the versions of their links.
  const auto master = FindSae(request.master);
  const bool at_home = master && master->home == config.self;
  if (at_home && !neighbour_heard) {
    return Refusal{Refusal::Kind::kUnavailable,
                   "this KME heard no neighbour since it started; retry",
                   {},
                   config.delivery.retry_after};
  }
  auto outcome = delivery.Fetch(now, request, *this, after);
  if (at_home && std::holds_alternative<KeyContainer>(outcome)) RaiseLinkVersions();
  return outcome;
}

void NodeCore::Impl::On(DeadlineReached) {
  for (int i = 0; i < kRoundsMax && !timers.empty() && timers.begin()->first <= now; ++i) {
    const TimerKey key = timers.begin()->second;
    Arm(key, std::nullopt);
    OnTimer(key);
  }
}

void NodeCore::Impl::OnTimer(const TimerKey& key) {
  Touch(key.first, key.second);
  switch (key.first) {
    case Machine::kRouting:
      routing->OnTick(now, *this);
      return;
    case Machine::kAdverts:
      adverts_at = now + kAdvertInterval;
      AdvertiseLinks();
      LookAfterRelays();
      shares.DropOld(now);
      return;
    case Machine::kLink: {
      const NodeId& peer = key.second.node;
      LinkOut out(*this, peer);
      links.at(peer).end->OnTick(now, out);
      LinkMayHaveChanged(peer);
      return;
    }
    case Machine::kSource: {
      SourceEntry& entry = sources.at(key.second);
      entry.end->OnTick(now, TargetOf(key.second, entry), stream_out);
      return;
    }
    case Machine::kDestination:
      destinations.at(key.second)->OnTick(now, stream_out);
      return;
    case Machine::kMulticasts:
      multicasts.OnTick(now, *this);
      return;
    case Machine::kIdempotency:
      idempotency->OnTick(now, *this);
      return;
    case Machine::kKeystreams:
      keystreams->OnTick(now, *this);
      return;
    case Machine::kBoard:
      return;  // Touched: it gets its tick in Finish.
  }
}

void NodeCore::Impl::Finish() {
  if (rollback_found) BurnAfterRollback();
  for (int round = 0; round < kRoundsMax; ++round) {
    // What this node says to itself (a pair at home) is heard in the same step: both ends' writes
    // are one atomic group, so nothing is ahead of the disk.
    while (!to_self.empty() || !segments_to_self.empty()) {
      if (!segments_to_self.empty()) {
        Segment segment = std::move(segments_to_self.front());
        segments_to_self.pop_front();
        DeliverSegment(std::move(segment));
      } else {
        auto body = std::move(to_self.front());
        to_self.pop_front();
        TakeControl(std::move(body));
      }
    }
    std::vector<PairWith> stirred;
    for (const auto& [machine, pair] : std::vector<TimerKey>(touched.begin(), touched.end())) {
      if (machine == Machine::kSource) stirred.push_back(pair);
      if (machine == Machine::kBoard) board->OnTick(now, destinations.ordered(), *this, board_out);
      if (machine == Machine::kLink) {
        ServeQueue(pair.node, links.at(pair.node));
        WakeFirst(links.at(pair.node));
      }
    }
    for (const PairWith& pair : stirred) {
      SourceEntry& entry = sources.at(pair);
      entry.rate.Note(now, entry.end->counters().acknowledged_bytes);
      ServeWaiting(entry);
      TakeSupplyResults(pair, entry);
      entry.end->OnTick(now, TargetOf(pair, entry), stream_out);
      Refill(pair, entry);
      if (entry.announcer) entry.announcer->OnTick(now, *entry.end, stream_out);
    }
    if (!stirred.empty() || touched.contains({Machine::kMulticasts, NodeId{}})) ServeMulticasts();
    if (!stirred.empty() && keystreams->size() > 0) keystreams->OnKey(now, *this);
    const std::set<TimerKey> done = std::exchange(touched, {});
    for (const TimerKey& key : done) {
      Account(key);
      Arm(key, DeadlineOf(key));
    }
    if (to_self.empty() && segments_to_self.empty() && touched.empty()) break;
  }
  for (const TimerKey& key : std::exchange(touched, {})) Arm(key, DeadlineOf(key));
}

std::optional<Instant> NodeCore::Impl::DeadlineOf(const TimerKey& key) const {
  switch (key.first) {
    case Machine::kRouting:
      return routing->NextDeadline();
    case Machine::kAdverts:
      return adverts_at;
    case Machine::kLink: {
      const LinkEntry& link = links.at(key.second.node);
      std::optional<Instant> next = link.end->NextDeadline();
      if (link.waiting.empty()) return next;
      for (const WaitingFrame& waiting : link.waiting) {
        const Instant over = std::min(waiting.until, std::max(waiting.ask_again, now + kAskAgain));
        if (!next || over < *next) next = over;
      }
      return next;
    }
    case Machine::kSource: {
      const SourceEntry& entry = sources.at(key.second);
      std::optional<Instant> next = entry.end->NextDeadline();
      const auto take = [&](Instant t) {
        if (!next || t < *next) next = t;
      };
      if (entry.blocked) take(entry.not_before);
      if (const auto ends = FirstWaitEnds(entry)) take(*ends);
      if (entry.announcer && entry.announcer->NextDeadline())
        take(*entry.announcer->NextDeadline());
      if (next && *next <= now) next = now + config.pool.pace;
      return next;
    }
    case Machine::kDestination:
      return destinations.at(key.second)->NextDeadline();
    case Machine::kBoard:
      return board->NextDeadline();
    case Machine::kMulticasts:
      return MulticastDeadline();
    case Machine::kIdempotency:
      return idempotency->NextDeadline();
    case Machine::kKeystreams:
      return keystreams->NextDeadline();
  }
  return std::nullopt;
}

void NodeCore::Impl::Arm(const TimerKey& key, std::optional<Instant> at) {
  Instant* const stands = armed.Find(key);
  if (stands == nullptr ? !at : at == *stands) return;
  if (stands != nullptr) timers.erase({*stands, key});
  if (!at) return armed.Erase(key);
  timers.insert({*at, key});
  armed.Put(key, *at);
}

}  // namespace keyhop
