// Applications that use key streams (ETSI GS QKD 004): pairs that open a stream at both ends, read
// it mostly in order, at times out of order, skip, close and begin anew under another ID.
#include <algorithm>
#include <utility>

#include "sim/net/world.h"

namespace keyhop::sim {
namespace {

constexpr uint64_t kStreamsMax = 3;
constexpr Duration kAnswerMax = Duration::Seconds(60);

}  // namespace

void World::PlanKeystreams() {
  if (plan_.saes.size() < 2) return;
  const uint64_t count = stream_prng_.Below(kStreamsMax + 1);
  for (uint64_t i = 0; i < count; ++i) {
    const size_t first = stream_prng_.Below(plan_.saes.size());
    const size_t second = stream_prng_.Below(plan_.saes.size());
    if (first == second) continue;
    KeystreamDemand demand;
    demand.saes = {first, second};
    demand.qos = {.chunk_bytes = static_cast<uint32_t>(stream_prng_.Between(8, 64)),
                  .max_bps = static_cast<uint32_t>(stream_prng_.Between(500, 100'000)),
                  .jitter_bps = static_cast<uint32_t>(stream_prng_.Between(0, 5000)),
                  .priority = static_cast<uint32_t>(stream_prng_.Below(4)),
                  .timeout_ms = static_cast<uint32_t>(stream_prng_.Between(500, 8000)),
                  .ttl_s = static_cast<uint32_t>(stream_prng_.Between(10, 300))};
    keystreams_.push_back(demand);
    for (size_t side = 0; side < 2; ++side) {
      At(Duration::Millis(stream_prng_.Between(1000, 20'000)),
         [this, n = keystreams_.size() - 1, side] { KeystreamTick(n, side); });
    }
  }
}

KeyId World::KeystreamId(size_t number) const {
  KeyId id = {};
  const uint64_t tail = Prng::Mix(plan_.seed, number * 1'000'000 + keystreams_[number].life);
  for (size_t i = 0; i < 8; ++i) {
    id[i] = static_cast<uint8_t>(number + 1);
    id[8 + i] = static_cast<uint8_t>(tail >> (8 * i));
  }
  return id;
}

void World::KeystreamSoon(size_t number, size_t side) {
  At(Duration::Millis(stream_prng_.Between(100, 3000)),
     [this, number, side] { KeystreamTick(number, side); });
}

void World::KeystreamTick(size_t number, size_t side) {
  KeystreamDemand& demand = keystreams_[number];
  if (demand.healed) return;
  const SaePlan& sae = plan_.saes[demand.saes[side]];
  const KeyId id = KeystreamId(number);
  KeystreamRequest request;
  uint32_t index = 0;
  bool closes = false;
  if (!demand.open[side]) {
    request = KeystreamOpen{
        sae.id, plan_.saes[demand.saes[0]].id, plan_.saes[demand.saes[1]].id, demand.qos, id,
        false};
  } else if (faults_on_ && stream_prng_.Chance(10)) {
    closes = true;
    request = KeystreamClose{sae.id, id};
  } else {
    index = demand.next[side];
    if (stream_prng_.Chance(100)) index = static_cast<uint32_t>(stream_prng_.Below(index + 4));
    request = KeystreamGet{sae.id, id, index, 0};
  }
  const uint64_t life = demand.life;
  StreamCall call;
  call.lost = [this, number, side] { KeystreamSoon(number, side); };
  call.done = [this, number, side, life, index, closes](Outcome<KeystreamAnswer> outcome) {
    OnKeystream(number, side, life, index, closes, std::move(outcome));
    KeystreamSoon(number, side);
  };
  AskKeystream(sae.node, std::move(request), std::move(call));
}

void World::AskKeystream(size_t node, KeystreamRequest request, StreamCall call) {
  Host& host = hosts_[node];
  if (!host.up() || host.gate.full()) {
    At(Duration{}, std::move(call.lost));
    return;
  }
  const uint64_t token = next_token_++;
  host.stream_calls.emplace(token, std::move(call));
  At(kAnswerMax, [this, node, token] {
    if (hosts_[node].stream_calls.contains(token)) {
      oracle_.Violate("G7",
                      "a key stream's call at " + plan_.nodes[node].value + " is never answered");
    }
  });
  Feed(node, KeystreamAsked{token, std::move(request)});
}

// The two applications agree to go on under a new ID.
void World::NextKeystream(size_t number) {
  KeystreamDemand& demand = keystreams_[number];
  ++demand.life;
  demand.open = {};
  demand.next = {};
}

void World::OnKeystream(size_t number, size_t side, uint64_t life, uint32_t index, bool closes,
                        Outcome<KeystreamAnswer> outcome) {
  KeystreamDemand& demand = keystreams_[number];
  const bool current = demand.life == life;
  if (const auto* refusal = std::get_if<Refusal>(&outcome)) {
    if (current && refusal->kind == Refusal::Kind::kNotFound) NextKeystream(number);
    return;
  }
  auto& answer = std::get<KeystreamAnswer>(outcome);
  oracle_.Probe("keystream_status_" + std::to_string(static_cast<int>(answer.status)));
  Trace(plan_.saes[demand.saes[side]].id.value + " key stream " + std::to_string(number) +
        " index " + std::to_string(index) + " status " +
        std::to_string(static_cast<int>(answer.status)));
  if (!answer.key.empty()) {
    const auto bytes = answer.key.Expose(SecretAccess::ForSimulation());
    hash_.Bytes(answer.id).Bytes(bytes);
    const auto finding =
        keystream_watch_.OnChunk(answer.id, answer.index, plan_.saes[demand.saes[side]].id, bytes);
    if (finding.wrong) return oracle_.Violate(finding.wrong->first, finding.wrong->second);
    if (finding.both) {
      oracle_.Probe("keystream_chunk_at_both_ends");
      if (!faults_on_ && current) demand.healed = true;
    }
  }
  if (!current) return;
  if (closes || answer.status == KeystreamStatus::kIdInUse) return NextKeystream(number);
  if (!demand.open[side]) {
    demand.open[side] = answer.status == KeystreamStatus::kSuccessful;
    return;
  }
  uint32_t& next = demand.next[side];
  if (!answer.key.empty()) next = std::max(next, index + 1);
  // What is not there yet is asked for again; what is gone is passed over: one by one under faults,
  // to the newest after them, or a reader that lags by more than a chunk's life would never catch
  // up.
  if (answer.status == KeystreamStatus::kInsufficientKey && index >= next) {
    const uint32_t newest = static_cast<uint32_t>(answer.next_index);
    next = faults_on_ && index < newest ? index + 1 : newest;
  }
}

bool World::KeystreamsHealed() const {
  // Chunks come by draws with an additional slave: where those need not work again, nor need these.
  // (Copies for masters that read nothing any more can fill a small table for their life, too.)
  if (!plan_.heals_multicasts) return true;
  return std::all_of(keystreams_.begin(), keystreams_.end(),
                     [](const KeystreamDemand& d) { return d.healed; });
}

}  // namespace keyhop::sim
