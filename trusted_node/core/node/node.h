#ifndef KEYHOP_TRUSTED_NODE_CORE_NODE_NODE_H_
#define KEYHOP_TRUSTED_NODE_CORE_NODE_NODE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/announce/config.h"
#include "kms/core/announce/records.h"
#include "kms/core/delivery/config.h"
#include "kms/core/delivery/idempotency.h"
#include "kms/core/delivery/request.h"
#include "kms/core/gate.h"
#include "kms/core/keystream/config.h"
#include "kms/core/keystream/records.h"
#include "kms/core/keystream/request.h"
#include "kms/core/quota/quotas.h"
#include "kms/core/stream/config.h"
#include "kms/core/stream/records.h"
#include "kms/crypto/entropy.h"
#include "trusted_node/core/link/link_end.h"
#include "trusted_node/core/node/messages.h"
#include "trusted_node/core/routing/routing.h"

namespace keyhop {

// Durable, one a node: raised at every start before anything else leaves.
struct NodeRecord {
  uint64_t incarnation_counter = 0;
};
// Durable. Key: link. There while an operator keeps the link out of use.
struct LinkDownRecord {
  LinkId link;
  bool erased = false;
};
// Durable. Key: SAE. There while an operator keeps an SAE of this node suspended.
struct SaeSuspendedRecord {
  SaeId sae;
  bool erased = false;
};
// Durable. Key: SAE and slave. There while an operator's quota stands in the place of the
// configuration's.
struct QuotaRecord {
  QuotaOf of;
  Quota quota = {};
  bool erased = false;
};
using Record =
    std::variant<NodeRecord, LinkRecordVariant, StreamRecord, DirectoryRecord, RoutingRecord,
                 LinkDownRecord, SaeSuspendedRecord, IdempotencyRecord, RunTimeRecord,
                 KeystreamRecord, KeystreamChunkRecord, AnnounceRecord, QuotaRecord>;

// ---- Inputs.
struct PadBlockArrived {  // Kq-1.
  uint64_t token = 0;     // Comes back in PadBlockTaken.
  LinkId link;
  BookId book;
  uint64_t block = 0;
  SecretBytes bytes;
};
struct ModuleStatusChanged {  // Kq-1: of a link's QKD modules together.
  LinkId link;
  bool up = false;
  uint32_t qber_ppm = 0;
  uint64_t rate_bps = 0;
};
struct PeerConnected {  // Kx: the transport to an authenticated neighbour is up.
  NodeId peer;
};
struct PeerDisconnected {
  NodeId peer;
};
struct PeerMessage {
  NodeId from;
  KxMessage message;
};
struct StatusAsked {
  uint64_t token = 0;
  StatusRequest request;
};
struct DrawAsked {
  uint64_t token = 0;
  DrawRequest request;
};
struct FetchAsked {
  uint64_t token = 0;
  FetchRequest request;
};
struct KeystreamAsked {  // ETSI GS QKD 004.
  uint64_t token = 0;
  KeystreamRequest request;
};
struct DeadlineReached {};
struct SaeSwitched {   // Admin: an operator suspends an SAE of this node, or takes it back.
  uint64_t token = 0;  // Comes back in SwitchDone.
  SaeId sae;
  bool active = true;
};
struct LinkSwitched {  // Admin: an operator takes a link out of use, or back into it.
  uint64_t token = 0;  // Comes back in SwitchDone.
  LinkId link;
  bool up = true;
};
struct CallCancelled {  // Nobody waits for the answer to this call any more.
  uint64_t call = 0;    // DrawRequest::call or WatchRequest::call; not 0.
};
struct QuotaSet {      // Admin: an operator's quota, or the configured one again.
  uint64_t token = 0;  // Comes back in SwitchDone.
  QuotaOf of;
  std::optional<Quota> quota;
};
struct WatchAsked {
  uint64_t token = 0;
  WatchRequest request;
};
using Input =
    std::variant<PadBlockArrived, ModuleStatusChanged, PeerConnected, PeerDisconnected, PeerMessage,
                 StatusAsked, DrawAsked, FetchAsked, DeadlineReached, LinkSwitched, SaeSwitched,
                 CallCancelled, KeystreamAsked, WatchAsked, QuotaSet>;

// ---- Outputs.
struct SendToPeer {
  NodeId peer;
  KxMessage message;
};
struct PadBlockTaken {
  uint64_t token = 0;
  absl::Status status;
};
struct StatusAnswered {
  uint64_t token = 0;
  Outcome<PairStatus> outcome;
};
struct KeysAnswered {  // To a draw or a fetch.
  uint64_t token = 0;
  Outcome<KeyContainer> outcome;
};
struct KeystreamAnswered {
  uint64_t token = 0;
  Outcome<KeystreamAnswer> outcome;
};
struct WatchAnswered {
  uint64_t token = 0;
  Outcome<WatchAnswer> outcome;
};
struct AlarmRaised {
  std::string kind;  // A short word: "rollback", "failed_tags", "second_claim".
  std::string text;
};
// Of a link, an SAE or a quota. Durable; NOT_FOUND: no such one here.
struct SwitchDone {
  uint64_t token = 0;
  absl::Status status;
};
using Output = std::variant<SendToPeer, PadBlockTaken, StatusAnswered, KeysAnswered, AlarmRaised,
                            SwitchDone, KeystreamAnswered, WatchAnswered>;
using Effects = StepEffects<Record, Output>;
using NodeGate = OutputGate<Record, Output>;

struct LinkSetup {
  LinkConfig config;
  SecretBytes key;  // 32 bytes, pre-shared with the peer.
};
struct PoolConfig {
  uint64_t target_bytes = 32 * 1024;         // Of a pair in use: leased and in stock.
  uint64_t idle_bytes = 0;                   // Of a pair that nobody drew from lately.
  Duration in_use = Duration::Seconds(600);  // After the last draw.
  bool prefill = false;                  // Every pair with another home of SAEs counts as in use.
  Duration pace = Duration::Millis(20);  // Between two rounds of refill.
};
struct NodeConfig {
  NodeId self;
  std::vector<LinkSetup> links;
  RoutingConfig routing;
  StreamConfig stream;
  DeliveryConfig delivery;
  KeystreamConfig keystream;
  AnnounceConfig announce;
  Quotas::Table quotas;
  PoolConfig pool;
  uint32_t streams_max = 4096;
  // One memory budget, in bytes, for all open leases, of pads and of streams. Once it is used up a
  // book leases only as much as it cannot go on without, until a quarter is free again.
  uint64_t lease_memory_bytes_max = 64ull * 1024 * 1024;
  // Strict: keys leased before a start are burnt by it, unfetched ones too.
  bool burn_open_leases_on_start = false;
};

// ---- What a node tells about itself (metrics, admin).
struct PoolLevels {
  StreamId stream;
  bool session_open = false;
  uint64_t epoch = 0;
  uint64_t open_bytes = 0;   // Leased: can be drawn now.
  uint64_t stock_bytes = 0;  // Acknowledged, not leased.
  uint64_t in_flight_bytes = 0;
  uint64_t target_bytes = 0;
  uint64_t refill_bytes_per_s = 0;
  std::vector<NodeId> last_path = {};
};
struct NodeSnapshot {
  NodeId self;
  Incarnation incarnation;
  std::map<LinkId, std::pair<NodeId, LinkLevels>> links;  // With the peer.
  std::map<NodeId, bool> peers;                           // Connected?
  std::set<LinkId> links_down;                            // By an operator.
  uint64_t leased_bytes = 0;                              // In memory, of all books together.
  std::vector<PoolLevels> pools;                          // This node as source.
  uint64_t served_streams = 0;                            // Heard as destination.
  std::vector<LinkState> database;
  std::map<QuotaOf, std::pair<Quota, bool>> quotas;  // In force; by an operator?
  // By name. trusted_node/telemetry tells each under a metric of its own or, where it knows none,
  // as a reason of keyhop_errors_total.
  std::map<std::string, uint64_t> counters;
};

// The whole key manager of one node as one pure state machine: its link ends, its ends of pair
// streams, relay, routing and delivery. Inputs in, effects out; durable writes come before the
// outputs that name them (NodeGate). After `Create` the first Step must be DeadlineReached.
//
// Pure: no clock, I/O or threads; randomness only from `entropy`. Not thread-safe.
class NodeCore {
 public:
  // `recovered`: every record of the store, in any order. INVALID_ARGUMENT for a bad config,
  // DATA_LOSS for records that contradict each other. `entropy` and `authority` must outlive it.
  static absl::StatusOr<std::unique_ptr<NodeCore>> Create(NodeConfig config, EntropySource& entropy,
                                                          LinkStateAuthority& authority,
                                                          std::vector<Record> recovered);
  ~NodeCore();

  Effects Step(Instant now, Input input);
  // When to Step(DeadlineReached) if nothing else comes first.
  std::optional<Instant> NextDeadline() const;

  // First block not taken yet, of each book of `link`, for a module that attaches.
  std::map<BookId, uint64_t> TakenTops(const LinkId& link) const;
  NodeSnapshot Snapshot(Instant now) const;

 private:
  struct Impl;
  explicit NodeCore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_NODE_NODE_H_
