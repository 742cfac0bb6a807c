#include "sim/scenario/scenario_world.h"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/base/status_macros.h"
#include "kms/config/config.h"
#include "sim/scenario/parts.h"
#include "trusted_node/daemon/core_config.h"

namespace keyhop::sim {
namespace {

constexpr uint32_t kBlockBytesMin = 256;
constexpr uint32_t kBlockBytesMax = 4096;
constexpr size_t kBins = 60;
constexpr int kFetchTries = 20;
constexpr Duration kFetchAgain = Duration::Millis(500);
// A neighbour that is cut off is noticed after about as long as the daemon's keepalive takes.
constexpr Duration kCutNoticedMin = Duration::Millis(1'000);
constexpr Duration kCutNoticedMax = Duration::Millis(3'000);
constexpr Duration kServedLately = Duration::Seconds(60);

SaeId SaeOf(const Site& site) { return SaeId("app-" + site.id); }

// `common`: what all nodes are set to, which the oracle has to know.
Plan PlanOf(const Scenario& scenario, const NodeConfig& common) {
  Plan plan;
  plan.stream = common.stream;
  plan.delivery = common.delivery;
  plan.seed = scenario.text.seed();
  for (const Site& site : scenario.network.sites) plan.nodes.emplace_back(site.id);
  for (const Fibre& fibre : scenario.network.fibres) {
    LinkPlan link;
    link.id = LinkId(scenario.network.sites[fibre.a].id + "=" + scenario.network.sites[fibre.b].id);
    link.a = fibre.a;
    link.b = fibre.b;
    link.rate_bps = fibre.rate_bps;
    // About one block a second where that is neither tiny nor huge.
    link.block_bytes = kBlockBytesMin;
    while (link.block_bytes < kBlockBytesMax && link.block_bytes * 8 < fibre.rate_bps) {
      link.block_bytes *= 2;
    }
    const uint64_t block_bits = uint64_t{link.block_bytes} * 8;
    link.block_interval = Duration{
        static_cast<int64_t>(block_bits * 1'000'000'000 / std::max<uint64_t>(fibre.rate_bps, 1))};
    plan.links.push_back(std::move(link));
  }
  for (size_t i = 0; i < scenario.network.sites.size(); ++i) {
    if (!scenario.network.sites[i].in_span) {
      plan.saes.push_back({SaeOf(scenario.network.sites[i]), i});
    }
  }
  plan.delay_max = FromProto(scenario.text.message_delay_max());
  plan.disk_max = FromProto(scenario.text.commit_max());
  plan.watched = false;
  plan.Index();
  return plan;
}

// The configuration that a key manager of this scenario would have, but for its links.
config::v1::Config ConfigFor(const Scenario& scenario) {
  config::v1::Config config;
  *config.mutable_pools() = scenario.text.pools();
  *config.mutable_delivery() = scenario.text.delivery();
  *config.mutable_lease() = scenario.text.lease();
  *config.mutable_relay() = scenario.text.relay();
  *config.mutable_routing() = scenario.text.routing();
  return config;
}

class ScenarioWorld final : private World {
 public:
  // `common`: the settings of all nodes, in the words of the core; `config` and `link`: in those of
  // a configuration.
  ScenarioWorld(const Scenario& scenario, const NodeConfig& common, config::v1::Config config,
                config::v1::Link link)
      : World(PlanOf(scenario, common), std::nullopt, {}, Watch::kEverything),
        scenario_(scenario),
        common_(std::move(config)),
        link_(std::move(link)) {
    faults_on_ = false;
    events_max_ = UINT64_MAX;
    inputs_per_second_max_ = 5'000'000;
    outcome_.pairs.resize(scenario.demand.size());
    outcome_.links.resize(scenario.network.fibres.size());
    outcome_.nodes.resize(scenario.network.sites.size());
    outcome_.delivered_bits_in_bin.assign(kBins, 0);
    stopped_.assign(scenario.network.fibres.size(), 0);
    stopped_until_.resize(scenario.network.fibres.size());
    for (size_t i = 0; i < scenario.demand.size(); ++i) {
      pair_of_[{scenario.demand[i].master, scenario.demand[i].slave}] = i;
    }
  }

  ScenarioOutcome RunAll(const std::function<void(Duration, Duration)>& progress) {
    const Instant zero = now_;
    begins_ = now_ + FromProto(scenario_.text.warm_up());
    ends_ = begins_ + FromProto(scenario_.text.duration());
    Begin();
    At(begins_ - now_, [this] {
      for (size_t l = 0; l < links_.size(); ++l) outcome_.links[l].made_before_bits = MadeBits(l);
    });
    for (size_t i = 0; i < scenario_.demand.size(); ++i) {
      At(begins_ - now_ + prng_.Between(Duration{}, IntervalOf(i)), [this, i] { Ask(i); });
    }
    for (size_t i = 0; i < scenario_.incidents.size(); ++i) {
      const auto& event = scenario_.text.events(static_cast<int>(i));
      At(begins_ - now_ + FromProto(event.at()), [this, i] { Strike(i); });
    }
    const int64_t steps = 200;
    for (int64_t step = 1; step <= steps && !oracle_.violation(); ++step) {
      RunUntil(zero + (ends_ - zero) * step / steps, [] { return false; });
      progress((ends_ - zero) * step / steps, ends_ - zero);
    }
    CheckRates();
    for (size_t i = 0; i < scenario_.incidents.size(); ++i) {
      outcome_.converged_s.push_back(ConvergedAfter(i));
    }
    outcome_.violation = oracle_.violation();
    outcome_.events = result_.events;
    return std::move(outcome_);
  }

 private:
  // As a daemon would have it: its own configuration, whose links' keys are not in files here.
  NodeConfig ConfigOf(size_t node) const override {
    config::v1::Config config = common_;
    config.mutable_node()->set_id(plan_.nodes[node].value);
    if (!scenario_.network.sites[node].in_span) {
      config.add_saes()->set_id(SaeOf(scenario_.network.sites[node]).value);
    }
    std::vector<size_t> indices;
    for (size_t l = 0; l < plan_.links.size(); ++l) {
      const LinkPlan& plan = plan_.links[l];
      if (plan.a != node && plan.b != node) continue;
      config::v1::Link& link = *config.add_links();
      link = link_;
      link.set_id(plan.id.value);
      link.set_peer(plan_.nodes[plan.a == node ? plan.b : plan.a].value);
      indices.push_back(l);
    }
    auto made = CoreConfigOf(config);
    KEYHOP_CHECK(made.ok(), "the settings were tried before");
    for (size_t i = 0; i < indices.size(); ++i) made->links[i].key = plan_.LinkKey(indices[i]);
    return *std::move(made);
  }

  // ---- Applications.

  uint64_t RequestBits() const {
    return uint64_t{scenario_.text.demand().keys_per_request()} *
           scenario_.text.demand().key_size_bits();
  }
  Duration IntervalOf(size_t pair) const {
    const uint64_t rate = scenario_.demand[pair].rate_bps;
    return Duration{
        static_cast<int64_t>(static_cast<double>(RequestBits()) * 1e9 / static_cast<double>(rate))};
  }

  void Ask(size_t pair) {
    const Duration interval = IntervalOf(pair);
    At(prng_.Between(interval / 2, interval * 3 / 2), [this, pair] { Ask(pair); });
    const PairDemand& demand = scenario_.demand[pair];
    DrawRequest draw{.caller = SaeOf(scenario_.network.sites[demand.master]),
                     .slave = SaeOf(scenario_.network.sites[demand.slave])};
    draw.number = scenario_.text.demand().keys_per_request();
    draw.size_bits = scenario_.text.demand().key_size_bits();
    if (scenario_.text.demand().paths_min() > 1) {
      AskForPaths(draw, static_cast<uint8_t>(scenario_.text.demand().paths_min()));
    }
    ++outcome_.pairs[pair].requests;
    Request request;
    request.draw = draw;
    request.lost = [this, pair] { ++outcome_.pairs[pair].blocked; };
    request.done = [this, pair, draw, asked = now_](Outcome<KeyContainer> outcome) {
      PairOutcome& counts = outcome_.pairs[pair];
      const auto* keys = std::get_if<KeyContainer>(&outcome);
      if (keys == nullptr) {
        ++counts.blocked;
        return;
      }
      counts.drawn_bits += RequestBits();
      counts.latency_ms.push_back(static_cast<uint32_t>((now_ - asked).millis()));
      FetchRequest fetch{.caller = draw.slave, .master = draw.caller, .key_ids = {}};
      for (const DeliveredKey& key : keys->keys) fetch.key_ids.push_back(key.id);
      const Duration way = prng_.Between(Duration::Millis(1), plan_.delay_max * 4);
      At(way, [this, pair, fetch] { FetchFor(pair, fetch, kFetchTries); });
    };
    World::Ask(demand.master, std::move(request));
  }

  void FetchFor(size_t pair, const FetchRequest& fetch, int tries) {
    const auto again = [this, pair, fetch, tries] {
      if (tries > 1) At(kFetchAgain, [=, this] { FetchFor(pair, fetch, tries - 1); });
    };
    Request request;
    request.fetch = fetch;
    request.lost = again;
    request.done = [this, pair, again](Outcome<KeyContainer> outcome) {
      if (const auto* refusal = std::get_if<Refusal>(&outcome)) {
        if (refusal->kind != Refusal::Kind::kBadRequest) again();
        return;
      }
      PairOutcome& counts = outcome_.pairs[pair];
      counts.delivered_bits += RequestBits();
      counts.delivered_ms.push_back((now_ - begins_).millis());
      const int64_t bin = (now_ - begins_).ns / std::max<int64_t>(1, (ends_ - begins_).ns / kBins);
      outcome_.delivered_bits_in_bin[std::clamp<int64_t>(bin, 0, kBins - 1)] += RequestBits();
    };
    World::Ask(scenario_.demand[pair].slave, std::move(request));
  }

  // ---- What happens to the network.

  void Strike(size_t index) {
    const auto& event = scenario_.text.events(static_cast<int>(index));
    const Duration lasts = FromProto(event.lasts());
    const Scenario::Incident& incident = scenario_.incidents[index];
    for (const size_t node : incident.nodes) {
      if (!hosts_[node].up()) continue;
      GoDown(node);
      At(lasts, [this, node] { Boot(node); });
    }
    for (const size_t link : incident.links) {
      StopModule(link, lasts);
      if (event.kind() != scenario::v1::QBER_ALARM) Cut(link, lasts);
    }
  }

  void StopModule(size_t link, Duration lasts) {
    const Instant until = std::min(now_ + lasts, ends_);
    Instant& stopped_until = stopped_until_[link];
    if (until > stopped_until) {
      const Duration more = until - std::max(now_, stopped_until);
      outcome_.links[link].stopped_s += static_cast<double>(more.ns) / 1e9;
      stopped_until = until;
    }
    if (stopped_[link]++ == 0) SetModule(link, false);
    At(lasts, [this, link] {
      if (--stopped_[link] == 0) SetModule(link, true);
    });
  }

  void Cut(size_t link, Duration lasts) {
    LinkWorld& world = links_[link];
    world.cut_until = std::max(world.cut_until, now_ + lasts);
    oracle_.OnTransportFault();
    for (size_t end : {size_t{0}, size_t{1}}) {
      world.dead_until[end] = world.cut_until;
      At(prng_.Between(kCutNoticedMin, kCutNoticedMax), [this, link, end] {
        if (now_ < links_[link].cut_until) Disconnect(link, end);
      });
    }
    At(lasts + Duration::Millis(1), [this, link] { Connect(link); });
  }

  // ---- What is measured.

  void Observe(size_t from, size_t to, const KxMessage& message) override {
    const auto* frame = std::get_if<RelayFrame>(&message);
    if (frame == nullptr) return;
    const size_t link = *plan_.LinkBetween(from, to);
    const uint64_t bits = (frame->body_bytes + kRelayPadBytes) * 8;
    if (now_ < begins_) {
      outcome_.links[link].used_before_bits += bits;
      return;
    }
    outcome_.links[link].used_bits[EndOf(link, from)] += bits;
    if (frame->hop > 0) {
      outcome_.nodes[from].relayed_bytes += frame->body_bytes;
      return;
    }
    outcome_.nodes[from].originated_bytes += frame->body_bytes;
    if (frame->kind != SegmentKind::kBody) return;
    const auto pair = pair_of_.find({from, *plan_.FindNode(frame->stream.destination)});
    if (pair == pair_of_.end()) return;
    std::vector<size_t> path;
    for (const NodeId& node : frame->path) path.push_back(*plan_.FindNode(node));
    PathUse& use = outcome_.pairs[pair->second].paths[std::move(path)];
    use.body_bytes += frame->body_bytes;
    ++use.frames;
  }

  uint64_t MadeBits(size_t link) const {
    uint64_t blocks = 0;
    for (const uint64_t of_module : links_[link].blocks) blocks += of_module;
    return blocks * plan_.links[link].block_bytes * 8;
  }

  // No pair was given more bits than links made: each key bit took a bit of pad on each hop.
  void CheckRates() {
    for (size_t l = 0; l < links_.size(); ++l) {
      LinkOutcome& link = outcome_.links[l];
      link.made_bits = MadeBits(l) - link.made_before_bits;
      const uint64_t used = link.used_before_bits + link.used_bits[0] + link.used_bits[1];
      if (used > MadeBits(l) && !oracle_.violation()) {
        oracle_.Violate("rates", absl::StrCat("link ", plan_.links[l].id.value, " used ", used,
                                              " bits of pad and made ", MadeBits(l)));
      }
    }
  }

  // What hangs together while event `index` lasts, with whatever else lasts when it begins. A link
  // whose modules stop still has pads in stock, and counts.
  Parts PartsDuring(size_t index) const {
    std::set<size_t> links_gone;
    std::set<size_t> nodes_gone;
    const Duration begins = FromProto(scenario_.text.events(static_cast<int>(index)).at());
    for (size_t i = 0; i < scenario_.incidents.size(); ++i) {
      const auto& event = scenario_.text.events(static_cast<int>(i));
      const Duration at = FromProto(event.at());
      if (at > begins || begins >= at + FromProto(event.lasts())) continue;
      const Scenario::Incident& incident = scenario_.incidents[i];
      nodes_gone.insert(incident.nodes.begin(), incident.nodes.end());
      if (event.kind() == scenario::v1::QBER_ALARM) continue;
      links_gone.insert(incident.links.begin(), incident.links.end());
    }
    Parts parts(scenario_.network.sites.size());
    for (size_t l = 0; l < scenario_.network.fibres.size(); ++l) {
      const Fibre& fibre = scenario_.network.fibres[l];
      const bool gone =
          links_gone.contains(l) || nodes_gone.contains(fibre.a) || nodes_gone.contains(fibre.b);
      if (!gone) parts.Join(fibre.a, fibre.b);
    }
    return parts;
  }

  std::optional<double> ConvergedAfter(size_t index) const {
    const auto& event = scenario_.text.events(static_cast<int>(index));
    const int64_t at = FromProto(event.at()).millis();
    const int64_t over = std::min(at + FromProto(event.lasts()).millis(),
                                  FromProto(scenario_.text.duration()).millis());
    Parts left = PartsDuring(index);
    int64_t last = at;
    for (size_t i = 0; i < outcome_.pairs.size(); ++i) {
      const PairDemand& pair = scenario_.demand[i];
      if (!left.Joined(pair.master, pair.slave)) continue;
      const std::vector<int64_t>& times = outcome_.pairs[i].delivered_ms;
      const auto next = std::upper_bound(times.begin(), times.end(), at);
      if (next == times.begin() || *(next - 1) < at - kServedLately.millis()) continue;
      if (next == times.end() || *next > over) return std::nullopt;
      last = std::max(last, *next);
    }
    return static_cast<double>(last - at) / 1000;
  }

  const Scenario& scenario_;
  const config::v1::Config common_;
  const config::v1::Link link_;
  Instant begins_;
  Instant ends_;
  std::map<std::pair<size_t, size_t>, size_t> pair_of_;
  std::vector<int> stopped_;  // Of each link: what stops its modules now.
  std::vector<Instant> stopped_until_;
  ScenarioOutcome outcome_;
};

}  // namespace

absl::StatusOr<ScenarioOutcome> RunScenario(
    const Scenario& scenario, const std::function<void(Duration, Duration)>& progress) {
  const config::v1::Config config = ConfigFor(scenario);
  KEYHOP_ASSIGN_OR_RETURN(const NodeConfig common, CoreConfigOf(config));
  // A link as a key manager has it by default.
  config::v1::Link link;
  KEYHOP_RETURN_IF_ERROR(ParseYaml("{id: l, peer: p, link_key_file: k}", "a link",
                                   NamedFiles::kNotChecked, link,
                                   [] { return std::vector<ConfigProblem>(); }));
  return ScenarioWorld(scenario, common, config, std::move(link)).RunAll(progress);
}

}  // namespace keyhop::sim
