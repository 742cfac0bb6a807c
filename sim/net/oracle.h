#ifndef KEYHOP_SIM_NET_ORACLE_H_
#define KEYHOP_SIM_NET_ORACLE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "kms/base/instant.h"
#include "kms/core/delivery/request.h"
#include "sim/net/faults.h"
#include "sim/net/lease_watch.h"
#include "sim/net/pad_truth.h"
#include "sim/net/plan.h"
#include "sim/net/retry_watch.h"
#include "trusted_node/core/node/messages.h"

namespace keyhop::sim {

// What the draw asks for by keyhop_paths_min; 1: nothing.
uint8_t PathsAskedFor(const DrawRequest& request);

struct Violation {
  std::string invariant;  // "G1" to "G7" (DESIGN §2).
  std::string text;
};

// The second run of a seed only has to trace the same as the first: what was right or wrong in the
// first is so in the second.
enum class Watch : uint8_t { kEverything, kTraceOnly };

// Watches a simulated network from outside and says when one of G1 to G7 is broken. It is told
// what enters and leaves: every message that a node lets out, every key delivered or refused, what
// the QKD modules made, and which faults struck. It never looks into a core, a gate or a disk, and
// it decrypts every frame itself.
//
// Not thread-safe.
class Oracle {
 public:
  Oracle(const Plan& plan, const PadTruth& truth, Watch watch = Watch::kEverything)
      : plan_(plan),
        truth_(truth),
        watching_(watch == Watch::kEverything),
        leases_(plan),
        // A slow disk may hold an answer back for 15 s, beside the waits for keys and for notices.
        retries_(plan.IdempotencyWindow(), Duration::Seconds(17) + plan.delivery.supply_wait) {}

  // A node let `message` out towards a neighbour (whatever the network then does to it).
  void OnSent(Instant now, size_t from, size_t to, const KxMessage& message);
  // A corrupt node changes this frame of a share, which it passes on, and knows how to make the tag
  // fit. What it did must not be accepted at the segment's destination.
  void Forge(size_t from, size_t to, RelayFrame& frame, uint64_t random);
  // An SAE asks for keys, with an idempotency key.
  void OnAsked(Instant now, const SaeId& caller, const std::string& key) {
    retries_.OnAsked(now, HomeOf(caller), caller, key);
  }
  // Keys left a node towards the SAE that asked.
  // `asked`: when the request came in, if that is long ago.
  void OnDrawn(Instant now, const DrawRequest& request, const KeyContainer& keys,
               std::optional<Instant> asked = {});
  void OnFetched(Instant now, const FetchRequest& request, const KeyContainer& keys);
  void OnFetchRefused(Instant now, const FetchRequest& request, const Refusal& refusal,
                      bool in_doubt);
  // A slave that watches was told of keys and gaps.
  void OnWatched(const SaeId& slave, const WatchAnswer& answer);
  // No key that was drawn for a watcher is left of which it heard neither this nor a gap.
  bool AllAnnounced() const;
  void CheckAnnounced();
  void OnStarted(Instant now, size_t node);
  void OnCrashed(Instant now, size_t node);
  // `known`: as of RetryWatch.
  void OnImageRestored(size_t node, bool known);
  // A fault hit one message, or a transport: what may cost a segment each.
  void OnMessageFault() { ++burn_allowed_; }
  void OnTransportFault() { ++incidents_; }
  // A frame that fails its tag may end its link's session, and with it the frames behind it.
  void OnFrameChanged() { burn_allowed_ += plan_.stream.segments_in_flight_max; }
  // At the end of the healed phase: was the loss in proportion to the faults?
  void CheckBurn();
  // For what the world sees: a bound broken (G7), no progress (G4).
  void Violate(const char* invariant, const std::string& text);

  const std::optional<Violation>& violation() const { return violation_; }
  // Distinct key_IDs that reached both the master and the slave.
  uint64_t keys_delivered() const { return keys_delivered_; }
  uint64_t relays() const { return relays_.size(); }
  const Probes& probes() const { return probes_; }
  void Probe(absl::string_view name);

 private:
  // A run of bytes, 8 at a time.
  using Window = uint64_t;
  struct Relay {
    RelayFrame first;  // As it left its source.
    std::vector<uint8_t> payload;
    uint8_t hops_seen = 0;
    bool acknowledged = false;
  };
  struct DrawnKey {
    SaeId master;
    SaeId slave;
    std::set<SaeId> additional;
    StreamId stream;
    std::vector<uint8_t> bytes;
    Instant at;
    Instant asked;
    uint64_t source_starts = 0;  // Of either end until then.
    uint64_t destination_starts = 0;
    uint64_t openings = 0;                        // Of the stream until then.
    std::map<SaeId, uint64_t> additional_starts;  // Of their homes.
    bool drawn = false;
    bool answered_late = false;  // The answer may have left long after the keys were taken.
    std::set<SaeId> fetched;
    bool names(const SaeId& sae) const { return sae == slave || additional.contains(sae); }
  };
  // By slave that watches: keys drawn for it that it has not heard of, and those that it has.
  struct Heard {
    std::map<KeyId, NodeId> not_yet;
    std::set<KeyId> told;
  };
  // The key is at the home of a slave that did not fetch it, as far as faults explain.
  bool MustBeThere(Instant now, const DrawnKey& key, const SaeId& slave);
  void OnLink(size_t from, const LinkMessage& message);
  void OnFrame(Instant now, size_t from, size_t to, const RelayFrame& frame);
  void OnControl(size_t from, const RoutedControl& control);
  void OnFirstHop(Instant now, const RelayFrame& frame, std::vector<uint8_t> payload);
  // oracle_segments.cc
  void OnShare(const RelayFrame& frame, const std::vector<uint8_t>& payload);
  // A segment, whole, leaves its source: its addresses (G2) and its bytes.
  void CheckAddresses(Instant now, const RelayFrame& frame);
  void EnterSegment(Relay& segment);
  void OnLaterHop(size_t from, const RelayFrame& frame, const std::vector<uint8_t>& pad);
  void CheckEntry(const SaeId& slave, Heard& heard, const WatchEntry& entry);
  void CheckTag(size_t link, size_t from, const RelayFrame& frame, const std::vector<uint8_t>& s,
                const std::vector<uint8_t>& payload);
  void MarkUsed(size_t link, const BookId& book, uint64_t block, uint32_t begin, uint32_t length,
                const char* what);
  void ScanForSecrets(const KxMessage& message);
  void LearnSecret(std::span<const uint8_t> bytes);
  void CheckContent(const KeyId& id, const DrawnKey& key);
  void AwaitAnnouncements(const DrawRequest& request, const KeyContainer& container);
  // Whether this is the same delivery as an earlier one, under an idempotency key.
  bool IsRetry(Instant now, const SaeId& caller, const std::optional<std::string>& key,
               const KeyContainer& container);
  size_t HomeOf(const SaeId& sae) const { return plan_.HomeOf(sae); }

  const Plan& plan_;
  const PadTruth& truth_;
  const bool watching_;
  std::optional<Violation> violation_;
  Probes probes_;

  std::map<std::tuple<size_t, BookId, uint64_t>, std::vector<bool>> used_;
  LeaseWatch leases_;
  RetryWatch retries_;
  std::map<RelayId, Relay> relays_;
  std::map<std::tuple<StreamId, uint64_t>, std::map<uint64_t, uint64_t>> sent_ranges_;
  std::map<StreamId, uint64_t> openings_;
  std::map<StreamId, Instant> opened_at_;  // The last time.
  using SegmentName = std::tuple<StreamId, SegmentKind, StreamAddress>;
  std::map<SegmentName, Relay*> by_address_;
  // Segments that are split: their shares so far.
  struct Split {
    Relay whole;  // The payload is the XOR of the shares.
    uint32_t have = 0;
    std::set<NodeId> between;  // Who saw any of them.
    bool forged = false;
  };
  std::map<SegmentName, Split> splits_;
  absl::node_hash_map<KeyId, DrawnKey> keys_;
  // Of delivered keys, every 4 bytes, and of payload bodies, every 8: which one of the lists.
  absl::flat_hash_map<Window, uint32_t> key_windows_;
  absl::flat_hash_map<Window, uint32_t> body_windows_;
  std::map<SaeId, Heard> heard_;
  absl::flat_hash_set<KeyId> awaited_;  // Keys whose announcements were waited for.
  std::vector<KeyId> scanned_keys_;
  std::vector<const Relay*> bodies_;
  absl::flat_hash_set<Window> secrets_;  // Heads of payloads, every 8 bytes.
  std::map<size_t, uint64_t> starts_;
  std::set<size_t> restored_;
  uint64_t keys_delivered_ = 0;
  uint64_t scanned_ = 0;
  uint64_t burn_allowed_ = 0;
  uint64_t incidents_ = 0;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_ORACLE_H_
