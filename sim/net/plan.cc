#include "sim/net/plan.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kms/base/check.h"
#include "trusted_node/core/routing/disjoint_paths.h"

namespace keyhop::sim {
namespace {

using Edge = std::pair<size_t, size_t>;

std::set<Edge> DrawTopology(Prng& prng, size_t nodes) {
  std::set<Edge> edges;
  const auto add = [&](size_t x, size_t y) {
    if (x != y) edges.emplace(std::min(x, y), std::max(x, y));
  };
  switch (prng.Below(4)) {
    case 0:  // Line.
      for (size_t i = 1; i < nodes; ++i) add(i - 1, i);
      break;
    case 1:  // Ring.
      for (size_t i = 0; i < nodes; ++i) add(i, (i + 1) % nodes);
      break;
    case 2:  // Star.
      for (size_t i = 1; i < nodes; ++i) add(0, i);
      break;
    default:  // A random tree with chords.
      for (size_t i = 1; i < nodes; ++i) add(prng.Below(i), i);
      for (uint64_t chords = prng.Below(nodes); chords > 0; --chords) {
        add(prng.Below(nodes), prng.Below(nodes));
      }
  }
  return edges;
}

template <typename T>
T Pick(Prng& prng, std::initializer_list<T> values) {
  return *(values.begin() + prng.Below(values.size()));
}

void DrawLimits(Prng& prng, Plan& plan) {
  StreamConfig& s = plan.stream;
  s.segment_body_bytes = Pick<uint32_t>(prng, {128, 256, 1024, 4096, 4096});
  s.segments_in_flight_max = Pick<uint32_t>(prng, {1, 2, 4, 16, 16});
  s.segment_timeout = Pick(prng, {Duration::Millis(800), Duration::Seconds(2), Duration::Seconds(5),
                                  Duration::Seconds(20)});
  s.reserve_bytes = Pick<uint64_t>(prng, {4096, 16 * 1024, 64 * 1024});
  s.lease_bytes_min = Pick<uint64_t>(prng, {4, 256, 1024});
  s.lease_bytes_max =
      std::max<uint64_t>(Pick<uint64_t>(prng, {512, 4096, 64 * 1024}), s.segment_body_bytes);
  s.retry = Duration::Millis(prng.Between(200, 3000));
  s.lease_life = Pick(prng, {Duration::Seconds(20), Duration::Seconds(120), Duration::Seconds(3600),
                             Duration::Seconds(3600)});
  s.fetch_life =
      Pick(prng, {Duration::Seconds(60), Duration::Seconds(600), Duration::Seconds(3600)});
  s.epoch_interval_min = Duration::Seconds(Pick<int64_t>(prng, {1, 10, 60}));
  s.report_interval = Duration::Seconds(Pick<int64_t>(prng, {1, 5, 20}));
  // A small table only where units go with age: keys that nobody fetches would fill it for ever.
  s.units_max = s.lease_life + s.fetch_life <= Duration::Seconds(200)
                    ? Pick<uint32_t>(prng, {1024, 16'384})
                    : 16'384;

  LinkConfig& l = plan.link;
  l.lease_bytes_min = Pick<uint64_t>(prng, {1024, 1024, 4096});
  l.lease_bytes_max = Pick<uint64_t>(prng, {8 * 1024, 64 * 1024, 4 * 1024 * 1024});
  l.stock_bytes_max = Pick<uint64_t>(prng, {64 * 1024, 256 * 1024, 64 * 1024 * 1024});
  l.retry = Duration::Millis(prng.Between(200, 2000));
  l.need_interval = Duration::Millis(prng.Between(1000, 8000));
  l.failed_tags_max = Pick<uint32_t>(prng, {1, 8});

  PoolConfig& p = plan.pool;
  // As much as thin links can bring to every pair within the healing time.
  p.target_bytes = plan.nodes.size() > 6   ? Pick<uint64_t>(prng, {512, 1024, 1536})
                   : plan.nodes.size() > 4 ? Pick<uint64_t>(prng, {1024, 2048, 4096})
                                           : Pick<uint64_t>(prng, {1024, 4096, 16 * 1024});
  p.idle_bytes = Pick<uint64_t>(prng, {0, 0, 256});
  p.in_use = Duration::Seconds(Pick<int64_t>(prng, {30, 600}));
  p.prefill = plan.nodes.size() <= 6 && prng.Chance(300);
  p.pace = Duration::Millis(prng.Between(100, 1000));

  DeliveryConfig& d = plan.delivery;
  d.failed_fetches_burst = Pick<uint32_t>(prng, {20, 100});
  d.retry_after = Duration::Millis(prng.Between(200, 3000));
}

// From numbers of its own, so that nothing else of a seed moves.
void DrawPaths(uint64_t seed, Plan& plan) {
  Prng prng(Prng::Mix(seed, 5));
  for (DemandPlan& demand : plan.demands) {
    const uint8_t paths = prng.Chance(700) ? 2 : 3;
    const bool there = plan.HasDisjointPaths(demand.master, demand.slave, paths);
    if (prng.Chance(there ? 600 : 100)) demand.paths = paths;
  }
  if (prng.Chance(500)) plan.corrupt = prng.Below(plan.nodes.size());
}

// From numbers of its own, so that nothing else of a seed moves.
void DrawMulticasts(uint64_t seed, Plan& plan) {
  Prng prng(Prng::Mix(seed, 3));
  for (DemandPlan& demand : plan.demands) {
    if (prng.Chance(400)) continue;
    std::vector<size_t> others;
    for (size_t i = 0; i < plan.saes.size(); ++i) {
      if (i != demand.master && i != demand.slave) others.push_back(i);
    }
    for (uint64_t n = 1 + prng.Below(3); n > 0 && !others.empty(); --n) {
      const size_t at = prng.Below(others.size());
      demand.additional.push_back(others[at]);
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  plan.delivery.supply_wait =
      Pick(prng, {Duration::Millis(800), Duration::Seconds(3), Duration::Seconds(15)});
  plan.stream.supplies_under_way_max = Pick<uint32_t>(prng, {4, 64});
  // Keys that nobody fetches fill a small table until they age.
  plan.stream.supplies_max = Pick<uint32_t>(prng, {4, 4096, 4096, 4096});
  // A notice and its answer may pass all nodes; who does not wait that long gets no answer. Long
  // lines of thin links have no pad to spare for more than one key a pair.
  const Duration round_trip =
      plan.delay_max * static_cast<int64_t>(2 * plan.nodes.size()) + Duration::Millis(200);
  plan.heals_multicasts = plan.stream.supplies_max > 4 && plan.nodes.size() <= 6 &&
                          round_trip < plan.delivery.supply_wait;
}

}  // namespace

Plan Plan::Draw(uint64_t seed) {
  Prng prng(Prng::Mix(seed, 1));
  Plan plan;
  plan.seed = seed;
  // Small worlds are cheaper and reach more odd states; large ones come often enough.
  const size_t count =
      static_cast<size_t>(prng.Chance(600) ? prng.Between(3, 5) : prng.Between(3, 12));
  for (size_t i = 0; i < count; ++i) {
    const char name[] = {'n', static_cast<char>('0' + i / 10), static_cast<char>('0' + i % 10)};
    plan.nodes.emplace_back(std::string(name, sizeof(name)));
  }
  DrawLimits(prng, plan);

  for (const Edge& edge : DrawTopology(prng, count)) {
    LinkPlan link;
    link.id = LinkId(plan.nodes[edge.first].value + "-" + plan.nodes[edge.second].value);
    link.a = edge.first;
    link.b = edge.second;
    link.block_bytes = Pick<uint32_t>(prng, {256, 1024, 2048, 4096});
    const int64_t rate = prng.Between(800, 3000);  // Bytes a second.
    link.block_interval = std::max(Duration::Millis(500),
                                   Duration::Micros(int64_t{link.block_bytes} * 1'000'000 / rate));
    link.module_pairs = prng.Chance(200) ? 2 : 1;
    if (link.module_pairs == 2) link.block_interval = link.block_interval * 2;
    plan.links.push_back(std::move(link));
  }

  for (size_t i = 0; i < count; ++i) {
    const uint64_t homes = count <= 4 ? 1 + prng.Below(2) : prng.Chance(600) ? 1 : 0;
    for (uint64_t k = 0; k < homes; ++k) {
      plan.saes.push_back({SaeId("app-" + plan.nodes[i].value + "-" + std::to_string(k)), i});
    }
  }
  const auto at_home = [&](size_t i) {
    return std::any_of(plan.saes.begin(), plan.saes.end(),
                       [&](const SaePlan& s) { return s.node == i; });
  };
  for (size_t i : {size_t{0}, count - 1}) {  // At least two homes, often far apart.
    if (!at_home(i)) plan.saes.push_back({SaeId("app-" + plan.nodes[i].value + "-0"), i});
  }

  const int64_t demands = prng.Between(3, 8);
  for (int64_t k = 0; k < demands; ++k) {
    DemandPlan demand;
    do {
      demand.master = prng.Below(plan.saes.size());
      demand.slave = prng.Below(plan.saes.size());
    } while (plan.saes[demand.master].node == plan.saes[demand.slave].node);
    demand.interval = Duration::Millis(prng.Between(6'000, 20'000));
    demand.any_size = prng.Chance(400);
    plan.demands.push_back(demand);
  }

  for (bool& on : plan.faults) on = prng.Chance(500);
  plan.message_fault_permille = Pick<uint32_t>(prng, {2, 10, 50, 150});
  plan.incident_interval_max = Duration::Seconds(Pick<int64_t>(prng, {20, 60, 120}));
  plan.delay_max = Duration::Millis(Pick<int64_t>(prng, {2, 20, 200}));
  plan.disk_max = Duration::Millis(Pick<int64_t>(prng, {1, 10, 100}));
  DrawMulticasts(seed, plan);
  DrawPaths(seed, plan);
  plan.fault_time = Duration::Seconds(600);
  plan.heal_time_max = Duration::Seconds(300);
  plan.Index();
  return plan;
}

SecretBytes Plan::LinkKey(size_t index) const {
  SecretBytes key(32);
  SeededEntropy(Prng::Mix(seed, 0x6c6b + index))
      .Fill(key.ExposeMutable(SecretAccess::ForSimulation()));
  return key;
}

void Plan::Index() {
  for (size_t i = 0; i < links.size(); ++i) {
    link_index_[{std::min(links[i].a, links[i].b), std::max(links[i].a, links[i].b)}] = i;
  }
  for (size_t i = 0; i < saes.size(); ++i) sae_index_[saes[i].id] = i;
}

std::optional<size_t> Plan::LinkBetween(size_t x, size_t y) const {
  KEYHOP_CHECK(link_index_.size() == links.size(), "a plan is indexed before it is used");
  const auto it = link_index_.find({std::min(x, y), std::max(x, y)});
  if (it == link_index_.end()) return std::nullopt;
  return it->second;
}

std::optional<size_t> Plan::FindSae(const SaeId& sae) const {
  KEYHOP_CHECK(sae_index_.size() == saes.size(), "a plan is indexed before it is used");
  const auto it = sae_index_.find(sae);
  if (it == sae_index_.end()) return std::nullopt;
  return it->second;
}

std::optional<size_t> Plan::FindNode(const NodeId& id) const {
  const auto it = std::lower_bound(nodes.begin(), nodes.end(), id);
  if (it == nodes.end() || *it != id) return std::nullopt;
  return static_cast<size_t>(it - nodes.begin());
}

Duration Plan::IdempotencyWindow() const {
  return Duration::Seconds(30 + static_cast<int64_t>(seed % 3) * 30);
}

NodeConfig Plan::ConfigOf(size_t node) const {
  NodeConfig config;
  config.self = nodes[node];
  config.stream = stream;
  config.delivery = delivery;
  config.pool = pool;
  config.routing.self = nodes[node];
  config.routing.refresh = Duration::Seconds(20);
  config.routing.expiry = Duration::Seconds(70);
  // By the seed alone: these must not move what else it draws.
  config.delivery.draw_wait = Duration::Seconds(static_cast<int64_t>(seed % 3));
  if (seed % 4 == 1) config.lease_memory_bytes_max = 16 * 1024;
  config.delivery.idempotency_window = IdempotencyWindow();
  if (seed % 5 == 2) config.delivery.idempotency_open_max = 2;
  if (seed % 5 == 2) config.announce.kept_per_sae_max = 16;
  if (seed % 5 == 3) config.announce.queued_max = 8;
  if (seed % 5 == 4) config.announce.watch_life = Duration::Seconds(20);
  config.announce.retry = stream.retry;
  for (const SaePlan& sae : saes) {
    if (sae.node == node) config.routing.saes.push_back(sae.id);
  }
  for (size_t i = 0; i < links.size(); ++i) {
    if (links[i].a != node && links[i].b != node) continue;
    LinkSetup setup;
    setup.config = link;
    setup.config.id = links[i].id;
    setup.config.self = nodes[node];
    setup.config.peer = nodes[links[i].a == node ? links[i].b : links[i].a];
    setup.key = LinkKey(i);
    config.links.push_back(std::move(setup));
  }
  return config;
}

bool Plan::HasDisjointPaths(size_t master, size_t slave, uint8_t paths) const {
  std::vector<DisjointEdge> edges;
  for (const LinkPlan& link : links) {
    const auto a = static_cast<uint32_t>(link.a);
    const auto b = static_cast<uint32_t>(link.b);
    edges.push_back({a, b, 1});
    edges.push_back({b, a, 1});
  }
  return !FindDisjointPaths(edges, std::vector<char>(nodes.size(), 0),
                            static_cast<uint32_t>(saes[master].node),
                            static_cast<uint32_t>(saes[slave].node), paths)
              .empty();
}

}  // namespace keyhop::sim
