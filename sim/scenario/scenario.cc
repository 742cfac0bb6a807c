#include "sim/scenario/scenario.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/config/config.h"
#include "sim/net/prng.h"

namespace keyhop::sim {
namespace {

using scenario::v1::Event;
using Problems = std::vector<ConfigProblem>;

std::optional<size_t> FindSite(const Network& network, const std::string& id) {
  const auto it = std::lower_bound(network.sites.begin(), network.sites.end(), id,
                                   [](const Site& s, const std::string& t) { return s.id < t; });
  if (it == network.sites.end() || it->id != id) return std::nullopt;
  return static_cast<size_t>(it - network.sites.begin());
}

// Works out what the text names; the first thing that is wrong is a problem.
class Resolver {
 public:
  explicit Resolver(Scenario& scenario) : scenario_(scenario), text_(scenario.text) {}

  Problems Resolve() {
    auto network = MakeNetwork(text_.topology(), text_.links(), text_.seed());
    if (!network.ok()) return {{"topology", std::string(network.status().message())}};
    scenario_.network = *std::move(network);
    if (auto problem = Demand(); problem) return {*std::move(problem)};
    for (int i = 0; i < text_.events_size(); ++i) {
      if (auto problem = Incident(i); problem) return {*std::move(problem)};
    }
    return {};
  }

 private:
  std::optional<ConfigProblem> Demand() {
    const scenario::v1::Demand& demand = text_.demand();
    if (demand.key_size_bits() % 32 != 0) {
      return ConfigProblem{"demand.key_size_bits", "expected a multiple of 32"};
    }
    if ((demand.matrix() == scenario::v1::LISTED) != (demand.pairs_size() > 0)) {
      return ConfigProblem{"demand.pairs", "expected with the matrix LISTED, and only with it"};
    }
    std::vector<size_t> homes;
    for (size_t i = 0; i < scenario_.network.sites.size(); ++i) {
      if (!scenario_.network.sites[i].in_span) homes.push_back(i);
    }
    switch (demand.matrix()) {
      case scenario::v1::ALL_PAIRS:
        for (const size_t a : homes) {
          for (const size_t b : homes) {
            if (a != b) scenario_.demand.push_back({a, b, demand.rate_bps()});
          }
        }
        return std::nullopt;
      case scenario::v1::RANDOM_PAIRS:
      case scenario::v1::GRAVITY:
        return SomePairs(homes);
      default:
        return ListedPairs();
    }
  }

  std::optional<ConfigProblem> SomePairs(const std::vector<size_t>& homes) {
    const size_t count = text_.demand().pairs_count();
    if (count > homes.size() * (homes.size() - 1)) {
      return ConfigProblem{"demand.pairs_count",
                           absl::StrCat("more than the network has ordered pairs of nodes: ",
                                        homes.size() * (homes.size() - 1))};
    }
    std::vector<uint64_t> weight(scenario_.network.sites.size(), 1);
    if (text_.demand().matrix() == scenario::v1::GRAVITY) {
      weight.assign(weight.size(), 0);
      for (const Fibre& fibre : scenario_.network.fibres) {
        ++weight[fibre.a];
        ++weight[fibre.b];
      }
    }
    Prng prng(Prng::Mix(text_.seed(), 0x64656d));
    std::set<std::pair<size_t, size_t>> chosen;
    while (chosen.size() < count) {
      const size_t a = homes[prng.Below(homes.size())];
      const size_t b = homes[prng.Below(homes.size())];
      if (a != b) chosen.insert({a, b});
    }
    uint64_t sum = 0;
    for (const auto& [a, b] : chosen) sum += weight[a] * weight[b];
    for (const auto& [a, b] : chosen) {
      const uint64_t rate = text_.demand().rate_bps() * count * weight[a] * weight[b] / sum;
      scenario_.demand.push_back({a, b, std::max<uint64_t>(rate, 1)});
    }
    return std::nullopt;
  }

  std::optional<ConfigProblem> ListedPairs() {
    std::set<std::pair<size_t, size_t>> seen;
    for (int i = 0; i < text_.demand().pairs_size(); ++i) {
      const scenario::v1::Pair& pair = text_.demand().pairs(i);
      const std::string place = absl::StrCat("demand.pairs[", i, "]");
      const std::optional<size_t> master = FindSite(scenario_.network, pair.master());
      const std::optional<size_t> slave = FindSite(scenario_.network, pair.slave());
      if (!master) return NoNode(place + ".master", pair.master());
      if (!slave) return NoNode(place + ".slave", pair.slave());
      if (master == slave) return ConfigProblem{place, "master and slave are the same node"};
      if (!seen.insert({*master, *slave}).second) return ConfigProblem{place, "given twice"};
      scenario_.demand.push_back(
          {*master, *slave, pair.rate_bps() > 0 ? pair.rate_bps() : text_.demand().rate_bps()});
    }
    return std::nullopt;
  }

  static ConfigProblem NoNode(std::string place, const std::string& id) {
    return {std::move(place), absl::StrCat("no node ", id, " in the topology")};
  }

  std::optional<ConfigProblem> Incident(int index) {
    const Event& event = text_.events(index);
    const std::string place = absl::StrCat("events[", index, "]");
    Scenario::Incident incident;
    std::vector<size_t> nodes;
    for (const std::string& id : event.nodes()) {
      const std::optional<size_t> node = FindSite(scenario_.network, id);
      if (!node) return NoNode(place + ".nodes", id);
      nodes.push_back(*node);
    }
    if (FromProto(event.at()) >= FromProto(text_.duration())) {
      return ConfigProblem{place + ".at", "expected less than duration"};
    }
    const std::vector<Fibre>& fibres = scenario_.network.fibres;
    switch (event.kind()) {
      case scenario::v1::NODE_CRASH:
        if (nodes.size() != 1) return ConfigProblem{place + ".nodes", "expected one node"};
        incident.nodes = nodes;
        break;
      case scenario::v1::PARTITION: {
        if (nodes.empty()) return ConfigProblem{place + ".nodes", "expected one side's nodes"};
        const auto inside = [&](size_t site) {
          return std::find(nodes.begin(), nodes.end(), site) != nodes.end();
        };
        for (size_t l = 0; l < fibres.size(); ++l) {
          if (inside(fibres[l].a) != inside(fibres[l].b)) incident.links.push_back(l);
        }
        break;
      }
      default: {
        if (nodes.size() != 2) return ConfigProblem{place + ".nodes", "expected two nodes"};
        const auto between = [&](const Fibre& f) {
          return f.a == std::min(nodes[0], nodes[1]) && f.b == std::max(nodes[0], nodes[1]);
        };
        const auto link = std::find_if(fibres.begin(), fibres.end(), between);
        if (link == fibres.end()) {
          return ConfigProblem{place + ".nodes", "no link joins these two nodes"};
        }
        incident.links.push_back(static_cast<size_t>(link - fibres.begin()));
      }
    }
    scenario_.incidents.push_back(std::move(incident));
    return std::nullopt;
  }

  Scenario& scenario_;
  const scenario::v1::Scenario& text_;
};

}  // namespace

double SecondsOf(const google::protobuf::Duration& duration) {
  return static_cast<double>(FromProto(duration).ns) / 1e9;
}

absl::StatusOr<Scenario> ParseScenario(absl::string_view yaml, const std::string& name) {
  Scenario scenario;
  KEYHOP_RETURN_IF_ERROR(ParseYaml(yaml, name, NamedFiles::kMustExist, scenario.text,
                                   [&] { return Resolver(scenario).Resolve(); }));
  return scenario;
}

absl::StatusOr<Scenario> LoadScenario(const std::string& path) {
  KEYHOP_ASSIGN_OR_RETURN(const std::string text, ReadYamlFile(path, "a scenario"));
  return ParseScenario(text, path);
}

std::string ScenarioHelp() {
  return "# A scenario of keyhop-netsim (YAML): every field with its default, (unit or type, "
         "range) "
         "and meaning.\n" +
         SchemaHelp(*scenario::v1::Scenario::descriptor());
}

}  // namespace keyhop::sim
