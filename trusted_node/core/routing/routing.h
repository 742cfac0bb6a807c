#ifndef KEYHOP_TRUSTED_NODE_CORE_ROUTING_ROUTING_H_
#define KEYHOP_TRUSTED_NODE_CORE_ROUTING_ROUTING_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kms/base/instant.h"
#include "kms/core/types.h"
#include "trusted_node/core/link/messages.h"

namespace keyhop {

// Limits of one node's record; what the configuration may ask for.
inline constexpr size_t kLinksPerNodeMax = 1'024;
inline constexpr size_t kSaesPerNodeMax = 4'096;
inline constexpr uint32_t kSaeNumberMax = (uint32_t{1} << 18) - 1;

// One direction of a link as its sending end sees it.
struct LinkAdvert {
  LinkId link;
  NodeId peer;
  bool up = false;          // The session is open and the transport connected.
  uint64_t free_bytes = 0;  // Pad bytes for our sending direction: leased and in stock (half).
  uint64_t rate_bps = 0;    // Secret key rate.
};
struct SaeAdvert {
  SaeId sae;
  uint32_t number = 0;  // Registration number, 18 bits, given by the home, never given again.
  friend auto operator<=>(const SaeAdvert&, const SaeAdvert&) = default;
};
// What one node floods about itself. The newest sequence wins. In canonical order: links ascending
// by ID, SAEs ascending by name; a record in another order, or past a limit, is refused.
struct LinkState {
  NodeId origin;
  uint64_t sequence = 0;
  std::vector<LinkAdvert> links = {};
  std::vector<SaeAdvert> saes = {};
  std::string signature = {};  // By the origin's certificate key, over LayoutOf(*this).
};
std::vector<uint8_t> LayoutOf(const LinkState& state);  // All fields but the signature.

// Durable. Key: sae. Where an SAE lives: an unknown master can be told from a silent one at once.
struct DirectoryRecord {
  SaeId sae;
  NodeId home;
  uint32_t number = 0;
};
// Durable. Key: none. This node's own sequence, reserved in runs: none above was ever used.
struct RoutingRecord {
  uint64_t sequence_reserved = 0;
  uint32_t next_number = 1;  // Of the SAEs that register here.
};

// Signs for this node and checks others (a corrupt node cannot speak for another).
class LinkStateAuthority {
 public:
  virtual ~LinkStateAuthority() = default;
  virtual std::string Sign(const std::vector<uint8_t>& layout) = 0;
  virtual bool Verify(const NodeId& origin, const std::vector<uint8_t>& layout,
                      const std::string& signature) = 0;
};

class RoutingOutbox {
 public:
  virtual ~RoutingOutbox() = default;
  virtual WriteSeq Write(DirectoryRecord record) = 0;
  virtual WriteSeq Write(RoutingRecord record) = 0;
  // To every neighbour but `except` (empty: to all), once `after` is durable.
  virtual void Flood(const LinkState& state, const NodeId& except, WriteSeq after) = 0;
  virtual void SendTo(const NodeId& neighbour, const LinkState& state, WriteSeq after) = 0;
};

struct RoutingConfig {
  NodeId self;
  std::vector<SaeId> saes = {};  // Registered here.
  Duration refresh = Duration::Seconds(10);
  Duration expiry = Duration::Seconds(35);
  Duration flood_interval_min = Duration::Millis(500);  // Between two of our own.
  uint32_t nodes_max = 10'000;
  uint32_t saes_max = 100'000;
  uint32_t hops_max = 63;  // Of a path, in links.
};

struct SaeEntry {
  NodeId home;
  uint32_t number = 0;
};

// Link-state database, SAE directory and shortest paths (DESIGN §5). Pure; not thread-safe.
//
// A record is taken when it is newer than what is known, well formed and signed by its origin; then
// it goes on to all neighbours but its sender. Who sends an older one gets ours. What is not
// renewed within `expiry` (by the local time of arrival) is not used for paths and not told any
// more, but remembered, and so are the SAEs that it named.
//
// The first claim to an SAE's name stays, durably. A home may correct a number of its own (it was
// restored from an old image). When this node's own record comes back from a life that it does not
// remember, it goes on above that sequence and takes over the numbers that were given then.
//
// Alarms counted: a second home's claim to a name, a changed number, a malformed or badly signed
// record, a full table, and this node's own unremembered records.
class Routing {
 public:
  Routing(RoutingConfig config, LinkStateAuthority& authority,
          std::vector<DirectoryRecord> directory, std::optional<RoutingRecord> recovered);
  ~Routing();

  // Registers the configured SAEs that have no number yet and floods. Call once after start.
  void Start(Instant now, RoutingOutbox& out);
  // This node's links as they are now; floods if something that matters changed, at most every
  // flood_interval_min. Free bytes and rates count as changed past a factor of 2.
  void SetLinks(Instant now, std::vector<LinkAdvert> links, RoutingOutbox& out);
  void OnNeighbourUp(Instant now, const NodeId& neighbour, RoutingOutbox& out);
  void OnLinkState(Instant now, const NodeId& from, const LinkState& state, RoutingOutbox& out);
  void OnTick(Instant now, RoutingOutbox& out);
  std::optional<Instant> NextDeadline() const;

  // Cheapest path self → destination, both included, whose every hop is up at both of its ends and
  // has at least `bytes` free pad in the direction of travel (hops first, then free pad; ties by
  // lowest ID). `without`: nodes that must not be used in between. Empty when there is none of
  // hops_max hops or fewer.
  std::vector<NodeId> PathFor(const NodeId& destination, uint64_t bytes,
                              const std::set<NodeId>& without = {}) const;
  // `count` paths like that, of which no two have a node in between in common. Empty when there are
  // fewer.
  std::vector<std::vector<NodeId>> DisjointPathsFor(const NodeId& destination, size_t count,
                                                    uint64_t bytes,
                                                    const std::set<NodeId>& without = {}) const;
  // Whether every hop of `path` is up at both of its ends; and how often an answer to this may have
  // become another one.
  bool IsUp(const std::vector<NodeId>& path) const;
  uint64_t topology_changes() const;
  // The neighbour towards `destination` for control, which spends no pad: fewest hops that are up.
  std::optional<NodeId> NextHop(const NodeId& destination) const;

  std::optional<SaeEntry> FindSae(const SaeId& sae) const;
  // The SAE that has `number` at this node.
  std::optional<SaeId> LocalSae(uint32_t number) const;
  // This node and all known now (not expired), and all nodes that are home to an SAE.
  std::vector<NodeId> Nodes() const;
  std::set<NodeId> Homes() const;
  // Of the same nodes, ascending by origin; this node's own as it was flooded last.
  std::vector<LinkState> Database() const;
  uint64_t alarms() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_ROUTING_ROUTING_H_
