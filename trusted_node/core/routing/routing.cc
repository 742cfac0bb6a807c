#include "trusted_node/core/routing/routing.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "kms/base/check.h"
#include "trusted_node/core/routing/link_state.h"
#include "trusted_node/core/routing/path_graph.h"
#include "trusted_node/core/routing/sae_directory.h"

namespace keyhop {
namespace {

constexpr uint64_t kSequencesPerReservation = 1'000;
constexpr size_t kCachedPathsMax = 1'024;

}  // namespace

struct Routing::Impl {
  struct Entry {
    LinkState state;
    Instant arrived;
    bool expired = false;
  };

  Impl(RoutingConfig given, LinkStateAuthority& signer,
       const std::vector<DirectoryRecord>& recovered_directory,
       const std::optional<RoutingRecord>& recovered)
      : config(std::move(given)),
        authority(signer),
        directory(config, recovered_directory, recovered ? recovered->next_number : 1),
        sequence(recovered ? recovered->sequence_reserved : 0),
        reserved(sequence) {}

  // This node's own record.
  void Reserve(RoutingOutbox& out);
  void FloodIfDue(Instant now, RoutingOutbox& out);
  void FloodOwn(Instant now, RoutingOutbox& out);
  void OnOwn(Instant now, const NodeId& from, const LinkState& state, RoutingOutbox& out);

  // Others' records.
  bool MakeRoom();
  void Take(Instant now, const LinkState& state, RoutingOutbox& out);
  void TakeClaims(const NodeId& home, const std::vector<SaeAdvert>& before,
                  const std::vector<SaeAdvert>& now_claimed, RoutingOutbox& out);
  void Expire(Instant now);
  bool IsGenuine(const LinkState& state);

  // Paths.
  void LinksChanged(const NodeId& origin, const std::vector<LinkAdvert>* before,
                    const std::vector<LinkAdvert>& after);
  void TopologyChanged();
  const PathGraph& FreshGraph();
  const std::map<NodeId, NodeId>& FreshNextHops();

  const RoutingConfig config;
  LinkStateAuthority& authority;
  SaeDirectory directory;
  uint64_t alarms = 0;

  uint64_t sequence;       // The highest that this node used or must stay above.
  uint64_t reserved;       // None above was ever used.
  WriteSeq own_after = 0;  // What our own record rests on.
  bool pending = false;    // Something to flood, as soon as flood_interval_min allows.
  std::optional<Instant> flooded_at;
  LinkState own;                  // As flooded last.
  std::vector<LinkAdvert> links;  // As they are now, ascending by link.

  std::map<NodeId, Entry> others;
  std::set<std::pair<Instant, NodeId>> by_arrival;  // Those not expired.

  // Derived, made when asked for.
  PathGraph graph;
  bool graph_stale = true;
  uint64_t topology_changes = 0;
  std::optional<std::map<NodeId, NodeId>> next_hops;
  std::map<std::pair<NodeId, uint64_t>, std::vector<NodeId>> paths;
};

void Routing::Impl::Reserve(RoutingOutbox& out) {
  reserved = std::max(reserved, sequence) + kSequencesPerReservation;
  own_after = out.Write(RoutingRecord{reserved, directory.next_number()});
}

void Routing::Impl::FloodIfDue(Instant now, RoutingOutbox& out) {
  if (!pending) return;
  if (flooded_at && now < *flooded_at + config.flood_interval_min) return;
  FloodOwn(now, out);
}

void Routing::Impl::FloodOwn(Instant now, RoutingOutbox& out) {
  if (sequence >= reserved) Reserve(out);
  own = LinkState{config.self, ++sequence, links, directory.Configured()};
  own.signature = authority.Sign(LayoutOf(own));
  pending = false;
  flooded_at = now;
  out.Flood(own, NodeId(), own_after);
}

// Our own record comes back all the time, from neighbours of neighbours. Only one that we do not
// remember matters: our disk was restored from an old image, and until we are above that sequence
// the network believes our former life.
void Routing::Impl::OnOwn(Instant now, const NodeId& from, const LinkState& state,
                          RoutingOutbox& out) {
  if (state.sequence < own.sequence) {
    out.SendTo(from, own, own_after);
    return;
  }
  const bool jumping = sequence > own.sequence;
  if (jumping && state.sequence <= sequence) return;
  if (state.sequence == own.sequence && LayoutOf(state) == LayoutOf(own)) return;
  ++alarms;
  if (!IsGenuine(state)) return;
  for (DirectoryRecord& record : directory.AdoptOwn(state.saes)) out.Write(std::move(record));
  sequence = state.sequence + 1;
  Reserve(out);  // Also the next free number.
  pending = true;
  FloodIfDue(now, out);
}

bool Routing::Impl::IsGenuine(const LinkState& state) {
  return CheckShape(state).ok() && authority.Verify(state.origin, LayoutOf(state), state.signature);
}

// True if one more node fits, if need be in the place of the one that was silent for longest.
bool Routing::Impl::MakeRoom() {
  if (others.size() + 1 < config.nodes_max) return true;
  if (by_arrival.size() == others.size()) return false;
  auto oldest = others.end();
  for (auto it = others.begin(); it != others.end(); ++it) {
    if (!it->second.expired) continue;
    if (oldest == others.end() || it->second.arrived < oldest->second.arrived) oldest = it;
  }
  others.erase(oldest);
  return true;
}

void Routing::Impl::Take(Instant now, const LinkState& state, RoutingOutbox& out) {
  const auto [it, is_new] = others.try_emplace(state.origin);
  Entry& entry = it->second;
  const bool was_used = !is_new && !entry.expired;
  if (was_used) by_arrival.erase({entry.arrived, state.origin});
  by_arrival.insert({now, state.origin});
  TakeClaims(state.origin, entry.state.saes, state.saes, out);
  const std::vector<LinkAdvert> before = std::exchange(entry.state, state).links;
  entry.arrived = now;
  entry.expired = false;
  LinksChanged(state.origin, was_used ? &before : nullptr, entry.state.links);
}

void Routing::Impl::TakeClaims(const NodeId& home, const std::vector<SaeAdvert>& before,
                               const std::vector<SaeAdvert>& now_claimed, RoutingOutbox& out) {
  std::vector<SaeAdvert> fresh;
  std::set_difference(now_claimed.begin(), now_claimed.end(), before.begin(), before.end(),
                      std::back_inserter(fresh));
  for (const SaeAdvert& advert : fresh) {
    const SaeDirectory::Claim claim = directory.Take(home, advert);
    if (claim == SaeDirectory::Claim::kNew || claim == SaeDirectory::Claim::kRenumbered) {
      out.Write(DirectoryRecord{advert.sae, home, advert.number});
    }
    if (claim == SaeDirectory::Claim::kRefused || claim == SaeDirectory::Claim::kRenumbered) {
      ++alarms;
    }
  }
}

void Routing::Impl::Expire(Instant now) {
  while (!by_arrival.empty() && by_arrival.begin()->first + config.expiry <= now) {
    others.at(by_arrival.begin()->second).expired = true;
    by_arrival.erase(by_arrival.begin());
    TopologyChanged();
  }
}

void Routing::Impl::TopologyChanged() {
  ++topology_changes;
  graph_stale = true;
  next_hops.reset();
  paths.clear();
}

void Routing::Impl::LinksChanged(const NodeId& origin, const std::vector<LinkAdvert>* before,
                                 const std::vector<LinkAdvert>& after) {
  if (before == nullptr || !SameTopology(*before, after)) {
    TopologyChanged();
    return;
  }
  const bool same_pads = std::equal(
      before->begin(), before->end(), after.begin(), after.end(),
      [](const LinkAdvert& a, const LinkAdvert& b) { return a.free_bytes == b.free_bytes; });
  if (same_pads) return;
  paths.clear();
  if (!graph_stale) graph.UpdateFreeBytes(origin, after);
}

const PathGraph& Routing::Impl::FreshGraph() {
  if (graph_stale) {
    PathGraph::Adverts adverts = {{config.self, &links}};
    for (const auto& [id, entry] : others) {
      if (!entry.expired) adverts.emplace(id, &entry.state.links);
    }
    graph.Rebuild(adverts);
    graph_stale = false;
  }
  return graph;
}

const std::map<NodeId, NodeId>& Routing::Impl::FreshNextHops() {
  if (!next_hops.has_value()) next_hops = FreshGraph().NextHops(config.self);
  return *next_hops;
}

Routing::Routing(RoutingConfig config, LinkStateAuthority& authority,
                 std::vector<DirectoryRecord> directory, std::optional<RoutingRecord> recovered)
    : impl_(std::make_unique<Impl>(std::move(config), authority, directory, recovered)) {
  KEYHOP_CHECK(!impl_->config.self.empty(), "routing needs this node's ID");
  KEYHOP_CHECK(impl_->config.saes.size() <= kSaesPerNodeMax, "more SAEs than one node may have");
}

Routing::~Routing() = default;

void Routing::Start(Instant now, RoutingOutbox& out) {
  KEYHOP_CHECK(!impl_->flooded_at.has_value(), "routing is started once");
  for (DirectoryRecord& record : impl_->directory.RegisterConfigured(impl_->alarms)) {
    out.Write(std::move(record));
  }
  impl_->Reserve(out);  // After the directory's records: what rests on it rests on them too.
  impl_->FloodOwn(now, out);
}

void Routing::SetLinks(Instant now, std::vector<LinkAdvert> links, RoutingOutbox& out) {
  KEYHOP_CHECK(impl_->flooded_at.has_value(), "routing is started first");
  KEYHOP_CHECK(links.size() <= kLinksPerNodeMax, "more links than one node may have");
  std::sort(links.begin(), links.end(),
            [](const LinkAdvert& a, const LinkAdvert& b) { return a.link < b.link; });
  impl_->Expire(now);
  const std::vector<LinkAdvert> before = std::exchange(impl_->links, std::move(links));
  impl_->LinksChanged(impl_->config.self, &before, impl_->links);
  if (WorthFlooding(impl_->own.links, impl_->links)) impl_->pending = true;
  impl_->FloodIfDue(now, out);
}

void Routing::OnNeighbourUp(Instant now, const NodeId& neighbour, RoutingOutbox& out) {
  impl_->Expire(now);
  out.SendTo(neighbour, impl_->own, impl_->own_after);
  for (const auto& [id, entry] : impl_->others) {
    // Its own record tells it what it said in a life that it may not remember.
    if (!entry.expired || id == neighbour) out.SendTo(neighbour, entry.state, 0);
  }
}

void Routing::OnLinkState(Instant now, const NodeId& from, const LinkState& state,
                          RoutingOutbox& out) {
  KEYHOP_CHECK(impl_->flooded_at.has_value(), "routing is started first");
  impl_->Expire(now);
  if (state.origin == impl_->config.self) {
    impl_->OnOwn(now, from, state, out);
    return;
  }
  const auto known = impl_->others.find(state.origin);
  if (known != impl_->others.end()) {
    const LinkState& ours = known->second.state;
    if (state.sequence < ours.sequence) out.SendTo(from, ours, 0);
    if (state.sequence <= ours.sequence) return;
  }
  if (!impl_->IsGenuine(state) || (known == impl_->others.end() && !impl_->MakeRoom())) {
    ++impl_->alarms;
    return;
  }
  impl_->Take(now, state, out);
  out.Flood(state, from, 0);
}

void Routing::OnTick(Instant now, RoutingOutbox& out) {
  KEYHOP_CHECK(impl_->flooded_at.has_value(), "routing is started first");
  impl_->Expire(now);
  if (now >= *impl_->flooded_at + impl_->config.refresh) impl_->pending = true;
  impl_->FloodIfDue(now, out);
}

std::optional<Instant> Routing::NextDeadline() const {
  if (!impl_->flooded_at.has_value()) return std::nullopt;
  const RoutingConfig& config = impl_->config;
  Instant next =
      *impl_->flooded_at + (impl_->pending ? config.flood_interval_min
                                           : std::max(config.refresh, config.flood_interval_min));
  if (!impl_->by_arrival.empty()) {
    next = std::min(next, impl_->by_arrival.begin()->first + config.expiry);
  }
  return next;
}

std::vector<NodeId> Routing::PathFor(const NodeId& destination, uint64_t bytes,
                                     const std::set<NodeId>& without) const {
  const auto search = [&] {
    std::vector<NodeId> path =
        impl_->FreshGraph().CheapestPath(impl_->config.self, destination, bytes, without);
    // The cheapest has the fewest hops: where it is too long all are.
    if (path.size() > size_t{impl_->config.hops_max} + 1) path.clear();
    return path;
  };
  if (!without.empty()) return search();
  const auto cached = impl_->paths.find({destination, bytes});
  if (cached != impl_->paths.end()) return cached->second;
  std::vector<NodeId> path = search();
  if (impl_->paths.size() >= kCachedPathsMax) impl_->paths.clear();
  impl_->paths.emplace(std::pair(destination, bytes), path);
  return path;
}

std::vector<std::vector<NodeId>> Routing::DisjointPathsFor(const NodeId& destination, size_t count,
                                                           uint64_t bytes,
                                                           const std::set<NodeId>& without) const {
  auto paths =
      impl_->FreshGraph().DisjointPaths(impl_->config.self, destination, count, bytes, without);
  const size_t nodes_max = size_t{impl_->config.hops_max} + 1;
  if (!paths.empty() && paths.back().size() > nodes_max) paths.clear();
  return paths;
}

bool Routing::IsUp(const std::vector<NodeId>& path) const {
  return impl_->FreshGraph().IsPath(path);
}

uint64_t Routing::topology_changes() const { return impl_->topology_changes; }

std::optional<NodeId> Routing::NextHop(const NodeId& destination) const {
  const std::map<NodeId, NodeId>& hops = impl_->FreshNextHops();
  const auto it = hops.find(destination);
  if (it == hops.end()) return std::nullopt;
  return it->second;
}

std::optional<SaeEntry> Routing::FindSae(const SaeId& sae) const {
  return impl_->directory.Find(sae);
}

std::optional<SaeId> Routing::LocalSae(uint32_t number) const {
  return impl_->directory.FindLocal(number);
}

std::vector<NodeId> Routing::Nodes() const {
  std::vector<NodeId> nodes = {impl_->config.self};
  for (const auto& [id, entry] : impl_->others) {
    if (!entry.expired) nodes.push_back(id);
  }
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

std::set<NodeId> Routing::Homes() const { return impl_->directory.Homes(); }

std::vector<LinkState> Routing::Database() const {
  std::vector<LinkState> database = {impl_->own};
  for (const auto& [id, entry] : impl_->others) {
    if (!entry.expired) database.push_back(entry.state);
  }
  std::sort(database.begin(), database.end(),
            [](const LinkState& a, const LinkState& b) { return a.origin < b.origin; });
  return database;
}

uint64_t Routing::alarms() const { return impl_->alarms; }

}  // namespace keyhop
