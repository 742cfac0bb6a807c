#include "sim/scenario/topology.h"

#include <rapidjson/document.h>
#include <rapidjson/error/en.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/config/scalars.h"
#include "kms/config/yaml_proto.h"
#include "sim/net/prng.h"
#include "sim/scenario/parts.h"

namespace keyhop::sim {
namespace {

using scenario::v1::LinkModel;
using scenario::v1::Topology;

// "n007" of 120: names ascend as numbers do.
std::string NumberedId(size_t i, size_t of) {
  const size_t digits = std::to_string(of - 1).size();
  std::string number = std::to_string(i);
  return "n" + std::string(digits - number.size(), '0') + number;
}

Network Sites(size_t count) {
  Network network;
  for (size_t i = 0; i < count; ++i) {
    const double angle = 2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(count);
    network.sites.push_back(
        {.id = NumberedId(i, count), .x = std::sin(angle), .y = std::cos(angle)});
  }
  return network;
}

void Join(Network& network, size_t a, size_t b, double length_km) {
  network.fibres.push_back({.a = std::min(a, b), .b = std::max(a, b), .length_km = length_km});
}

Parts PartsOf(const Network& network) {
  Parts parts(network.sites.size());
  for (const Fibre& fibre : network.fibres) parts.Join(fibre.a, fibre.b);
  return parts;
}

double DistanceKm(const Site& a, const Site& b) { return std::hypot(a.x - b.x, a.y - b.y); }

// Joins the part of the first site with the nearest site of another part until there is one part.
// `length_km`: of each such link; 0: as far as it is.
void Connect(Network& network, double length_km) {
  Parts parts = PartsOf(network);
  for (;;) {
    size_t from = 0;
    size_t to = 0;
    double nearest = 0;
    for (size_t i = 0; i < network.sites.size(); ++i) {
      if (!parts.Joined(i, 0)) continue;
      for (size_t j = 0; j < network.sites.size(); ++j) {
        if (parts.Joined(j, 0)) continue;
        const double distance = DistanceKm(network.sites[i], network.sites[j]);
        if (to != from && distance >= nearest) continue;
        from = i;
        to = j;
        nearest = distance;
      }
    }
    if (from == to) return;
    Join(network, from, to, length_km > 0 ? length_km : nearest);
    parts.Join(from, to);
  }
}

Network Random(size_t count, double degree, double length_km, Prng& prng) {
  Network network = Sites(count);
  const double chance = std::min(1.0, degree / static_cast<double>(count - 1));
  const auto bound = static_cast<uint64_t>(chance * 1e9);
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = i + 1; j < count; ++j) {
      if (prng.Below(1'000'000'000) < bound) Join(network, i, j, length_km);
    }
  }
  Connect(network, length_km);
  return network;
}

Network RandomGeometric(size_t count, double degree, double side_km, Prng& prng) {
  Network network = Sites(count);
  for (Site& site : network.sites) {
    site.x = side_km * static_cast<double>(prng.Below(1'000'000)) / 1e6;
    site.y = side_km * static_cast<double>(prng.Below(1'000'000)) / 1e6;
  }
  // So many others lie within this radius on average, borders aside.
  const double radius =
      side_km * std::sqrt(degree / (std::numbers::pi * static_cast<double>(count)));
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = i + 1; j < count; ++j) {
      const double distance = DistanceKm(network.sites[i], network.sites[j]);
      if (distance <= radius) Join(network, i, j, distance);
    }
  }
  Connect(network, 0);
  return network;
}

Network Grid(size_t count, double length_km) {
  Network network = Sites(count);
  const auto width = static_cast<size_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  for (size_t i = 0; i < count; ++i) {
    const size_t row = i / width;
    network.sites[i].x = static_cast<double>(i % width);
    network.sites[i].y = -static_cast<double>(row);
    if (i % width + 1 < width && i + 1 < count) Join(network, i, i + 1, length_km);
    if (i + width < count) Join(network, i, i + width, length_km);
  }
  return network;
}

Network OfFamily(const Topology& topology, uint64_t seed) {
  const size_t count = topology.nodes();
  const double length_km = topology.link_m() / 1000.0;
  Prng prng(Prng::Mix(seed, 0x746f706f));
  switch (topology.family()) {
    case scenario::v1::RANDOM:
      return Random(count, topology.degree(), length_km, prng);
    case scenario::v1::RANDOM_GEOMETRIC:
      return RandomGeometric(count, topology.degree(), length_km, prng);
    case scenario::v1::GRID:
      return Grid(count, length_km);
    default:
      break;
  }
  Network network = Sites(count);
  if (topology.family() == scenario::v1::STAR) network.sites[0].x = network.sites[0].y = 0;
  for (size_t i = 1; i < count; ++i) {
    if (topology.family() == scenario::v1::FULL_MESH) {
      for (size_t j = 0; j < i; ++j) Join(network, j, i, length_km);
    } else {
      Join(network, topology.family() == scenario::v1::STAR ? 0 : i - 1, i, length_km);
    }
  }
  if (topology.family() == scenario::v1::RING && count > 2) Join(network, 0, count - 1, length_km);
  if (topology.family() == scenario::v1::LINE) {
    for (size_t i = 0; i < count; ++i) {
      network.sites[i].x = static_cast<double>(i);
      network.sites[i].y = 0;
    }
  }
  return network;
}

// ---- Networks that are named site by site.

class Builder {
 public:
  size_t SiteOf(const std::string& id) {
    const auto [it, fresh] = by_id_.try_emplace(id, network_.sites.size());
    if (fresh) network_.sites.push_back({.id = id});
    return it->second;
  }
  absl::Status Add(const std::string& a, const std::string& b, Fibre fibre) {
    if (a == b) return absl::InvalidArgumentError(absl::StrCat("node ", a, " links to itself"));
    fibre.a = SiteOf(a);
    fibre.b = SiteOf(b);
    if (!joined_.insert({std::min(a, b), std::max(a, b)}).second) {
      return absl::InvalidArgumentError(absl::StrCat("two links join ", a, " and ", b));
    }
    network_.fibres.push_back(fibre);
    return absl::OkStatus();
  }
  bool Has(const std::string& id) const { return by_id_.contains(id); }
  Network& network() { return network_; }

 private:
  Network network_;
  std::map<std::string, size_t> by_id_;
  std::set<std::pair<std::string, std::string>> joined_;
};

const rapidjson::Value* Member(const rapidjson::Value& object, const char* name) {
  const auto it = object.FindMember(name);
  return it == object.MemberEnd() ? nullptr : &it->value;
}

double NumberOr(const rapidjson::Value& object, const char* name, double otherwise) {
  const rapidjson::Value* value = Member(object, name);
  return value != nullptr && value->IsNumber() ? value->GetDouble() : otherwise;
}

absl::StatusOr<std::string> IdIn(const rapidjson::Value& object, const char* name,
                                 const std::string& place) {
  const rapidjson::Value* value = object.IsObject() ? Member(object, name) : nullptr;
  if (value == nullptr || !value->IsString() || !IsId(value->GetString())) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, ".", name, ": expected an ID: 1 to 64 bytes of printable ASCII"));
  }
  return std::string(value->GetString());
}

absl::StatusOr<Network> FromJson(const std::string& text) {
  rapidjson::Document document;
  document.Parse(text.c_str());
  if (document.HasParseError()) {
    return absl::InvalidArgumentError(
        absl::StrCat("not JSON at byte ", document.GetErrorOffset(), ": ",
                     rapidjson::GetParseError_En(document.GetParseError())));
  }
  const auto list = [&](const char* name) {
    const rapidjson::Value* value = document.IsObject() ? Member(document, name) : nullptr;
    return value != nullptr && value->IsArray() ? value : nullptr;
  };
  const rapidjson::Value* const nodes = list("nodes");
  const rapidjson::Value* const links = list("links");
  if (nodes == nullptr || links == nullptr) {
    return absl::InvalidArgumentError("expected an object with the lists nodes and links");
  }
  Builder builder;
  for (const rapidjson::Value& node : nodes->GetArray()) {
    const std::string place = absl::StrCat("nodes[", &node - nodes->Begin(), "]");
    KEYHOP_ASSIGN_OR_RETURN(const std::string id, IdIn(node, "id", place));
    if (builder.Has(id)) return absl::InvalidArgumentError(absl::StrCat("two nodes are ", id));
    Site& site = builder.network().sites[builder.SiteOf(id)];
    site.x = NumberOr(node, "lon", 0);
    site.y = NumberOr(node, "lat", 0);
  }
  for (const rapidjson::Value& link : links->GetArray()) {
    const std::string place = absl::StrCat("links[", &link - links->Begin(), "]");
    KEYHOP_ASSIGN_OR_RETURN(const std::string a, IdIn(link, "a", place));
    KEYHOP_ASSIGN_OR_RETURN(const std::string b, IdIn(link, "b", place));
    if (!builder.Has(a) || !builder.Has(b)) {
      return absl::InvalidArgumentError(absl::StrCat(place, ": ", a, " or ", b, " is no node"));
    }
    Fibre fibre;
    fibre.length_km = NumberOr(link, "length_km", -1);
    fibre.loss_db = NumberOr(link, "loss_db", -1);
    const double published = NumberOr(link, "skr_bps_published", 0);
    if (fibre.length_km < 0 && fibre.loss_db < 0 && published <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(place, ": expected length_km, loss_db or skr_bps_published"));
    }
    if (published > 0) fibre.rate_bps = static_cast<uint64_t>(published);
    KEYHOP_RETURN_IF_ERROR(builder.Add(a, b, fibre));
  }
  return std::move(builder.network());
}

absl::StatusOr<Network> Listed(const Topology& topology) {
  Builder builder;
  for (const scenario::v1::Link& link : topology.links()) {
    Fibre fibre;
    fibre.length_km = link.length_m() / 1000.0;
    fibre.loss_db = -1;
    fibre.rate_bps = link.rate_bps();
    KEYHOP_RETURN_IF_ERROR(builder.Add(link.a(), link.b(), fibre));
  }
  return std::move(builder.network());
}

// ---- What holds of all.

// Nobody said where the sites are: on a circle.
void Place(Network& network) {
  const bool placed = std::any_of(network.sites.begin(), network.sites.end(),
                                  [](const Site& site) { return site.x != 0 || site.y != 0; });
  if (placed) return;
  const Network circle = Sites(network.sites.size());
  for (size_t i = 0; i < network.sites.size(); ++i) {
    network.sites[i].x = circle.sites[i].x;
    network.sites[i].y = circle.sites[i].y;
  }
}

// Puts relay nodes into links that are too long for one QKD span.
void SplitSpans(Network& network, double span_max_km) {
  std::vector<Fibre> fibres;
  for (const Fibre& fibre : network.fibres) {
    const auto spans = static_cast<size_t>(std::ceil(fibre.length_km / span_max_km));
    if (spans <= 1) {
      fibres.push_back(fibre);
      continue;
    }
    const Site a = network.sites[fibre.a];
    const Site b = network.sites[fibre.b];
    size_t before = fibre.a;
    for (size_t i = 1; i <= spans; ++i) {
      size_t next = fibre.b;
      if (i < spans) {
        const double part = static_cast<double>(i) / static_cast<double>(spans);
        next = network.sites.size();
        network.sites.push_back({.id = absl::StrCat(a.id, "~", b.id, ".", i),
                                 .in_span = true,
                                 .x = a.x + (b.x - a.x) * part,
                                 .y = a.y + (b.y - a.y) * part});
      }
      Fibre span = fibre;
      span.a = std::exchange(before, next);
      span.b = next;
      span.length_km = fibre.length_km / static_cast<double>(spans);
      span.rate_bps = 0;
      if (fibre.loss_db >= 0) span.loss_db = fibre.loss_db / static_cast<double>(spans);
      fibres.push_back(span);
    }
  }
  network.fibres = std::move(fibres);
}

// Sites ascending by ID, links ascending by their ends.
void Order(Network& network) {
  std::vector<size_t> order(network.sites.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return network.sites[a].id < network.sites[b].id; });
  std::vector<size_t> place(order.size());
  std::vector<Site> sites;
  for (size_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    sites.push_back(network.sites[order[i]]);
  }
  network.sites = std::move(sites);
  for (Fibre& fibre : network.fibres) {
    const size_t a = place[fibre.a];
    const size_t b = place[fibre.b];
    fibre.a = std::min(a, b);
    fibre.b = std::max(a, b);
  }
  std::sort(network.fibres.begin(), network.fibres.end(), [](const Fibre& x, const Fibre& y) {
    return std::pair(x.a, x.b) < std::pair(y.a, y.b);
  });
}

void SetRates(Network& network, const LinkModel& model) {
  for (Fibre& fibre : network.fibres) {
    if (fibre.loss_db < 0) {
      fibre.loss_db = std::max(0.0, fibre.length_km) * model.loss_mdb_per_km() / 1000.0;
    }
    if (fibre.rate_bps > 0) continue;
    const double rate =
        static_cast<double>(model.rate_bps_at_0()) * std::pow(10.0, -fibre.loss_db / 10);
    fibre.rate_bps = std::max(static_cast<uint64_t>(rate), model.rate_bps_min());
  }
}

}  // namespace

std::vector<size_t> FewestHops(const Network& network, size_t a, size_t b) {
  std::vector<std::vector<size_t>> neighbours(network.sites.size());
  for (const Fibre& fibre : network.fibres) {
    neighbours[fibre.a].push_back(fibre.b);
    neighbours[fibre.b].push_back(fibre.a);
  }
  std::vector<std::optional<size_t>> before(network.sites.size());
  before[a] = a;
  std::vector<size_t> queue = {a};
  for (size_t i = 0; i < queue.size() && !before[b]; ++i) {
    for (const size_t next : neighbours[queue[i]]) {
      if (before[next]) continue;
      before[next] = queue[i];
      queue.push_back(next);
    }
  }
  std::vector<size_t> path = {b};
  while (path.back() != a) path.push_back(*before[path.back()]);
  std::reverse(path.begin(), path.end());
  return path;
}

absl::StatusOr<Network> MakeNetwork(const Topology& topology, const LinkModel& model,
                                    uint64_t seed) {
  const bool family = topology.family() != scenario::v1::FAMILY_UNSPECIFIED;
  const int given =
      (topology.file().empty() ? 0 : 1) + (family ? 1 : 0) + (topology.links().empty() ? 0 : 1);
  if (given != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected one of file, family and links; found ", given));
  }
  Network network;
  if (family) {
    network = OfFamily(topology, seed);
    for (Fibre& fibre : network.fibres) fibre.loss_db = -1;
  } else if (!topology.file().empty()) {
    KEYHOP_ASSIGN_OR_RETURN(const std::string text, ReadYamlFile(topology.file(), "a topology"));
    absl::StatusOr<Network> read = FromJson(text);
    if (!read.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(topology.file(), ": ", read.status().message()));
    }
    network = *std::move(read);
  } else {
    KEYHOP_ASSIGN_OR_RETURN(network, Listed(topology));
  }
  Place(network);
  if (topology.span_max_m() > 0) SplitSpans(network, topology.span_max_m() / 1000.0);
  if (network.sites.size() < 2) return absl::InvalidArgumentError("fewer than two nodes");
  Order(network);
  Parts parts = PartsOf(network);
  for (size_t i = 0; i < network.sites.size(); ++i) {
    if (parts.Joined(i, 0)) continue;
    return absl::InvalidArgumentError(absl::StrCat("no way leads from node ", network.sites[0].id,
                                                   " to node ", network.sites[i].id));
  }
  SetRates(network, model);
  return network;
}

}  // namespace keyhop::sim
