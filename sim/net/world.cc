#include "sim/net/world.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "kms/base/check.h"
#include "kms/base/overload.h"

namespace keyhop::sim {
namespace {

// Keys that slaves fetched and ask for once more after their node's start.
constexpr size_t kAskedAgain = 4;
constexpr size_t kAskedAgainAfterRestore = 24;

}  // namespace

std::string SimAuthority::Sum(const NodeId& origin, const std::vector<uint8_t>& layout) const {
  TraceHash hash;
  hash.Add(seed_);
  for (char c : origin.value) hash.Add(static_cast<uint8_t>(c));
  hash.Add(std::span<const uint8_t>(layout));
  return std::to_string(hash.value());
}

World::World(uint64_t seed, std::optional<Bug> bug, std::function<void(const std::string&)> trace,
             Watch watch)
    : World(Plan::Draw(seed), bug, std::move(trace), watch) {}

World::World(Plan plan, std::optional<Bug> bug, std::function<void(const std::string&)> trace,
             Watch watch)
    : plan_(std::move(plan)),
      truth_(plan_.seed, plan_.links),
      oracle_(plan_, truth_, watch),
      saboteur_(bug, plan_, truth_),
      trace_(std::move(trace)),
      prng_(Prng::Mix(plan_.seed, 2)),
      retry_prng_(Prng::Mix(plan_.seed, 3)),
      split_prng_(Prng::Mix(plan_.seed, 6)),
      stream_prng_(Prng::Mix(plan_.seed, 4)) {
  hosts_.resize(plan_.nodes.size());
  links_.resize(plan_.links.size());
  if (saboteur_.Is(Bug::kModuleRepeatsRun)) truth_.RepeatRuns();
}

World::~World() = default;

void World::Observe(size_t, size_t, const KxMessage&) {}

void World::Trace(const std::string& line) {
  if (trace_) {
    const int64_t ms = now_.ns / 1'000'000;
    trace_(std::to_string(ms / 1000) + "." + std::to_string(1000 + ms % 1000).substr(1) + " " +
           line);
  }
}

bool World::Faulty(Fault fault, uint32_t permille) {
  return faults_on_ && plan_.has(fault) && prng_.Chance(permille);
}

void World::At(Duration delay, Action action) {
  size_t slot = actions_.size();
  if (free_slots_.empty()) {
    actions_.push_back(std::move(action));
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
    actions_[slot] = std::move(action);
  }
  events_.push(Event{now_ + delay, next_event_++, slot});
}

void World::StepEvent() {
  const Event event = events_.top();
  events_.pop();
  const Action action = std::exchange(actions_[event.slot], nullptr);
  free_slots_.push_back(event.slot);
  now_ = event.at;
  ++result_.events;
  hash_.Add(static_cast<uint64_t>(now_.ns));
  action();
}

void World::RunUntil(Instant end, const std::function<bool()>& stop) {
  while (!oracle_.violation() && !events_.empty() && events_.top().at <= end && !stop()) {
    StepEvent();
    if (result_.events > events_max_) oracle_.Violate("G7", "the network never comes to rest");
  }
}

void World::Begin() {
  for (size_t i = 0; i < hosts_.size(); ++i) {
    hosts_[i].authority = std::make_unique<SimAuthority>(plan_.seed, plan_.nodes[i]);
    At(Duration::Millis(prng_.Between(0, 500)), [this, i] { Boot(i); });
  }
  for (size_t l = 0; l < links_.size(); ++l) {
    const LinkPlan& link = plan_.links[l];
    links_[l].runs.assign(link.module_pairs, 1);
    links_[l].blocks.assign(link.module_pairs, 0);
    for (uint32_t p = 0; p < link.module_pairs; ++p) {
      At(prng_.Between(Duration{}, link.block_interval), [this, l, p] { MakeBlock(l, p); });
    }
  }
}

RunResult World::Run() {
  Begin();
  for (size_t d = 0; d < plan_.demands.size(); ++d) {
    At(Duration::Millis(prng_.Between(1000, 20'000)), [this, d] { DemandTick(d); });
  }
  PlanKeystreams();
  for (size_t s = 0; s < plan_.saes.size(); ++s) {
    if (!plan_.Watches(s)) continue;
    watchers_[s];
    WatchSoon(s, Duration::Millis(prng_.Between(1000, 60'000)));
  }
  At(plan_.incident_interval_max, [this] { Incident(); });

  RunUntil(now_ + plan_.fault_time, [] { return false; });
  if (!oracle_.violation()) StopFaults();
  const Instant deadline = now_ + plan_.heal_time_max;
  RunUntil(deadline, [this] { return healed_ == heal_.size() && KeystreamsHealed(); });
  if (!oracle_.violation() && !KeystreamsHealed()) {
    oracle_.Violate("G4", "a key stream gives no chunk to both ends any more");
  }
  if (!oracle_.violation() && healed_ != heal_.size()) {
    for (const HealPair& pair : heal_) {
      if (pair.done) continue;
      oracle_.Violate("G4", std::to_string(heal_.size() - healed_) + " of " +
                                std::to_string(heal_.size()) + " pairs are not healed, first " +
                                plan_.saes[pair.master].id.value + " to " +
                                plan_.saes[pair.slave].id.value + ": " + pair.state);
    }
  }
  // Without faults every slave hears of every key, or of a gap.
  RunUntil(now_ + plan_.heal_time_max, [this] { return oracle_.AllAnnounced(); });
  if (!oracle_.violation()) oracle_.CheckAnnounced();
  if (!oracle_.violation()) oracle_.CheckBurn();
  for (const Host& host : hosts_) {
    if (!host.up()) continue;
    const auto counters = host.core->Snapshot(Local(host)).counters;
    if (counters.at("supply_keys_expired") > 0) oracle_.Probe("supplied_key_expired");
  }

  result_.violation = oracle_.violation();
  result_.keys_delivered = oracle_.keys_delivered();
  result_.relays = oracle_.relays();
  result_.probes = oracle_.probes();
  hash_.Add(next_event_);
  hash_.Add(prng_.Next());
  result_.trace_hash = hash_.value();
  return std::move(result_);
}

// ---- Nodes.

void World::Boot(size_t node) {
  Host& host = hosts_[node];
  if (host.up()) return;
  ++host.boot;
  Trace(plan_.nodes[node].value + " starts, life " + std::to_string(host.boot));
  const uint64_t life = saboteur_.Is(Bug::kIncarnationRepeats) ? 1 : host.boot;
  host.entropy =
      std::make_unique<SeededEntropy>(Prng::Mix(Prng::Mix(plan_.seed, 0x656e + node), life));
  host.clock_offset = Duration::Millis(prng_.Between(0, 1'000'000));
  auto core = NodeCore::Create(ConfigOf(node), *host.entropy, *host.authority, host.disk.Recover());
  if (!core.ok()) {
    return oracle_.Violate(
        "G4", plan_.nodes[node].value + " does not start: " + std::string(core.status().message()));
  }
  host.core = *std::move(core);
  host.gate = NodeGate();
  host.wake_at.reset();
  oracle_.OnStarted(now_, node);
  Feed(node, DeadlineReached{});
  if (!host.up()) return;
  AttachModules(node);
  for (size_t l = 0; l < links_.size(); ++l) {
    if (plan_.links[l].a != node && plan_.links[l].b != node) continue;
    At(Duration::Millis(prng_.Between(1, 2000)), [this, l] { Connect(l); });
  }
  if (host.boot > 1) AskAgainAfterStart(node);
}

// Slaves that lost their key ask again; nothing may come twice.
void World::AskAgainAfterStart(size_t node) {
  std::vector<KnownKey> keys;
  const auto take = [&](const KnownKey& key) {
    if (HomeOf(key.slave) != node) return;
    keys.push_back(key);
  };
  // A disk image from before a fetch still has the key: of all, those that it may serve again.
  if (std::exchange(host_restored_, std::nullopt) == node) {
    for (const KnownKey& key : fetched_) {
      if (keys.size() < kAskedAgainAfterRestore && key.fetched >= restored_to_) take(key);
    }
  }
  const size_t enough = keys.size() + kAskedAgain;
  for (size_t k = fetched_.size(); k > 0 && keys.size() < enough; --k) take(fetched_[k - 1]);
  for (const KnownKey& key : keys) {
    At(Duration::Millis(prng_.Between(10, 8000)), [this, key] { FetchAgain(key, 12); });
  }
}

void World::Feed(size_t node, Input input) {
  Host& host = hosts_[node];
  if (!host.up() || host.gate.full()) return;
  const int64_t second = now_.ns / 1'000'000'000;
  if (second != host.second) {
    host.second = second;
    host.inputs_this_second = 0;
  }
  if (++host.inputs_this_second > inputs_per_second_max_) {
    return oracle_.Violate("G7", plan_.nodes[node].value + " is kept busy without end");
  }
  hash_.Add(node * 16 + input.index());
  Effects effects = host.core->Step(Local(host), std::move(input));
  saboteur_.OnEffects(node, effects);
  hash_.Add(effects.writes.size() * 4096 + effects.outputs.size());
  host.gate.Push(std::move(effects));
  Pump(node);
  Arm(node);
}

void World::Pump(size_t node) {
  Host& host = hosts_[node];
  StartBatch(node);
  while (host.up()) {
    std::optional<Output> output = host.gate.Pop();
    if (!output) return;
    if (host.crash_after_outputs && (*host.crash_after_outputs)-- == 0) return ReallyCrash(node);
    Release(node, *std::move(output));
  }
}

void World::StartBatch(size_t node) {
  Host& host = hosts_[node];
  if (!host.up() || host.writing) return;
  host.in_flight = host.gate.TakeBatch();
  if (host.in_flight.empty()) return;
  host.writing = true;
  Duration took = prng_.Between(Duration{}, plan_.disk_max);
  if (faults_on_ && now_ < host.slow_until)
    took = took + Duration::Millis(prng_.Between(200, 5000));
  if (std::exchange(host.crash_in_batch, false)) {
    At(took / 2, [this, node, boot = host.boot] {
      if (hosts_[node].boot == boot && hosts_[node].up()) ReallyCrash(node);
    });
  }
  At(took, [this, node, boot = host.boot] {
    if (hosts_[node].boot == boot && hosts_[node].up()) OnDurable(node);
  });
}

void World::OnDurable(size_t node) {
  Host& host = hosts_[node];
  host.writing = false;
  saboteur_.OnBatch(node, host.in_flight);
  for (Record& record : host.in_flight) host.disk.Apply(std::move(record));
  host.in_flight.clear();
  if (host.crash_when_durable) return ReallyCrash(node);
  host.gate.OnDurable();
  Pump(node);
  Arm(node);
}

void World::Release(size_t node, Output output) {
  Host& host = hosts_[node];
  std::visit(
      Overload{[&](SendToPeer& send) { Send(node, send.peer, std::move(send.message)); },
               [&](PadBlockTaken& taken) { OnTaken(node, taken); }, [&](StatusAnswered&) {},
               [&](SwitchDone&) {},
               [&](KeystreamAnswered& answer) {
                 auto found = host.stream_calls.extract(answer.token);
                 if (found.empty()) {
                   return oracle_.Violate("G2", "an answer that nobody asked for");
                 }
                 found.mapped().done(std::move(answer.outcome));
               },
               [&](WatchAnswered& answer) { OnWatchAnswer(node, answer); },
               [&](KeysAnswered& answer) {
                 auto found = host.requests.extract(answer.token);
                 if (found.empty()) {
                   return oracle_.Violate("G2", "an answer that nobody asked for");
                 }
                 Request& request = found.mapped();
                 if (auto* keys = std::get_if<KeyContainer>(&answer.outcome)) {
                   saboteur_.OnAnswer(request.draw, *keys);
                   for (const DeliveredKey& key : keys->keys) {
                     hash_.Bytes(key.id).Bytes(key.key.Expose(SecretAccess::ForSimulation()));
                   }
                   if (request.draw) {
                     oracle_.OnDrawn(now_, *request.draw, *keys, request.asked);
                   }
                   if (request.fetch) oracle_.OnFetched(now_, *request.fetch, *keys);
                 }
                 request.done(std::move(answer.outcome));
               },
               [&](AlarmRaised& alarm) {
                 Trace(plan_.nodes[node].value + " ALARM " + alarm.kind + ": " + alarm.text);
                 oracle_.Probe("alarm_" + alarm.kind);
               }},
      output);
}

void World::Arm(size_t node) {
  Host& host = hosts_[node];
  if (!host.up()) return;
  const std::optional<Instant> local = host.core->NextDeadline();
  if (!local) return;
  const Instant at = std::max(now_, *local + (Duration{} - host.clock_offset));
  if (host.wake_at && *host.wake_at <= at && *host.wake_at >= now_) return;
  host.wake_at = at;
  At(at - now_, [this, node, boot = host.boot, at] {
    Host& h = hosts_[node];
    if (h.boot != boot || !h.up() || h.wake_at != at) return;
    h.wake_at.reset();
    const std::optional<Instant> due = h.core->NextDeadline();
    if (due && *due <= Local(h)) {
      Feed(node, DeadlineReached{});
    }
    Arm(node);
  });
}

// ---- Crashes and disks.

void World::Crash(size_t node, bool restore_image) {
  Host& host = hosts_[node];
  if (!host.up()) return;
  if (restore_image) to_restore_ = node;
  switch (prng_.Below(4)) {
    case 0:
      return ReallyCrash(node);
    case 1:  // Between two of the outputs that come next.
      host.crash_after_outputs = prng_.Below(6);
      break;
    case 2:  // In the middle of a batch.
      host.crash_in_batch = true;
      break;
    default:  // What is under way becomes durable, and nobody hears of it.
      host.crash_when_durable = true;
  }
  At(Duration::Seconds(5), [this, node, boot = host.boot] {
    if (faults_on_ && hosts_[node].up() && hosts_[node].boot == boot) ReallyCrash(node);
  });
}

void World::ReallyCrash(size_t node) {
  GoDown(node);
  At(Duration::Millis(prng_.Between(50, faults_on_ ? 30'000 : 500)), [this, node] { Boot(node); });
}

void World::GoDown(size_t node) {
  Host& host = hosts_[node];
  ++result_.crashes;
  Count(Fault::kCrash);
  oracle_.OnCrashed(now_, node);
  if (host.writing) {
    // A batch is atomic: all of it is there or nothing.
    if (plan_.has(Fault::kBatchUnknown) && prng_.Chance(500)) {
      Count(Fault::kBatchUnknown);
      saboteur_.OnBatch(node, host.in_flight);
      for (Record& record : host.in_flight) host.disk.Apply(std::move(record));
    } else {
      Count(Fault::kBatchLost);
      saboteur_.OnTornBatch(host.in_flight);
      for (Record& record : host.in_flight) host.disk.Apply(std::move(record));
    }
  }
  host.in_flight.clear();
  host.writing = false;
  host.crash_after_outputs.reset();
  host.crash_when_durable = false;
  host.crash_in_batch = false;
  host.core.reset();
  host.gate = NodeGate();
  saboteur_.OnCrash(node);
  Trace(plan_.nodes[node].value + " crashes");
  if (to_restore_ == node && !restored_) {
    for (const Image& image : host.images) {  // Oldest first.
      if (!MayRestore(node, image.disk)) continue;
      Trace(plan_.nodes[node].value + " gets its disk image of " +
            std::to_string((now_ - image.taken).millis() / 1000) + " s ago");
      host.disk.Restore(image.disk);
      restored_ = true;
      restored_to_ = image.taken;
      host_restored_ = node;
      Count(Fault::kOldImage);
      const bool known = NeighboursKnowMore(node, image.disk);
      oracle_.OnImageRestored(node, known);
      for (const SaePlan& sae : plan_.saes) {
        if (!known && sae.node == node) keystream_watch_.OnForgotten(sae.id);
      }
      break;
    }
  }
  for (auto& [token, request] : std::exchange(host.requests, {})) request.lost();
  for (auto& [token, call] : std::exchange(host.stream_calls, {})) call.lost();
  for (const auto& [token, sae] : std::exchange(host.watches, {})) {
    WatchSoon(sae, Duration::Millis(prng_.Between(100, 4000)));
  }
  for (size_t l = 0; l < links_.size(); ++l) {
    if (plan_.links[l].a != node && plan_.links[l].b != node) continue;
    const size_t end = EndOf(l, node);
    links_[l].connected[end] = false;
    links_[l].ends[end].pushing = false;
    const uint64_t transport = links_[l].transport;
    At(Duration::Millis(prng_.Between(5, 4000)), [this, l, end, transport] {
      if (links_[l].transport == transport) Disconnect(l, 1 - end);
    });
  }
}

// DESIGN §2: for fetches an image of the destination's end must be older than the last message that
// the source got (and remembers).
bool World::MayRestore(size_t node, const Disk::Image& image) const {
  const NodeId& self = plan_.nodes[node];
  for (const auto& [key, record] : hosts_[node].disk.image()) {
    const auto* stream_record = std::get_if<StreamRecord>(record.get());
    if (stream_record == nullptr) continue;
    const auto* current = std::get_if<DestinationRecord>(stream_record);
    if (current == nullptr || current->stream.destination != self) continue;
    uint64_t version_then = 0;
    if (const auto it = image.find(key); it != image.end()) {
      version_then = std::get<DestinationRecord>(std::get<StreamRecord>(*it->second)).version;
    }
    if (version_then == current->version) continue;
    const Disk& source = hosts_[*plan_.FindNode(current->stream.source)].disk;
    const std::string source_key = RecordKey(StreamRecord(SourceRecord{.stream = current->stream}));
    const auto seen = source.image().find(source_key);
    if (seen == source.image().end() ||
        std::get<SourceRecord>(std::get<StreamRecord>(*seen->second)).version_seen <=
            version_then) {
      return false;
    }
  }
  return true;
}

// Whether every neighbour would tell the node that it is older than itself, if that matters to what
// it answered under idempotency keys: a draw is known to nobody else.
bool World::NeighboursKnowMore(size_t node, const Disk::Image& image) const {
  const Disk::Image& current = hosts_[node].disk.image();
  for (const LinkPlan& link : plan_.links) {
    if (link.a != node && link.b != node) continue;
    const std::string key = RecordKey(LinkRecordVariant(LinkRecord{.link = link.id}));
    const auto record = [&key](const Disk::Image& disk) {
      const auto it = disk.find(key);
      return it == disk.end() ? LinkRecord{}
                              : std::get<LinkRecord>(std::get<LinkRecordVariant>(*it->second));
    };
    const uint64_t then = record(image).version;
    const size_t peer = link.a == node ? link.b : link.a;
    if (record(current).version != then && record(hosts_[peer].disk.image()).version_seen <= then) {
      return false;
    }
  }
  return true;
}

}  // namespace keyhop::sim
