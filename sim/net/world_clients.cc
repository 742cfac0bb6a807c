#include <algorithm>
#include <utility>
#include <variant>

#include "kms/core/delivery/extensions.h"
#include "sim/net/world.h"

namespace keyhop::sim {
namespace {

constexpr size_t kFetchedMax = 256;
constexpr int kTriesMax = 12;
constexpr Duration kAnswerMax = Duration::Seconds(60);
// Names of idempotency keys come round again.
constexpr uint64_t kNamesOfAnSae = 24;
// A slow disk holds an answer back for so long at most.
constexpr Duration kAnswerLate = Duration::Seconds(15);

uint64_t DrawSizeBits(Prng& prng) {
  switch (prng.Below(6)) {
    case 0:
      return 8 * static_cast<uint64_t>(prng.Between(4, 32));
    case 1:
      return 8 * static_cast<uint64_t>(prng.Between(4, 256));
    case 2:
      return prng.Chance(200) ? 16'384 : 8 * static_cast<uint64_t>(prng.Between(4, 600));
    default:
      return 256;
  }
}

}  // namespace

void World::Ask(size_t node, Request request) {
  Host& host = hosts_[node];
  if (!host.up() || host.gate.full()) {
    At(Duration{}, std::move(request.lost));
    return;
  }
  const uint64_t token = next_token_++;
  std::optional<DrawRequest> draw = request.draw;
  std::optional<FetchRequest> fetch = request.fetch;
  if (draw && draw->idempotency_key) oracle_.OnAsked(now_, draw->caller, *draw->idempotency_key);
  if (fetch && fetch->idempotency_key) {
    oracle_.OnAsked(now_, fetch->caller, *fetch->idempotency_key);
  }
  if (draw) saboteur_.OnDraw(*draw);
  if (fetch) saboteur_.OnFetch(*fetch);
  host.requests.emplace(token, std::move(request));
  At(kAnswerMax, [this, node, token] {
    if (hosts_[node].requests.contains(token)) {
      oracle_.Violate("G7", "a request at " + plan_.nodes[node].value + " is never answered");
    }
  });
  if (draw) {
    Feed(node, DrawAsked{token, *std::move(draw)});
  } else {
    Feed(node, FetchAsked{token, *std::move(fetch)});
  }
}

// ---- Demand while faults strike.

void World::DemandTick(size_t index) {
  if (!faults_on_) return;
  const DemandPlan& demand = plan_.demands[index];
  At(prng_.Between(demand.interval / 2, demand.interval * 2), [this, index] { DemandTick(index); });
  const SaeId& master = plan_.saes[demand.master].id;
  DrawRequest draw{.caller = master, .slave = plan_.saes[demand.slave].id};
  draw.number = static_cast<uint64_t>(prng_.Between(1, 5));
  draw.size_bits = demand.any_size ? DrawSizeBits(prng_) : 256;
  if (!demand.additional.empty() && prng_.Chance(500)) {
    for (const size_t i : demand.additional) draw.additional_slaves.push_back(plan_.saes[i].id);
  }
  if (demand.paths > 1 && split_prng_.Chance(600)) {
    AskForPaths(draw, demand.paths);
  }
  draw.idempotency_key = MaybeKeyed(master);
  // Who may repeat a request does so for longer.
  const int tries = draw.idempotency_key ? kTriesMax : kTriesMax / 4;
  if (draw.idempotency_key && retry_prng_.Chance(100))
    DrawFor(demand, draw, 0, now_);  // Two at once.
  DrawFor(demand, std::move(draw), tries, now_);
}

void World::AskForPaths(DrawRequest& draw, uint8_t paths) {
  ExtensionParameter& asked = draw.extension_mandatory.emplace_back();
  asked.name = kPathsExtension;
  asked.number = paths;
}

std::optional<std::string> World::MaybeKeyed(const SaeId& sae) {
  if (!retry_prng_.Chance(400)) return std::nullopt;
  return "k" + std::to_string(keyed_[sae]++ % kNamesOfAnSae);
}

void World::DrawFor(const DemandPlan& demand, DrawRequest draw, int tries, Instant asked_first) {
  const size_t home = plan_.saes[demand.master].node;
  const bool keyed = draw.idempotency_key.has_value();
  const auto again = [this, demand, draw, tries, keyed, asked_first] {
    if (tries == 0 || !faults_on_) return;
    const Duration wait = keyed ? Duration::Millis(retry_prng_.Between(500, 8000))
                                : Duration::Millis(prng_.Between(500, 4000));
    At(wait, [this, demand, draw, tries, keyed, asked_first] {
      DrawFor(demand, draw, tries - 1, keyed ? asked_first : now_);
    });
  };
  Request request;
  request.asked = asked_first;
  request.draw = draw;
  request.lost = again;
  request.done = [this, demand, again, keyed, tries, draw](Outcome<KeyContainer> outcome) {
    if (const auto* keys = std::get_if<KeyContainer>(&outcome)) {
      oracle_.Probe("draw_ok");
      const auto link =
          plan_.LinkBetween(plan_.saes[demand.master].node, plan_.saes[demand.slave].node);
      if (!hosts_[plan_.saes[demand.slave].node].up()) oracle_.Probe("draw_while_slave_km_is_down");
      if (link && (now_ < links_[*link].dead_until[0] || now_ < links_[*link].dead_until[1])) {
        oracle_.Probe("draw_in_partition");
      }
      if (keyed && plan_.has(Fault::kClientGone) && retry_prng_.Chance(300)) {
        Count(Fault::kClientGone);
        return again();  // It did not hear the answer, and asks for it once more.
      }
      // The twin of a request has the keys already.
      if (!keyed || tries > 0) AfterDraw(draw, *keys);
      return;
    }
    const Refusal& refusal = std::get<Refusal>(outcome);
    Trace("  draw refused: " + refusal.message);
    if (refusal.kind == Refusal::Kind::kUnavailable) {
      oracle_.Probe(draw.additional_slaves.empty() ? "draw_unavailable" : "multicast_unavailable");
      again();
    } else if (refusal.kind == Refusal::Kind::kOtherRequest) {
      oracle_.Probe("other_request_refused");
    } else {
      oracle_.Probe("draw_refused");
    }
  };
  Ask(home, std::move(request));
}

void World::AfterDraw(const DrawRequest& draw, const KeyContainer& keys) {
  if (Faulty(Fault::kClientGone, 30)) {
    Count(Fault::kClientGone);
    return;  // The master never heard the key_IDs.
  }
  if (prng_.Chance(60)) Misbehave(draw, keys.keys.front().id);
  FetchDrawn(draw.slave, draw.caller, keys);
  for (const SaeId& slave : draw.additional_slaves) FetchDrawn(slave, draw.caller, keys);
}

void World::FetchDrawn(const SaeId& slave, const SaeId& master, const KeyContainer& keys) {
  std::vector<FetchRequest> fetches;
  if (prng_.Chance(500)) {
    fetches.push_back({slave, master, {}});
    for (const DeliveredKey& key : keys.keys) fetches[0].key_ids.push_back(key.id);
  } else {
    for (const DeliveredKey& key : keys.keys) fetches.push_back({slave, master, {key.id}});
  }
  for (FetchRequest& fetch : fetches) {
    if (prng_.Chance(50)) continue;  // Never asked for.
    Duration wait = Duration::Millis(prng_.Between(5, 3000));
    if (prng_.Chance(100)) wait = Duration::Seconds(prng_.Between(10, 200));
    fetch.idempotency_key = MaybeKeyed(slave);
    At(wait, [this, fetch = std::move(fetch)]() mutable {
      FetchKeys(std::move(fetch), kTriesMax, false, now_);
    });
  }
}

void World::FetchKeys(FetchRequest fetch, int tries, bool in_doubt, Instant asked_first) {
  const auto again = [this, fetch, tries, asked_first](bool doubt) {
    if (tries == 0) return;
    At(Duration::Millis(prng_.Between(1000, 8000)), [this, fetch, tries, doubt, asked_first] {
      FetchKeys(fetch, tries - 1, doubt, asked_first);
    });
  };
  // Served or not: nobody knows; but who can repeat a request gets its answer.
  const bool repeatable = fetch.idempotency_key && now_ + kAnswerLate + kAnswerLate <
                                                       asked_first + plan_.IdempotencyWindow();
  Request request;
  request.fetch = fetch;
  request.lost = [again] { again(true); };
  request.done = [this, fetch, again, in_doubt, repeatable](Outcome<KeyContainer> outcome) {
    if (const auto* keys = std::get_if<KeyContainer>(&outcome)) {
      for (const DeliveredKey& key : keys->keys) {
        const KnownKey known{fetch.master, fetch.caller, key.id, now_};
        if (fetched_.size() >= kFetchedMax) fetched_.erase(fetched_.begin());
        fetched_.push_back(known);
        if (Faulty(Fault::kClientGone, 100) || prng_.Chance(30)) {
          Count(Fault::kClientGone);
          At(Duration::Millis(prng_.Between(10, 60'000)), [this, known] { FetchAgain(known, 3); });
        }
      }
      if (fetch.idempotency_key && retry_prng_.Chance(300)) again(true);
      return;
    }
    const Refusal& refusal = std::get<Refusal>(outcome);
    Trace("  fetch refused: " + refusal.message);
    oracle_.OnFetchRefused(now_, fetch, refusal, in_doubt && !repeatable);
    if (refusal.kind == Refusal::Kind::kUnavailable || refusal.kind == Refusal::Kind::kExhausted) {
      oracle_.Probe("fetch_unavailable");
      again(in_doubt);
    } else if (refusal.kind == Refusal::Kind::kOtherRequest) {
      oracle_.Probe("other_request_refused");
    } else {
      oracle_.Probe("fetch_refused");
    }
  };
  Ask(HomeOf(fetch.caller), std::move(request));
}

// A slave that asks once more for a key it got: the oracle sees if it comes.
void World::FetchAgain(const KnownKey& key, int tries) {
  if (!faults_on_) return;
  Request request;
  request.fetch = FetchRequest{key.slave, key.master, {key.id}};
  const auto again = [this, key, tries] {
    if (tries == 0) return;
    At(Duration::Millis(prng_.Between(300, 4000)),
       [this, key, tries] { FetchAgain(key, tries - 1); });
  };
  request.lost = again;
  request.done = [this, again](Outcome<KeyContainer> outcome) {
    const auto* refusal = std::get_if<Refusal>(&outcome);
    if (refusal == nullptr) return;
    if (refusal->kind == Refusal::Kind::kUnavailable) {
      oracle_.Probe("fetch_before_hello");
      again();
    } else {
      oracle_.Probe("used_key_refused");
    }
  };
  Ask(HomeOf(key.slave), std::move(request));
}

// Somebody asks for what is not theirs.
void World::Misbehave(const DrawRequest& draw, KeyId id) {
  Request request;
  size_t home = HomeOf(draw.slave);
  request.lost = [] {};
  request.done = [this](Outcome<KeyContainer> outcome) {
    const auto* refusal = std::get_if<Refusal>(&outcome);
    if (refusal == nullptr) return;
    if (refusal->kind == Refusal::Kind::kUnauthorized) oracle_.Probe("unauthorized_fetch_refused");
    if (refusal->kind == Refusal::Kind::kNotFound) oracle_.Probe("unknown_key_refused");
  };
  SaeId caller = draw.slave;
  if (prng_.Chance(700)) {
    std::vector<SaeId> others;
    for (const SaePlan& sae : plan_.saes) {
      const auto& more = draw.additional_slaves;
      const bool named = std::find(more.begin(), more.end(), sae.id) != more.end();
      if (sae.id != draw.slave && sae.id != draw.caller && !named) others.push_back(sae.id);
    }
    if (others.empty()) return;
    caller = others[prng_.Below(others.size())];
    // One of the slave's own home is the interesting case.
    for (const SaeId& other : others) {
      if (HomeOf(other) == home) caller = other;
    }
    home = HomeOf(caller);
  } else {
    id[prng_.Below(id.size())] ^= 0x04;
  }
  request.fetch = FetchRequest{caller, draw.caller, {id}};
  Ask(home, std::move(request));
}

// ---- After the faults: every pair gets a key.

// Of a third home, if there is one.
std::optional<size_t> World::AdditionalFor(size_t master, size_t slave) const {
  std::optional<size_t> found;
  for (size_t i = 0; i < plan_.saes.size(); ++i) {
    if (i == master || i == slave) continue;
    const size_t node = plan_.saes[i].node;
    if (node != plan_.saes[master].node && node != plan_.saes[slave].node) return i;
    found = i;
  }
  return found;
}

void World::HealDraw(size_t index) {
  HealPair& pair = heal_[index];
  const SaePlan& master = plan_.saes[pair.master];
  const SaePlan& slave = plan_.saes[pair.slave];
  const auto again = [this, index](const std::string& state) {
    heal_[index].state = state;
    At(Duration::Millis(prng_.Between(1000, 3000)), [this, index] { HealDraw(index); });
  };
  Request request;
  request.draw = DrawRequest{.caller = master.id, .slave = slave.id};
  if (pair.additional) request.draw->additional_slaves = {plan_.saes[*pair.additional].id};
  if (pair.paths > 1) AskForPaths(*request.draw, pair.paths);
  request.lost = [again] { again("the master's node is down"); };
  request.done = [this, index, again, master, slave](Outcome<KeyContainer> outcome) {
    if (const auto* refusal = std::get_if<Refusal>(&outcome)) {
      return again("draw refused: " + refusal->message);
    }
    const KeyContainer& keys = std::get<KeyContainer>(outcome);
    FetchRequest fetch{slave.id, master.id, {keys.keys.front().id}};
    At(Duration::Millis(prng_.Between(5, 300)),
       [this, index, fetch = std::move(fetch)]() mutable { HealFetch(index, std::move(fetch)); });
  };
  Ask(master.node, std::move(request));
}

void World::HealFetch(size_t index, FetchRequest fetch) {
  Request request;
  request.fetch = fetch;
  const auto again = [this, index, fetch](const std::string& state) {
    heal_[index].state = state;
    At(Duration::Millis(prng_.Between(1000, 3000)),
       [this, index, fetch] { HealFetch(index, fetch); });
  };
  request.lost = [again] { again("the slave's node is down"); };
  request.done = [this, index, fetch, again](Outcome<KeyContainer> outcome) {
    const auto* refusal = std::get_if<Refusal>(&outcome);
    if (refusal == nullptr) {
      const std::optional<size_t> more = heal_[index].additional;
      if (more && plan_.saes[*more].id != fetch.caller) {
        HealFetch(index, FetchRequest{plan_.saes[*more].id, fetch.master, fetch.key_ids});
        return;
      }
      heal_[index].done = true;
      ++healed_;
      return;
    }
    oracle_.OnFetchRefused(now_, fetch, *refusal, false);
    if (refusal->kind == Refusal::Kind::kNotFound) {
      oracle_.Probe("drawn_key_was_burnt");
      heal_[index].state = "fetch refused: " + refusal->message;
      At(Duration::Millis(500), [this, index] { HealDraw(index); });
      return;
    }
    again("fetch refused: " + refusal->message);
  };
  Ask(HomeOf(fetch.caller), std::move(request));
}

}  // namespace keyhop::sim
