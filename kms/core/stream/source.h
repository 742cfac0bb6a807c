#ifndef KEYHOP_KMS_CORE_STREAM_SOURCE_H_
#define KEYHOP_KMS_CORE_STREAM_SOURCE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kms/base/byte_writer.h"
#include "kms/base/instant.h"
#include "kms/core/stream/config.h"
#include "kms/core/stream/demand.h"
#include "kms/core/stream/key_id.h"
#include "kms/core/stream/messages.h"
#include "kms/core/stream/open_runs.h"
#include "kms/core/stream/outbox.h"
#include "kms/core/stream/records.h"

namespace keyhop {

struct SourceLevels {
  bool session_open = false;
  uint64_t epoch = 0;
  uint64_t open_bytes = 0;       // Leased at both ends: can be drawn now.
  uint64_t stock_bytes = 0;      // Acknowledged, not leased yet (asked-for leases included).
  uint64_t in_flight_bytes = 0;  // Sent, not acknowledged.
  uint32_t in_flight_segments = 0;
};

struct SourceCounters {
  uint64_t acknowledged_bytes = 0;
  uint64_t burnt_bytes = 0;
  uint64_t bad_macs = 0;
  uint64_t epochs_opened = 0;
};

// The drawing end A of the stream A→B (DESIGN §3, §6; rules as in tests/model/epochs.py).
//
// Invariants: an offset is durably reserved before a segment uses it and never returns; a payload
// is launched once; a byte is drawn at most once, and only from a lease that B confirmed and whose
// confirmation is durable here, so that what is drawn at A is already at B.
//
// Pure. Not thread-safe.
class StreamSource {
 public:
  // `recovered`: this stream's SourceRecord, EpochRecords (at_source), SourceSegmentRecords.
  StreamSource(StreamConfig config, StreamId stream, Incarnation own,
               std::vector<StreamRecord> recovered);

  // What the next relay should carry, if anything: an opening when an epoch is needed, else body
  // bytes while less than `target` is open in keys of its length, in stock or on its way.
  struct Wish {
    SegmentKind kind = SegmentKind::kBody;
    uint32_t body_bytes = 0;
  };
  std::optional<Wish> NextSegment(Instant now, const StreamDemand& target) const;

  // Launches a wish over `path` with a payload (48 + body bytes) that nothing else ever uses. The
  // segment comes back without payload. It may leave once `after` is durable.
  struct Launched {
    Segment segment;
    WriteSeq after = 0;
  };
  Launched Launch(Instant now, const Wish& wish, std::vector<NodeId> path, SecretBytes payload,
                  StreamOutbox& out);
  // The segment at `at` was refused on its way: burnt. Where it had `waited` there for too long the
  // next one is given more time.
  void OnRefused(Instant now, StreamAddress at, bool waited);
  // The way that the segment at `at` took is not whole any more: burnt, as if it were late. That
  // says nothing of the next way, so an opening is tried again soon.
  void OnPathBroken(Instant now, StreamAddress at);
  bool IsInFlight(const StreamAddress& at) const { return in_flight_.contains(at); }
  // How long an acknowledgement is waited for: follows the round trips seen, doubles when a segment
  // is late.
  Duration patience() const { return patience_; }

  void OnMessage(Instant now, const StreamMessage& message, StreamOutbox& out);
  void OnTick(Instant now, const StreamDemand& target, StreamOutbox& out);
  std::optional<Instant> NextDeadline() const;

  using Drawn = OpenRuns::Drawn;
  using Draft = OpenRuns::Draft;
  // Takes `number` keys of `length_bytes`, all or none. UNAVAILABLE when there are not enough.
  absl::StatusOr<Draft> Draw(Instant now, uint64_t number, uint32_t length_bytes);
  // How many keys of that length could be drawn now.
  uint64_t Drawable(Instant now, uint32_t length_bytes) const;
  // Open bytes in keys of that length, ends of runs left out.
  uint64_t UsableBytes(uint64_t key_bytes) const { return runs_.UsableBytes(key_bytes); }
  const SecretBytes& IdKey(uint64_t epoch) const;

  // ---- Supply notices (source_supply.cc): keys for further slaves at the destination.
  // Whether notices can leave now and keys of all these lengths, in order, can be drawn for them.
  bool CanSupply(Instant now, const std::vector<uint32_t>& lengths_bytes) const;
  // Takes them; CanSupply holds. The keys are in the order of the lengths.
  Draft DrawForSupply(Instant now, const std::vector<uint32_t>& lengths_bytes);
  // Hides the keys by `leased`, drawn here for it: a head of kSupplyHeadBytes, then as much as each
  // key has. Nothing leaves before `after`. Returns the notice's number; it is repeated until it is
  // answered, cancelled or released.
  struct Supply {
    SaeId master = {};
    std::vector<SaeId> slaves = {};
    std::vector<std::pair<KeyId, const SecretBytes*>> keys = {};
    std::vector<Drawn> leased = {};
    Duration life = {};  // How long an answer is waited for.
  };
  uint64_t SendSupply(Instant now, const Supply& supply, WriteSeq after, StreamOutbox& out);
  // The draw is given up: its notice shall not stand.
  void CancelSupply(Instant now, uint64_t number, StreamOutbox& out);
  // The draw is answered: nothing is said about its notice any more.
  void ReleaseSupply(uint64_t number) { supplies_.erase(number); }
  // What became of notices since the last call.
  struct SupplyResult {
    uint64_t number = 0;
    bool stands = false;  // Else refused, or the session ended before an answer came.
    WriteSeq after = 0;   // What must be durable before the master is answered.
  };
  std::vector<SupplyResult> TakeSupplyResults() { return std::exchange(supply_results_, {}); }
  // Changes with each session and epoch: what was drawn under another one may be burnt at the
  // destination.
  uint64_t generation() const { return generation_; }

  // ---- Words of others that use this stream to be believed at the destination.
  // What such a word names, while the destination hears this end.
  struct Voice {
    Session session;
    uint64_t epoch = 0;
  };
  std::optional<Voice> voice() const;
  // HMAC-SHA-256 under the stream key of `epoch`, which voice() names or is the one before it.
  bool session_open() const { return peer_.known() && epoch_ready_; }
  Session session() const { return {own_, peer_}; }
  Mac Vouch(uint64_t epoch, const ByteWriter& layout) const;
  bool Vouches(uint64_t epoch, const ByteWriter& layout, const Mac& mac) const;

  // Who relies on a destination that has not been heard for long asks it: a draw, for leases that
  // may be lost with its store, which then has no epoch to speak under; who waits for its answer.
  void AskIfSilent(Instant now);

  // Burns stock and leases and asks for a new epoch (after a rollback alarm).
  void BurnAll(Instant now, StreamOutbox& out);

  SourceLevels Levels() const;
  const SourceCounters& counters() const { return counters_; }

 private:
  struct Epoch {
    SecretBytes stream_key;
    SecretBytes id_key;
  };
  struct InFlight {
    SecretBytes payload;
    Instant sent;
    Instant deadline;
  };
  struct PendingLease {
    StreamLeaseRequest request;
    std::map<uint64_t, SecretBytes> bodies;  // By offset.
    uint64_t bytes = 0;
    Instant asked;  // Its life counts from before the request left.
    Instant retry_at;
    WriteSeq after = 0;
    int tries = 0;
  };
  enum class SupplyPhase : uint8_t { kAsked, kAnswered, kCancelling };
  struct SupplyUnderWay {
    SupplyNotice notice;
    WriteSeq after = 0;
    SupplyPhase phase = SupplyPhase::kAsked;
    std::optional<Instant> retry_at = {};
    int tries = 0;
  };
  void SaySupply(Instant now, SupplyUnderWay& supply, StreamOutbox& out);

  void On(Instant now, const LacksKey& m, StreamOutbox& out);
  void On(Instant now, const DestinationHello& m, StreamOutbox& out);
  void On(Instant now, const OpeningAnswer& m, StreamOutbox& out);
  void On(Instant now, const SegmentAck& m, StreamOutbox& out);
  void On(Instant now, const StreamLeaseAnswer& m, StreamOutbox& out);
  void On(Instant now, const VersionReport& m, StreamOutbox& out);
  void On(Instant now, const SupplyAnswer& m, StreamOutbox& out);
  void RepeatSupplies(Instant now, StreamOutbox& out);
  // A fresh word of the destination (DESIGN §3, "Start").
  void HearDestination(Instant now, Incarnation destination, StreamAddress mark, StreamAddress top,
                       uint64_t version, StreamOutbox& out);
  void OpenSession(Incarnation destination);
  void RaiseMark(StreamAddress mark, StreamOutbox& out);
  void DropStock(StreamOutbox& out);
  void SayHello(Instant now, Incarnation echo, StreamOutbox& out);
  void MaybeLease(Instant now, const StreamDemand& target, StreamOutbox& out);
  void Grant(PendingLease lease, const std::vector<Range>& lacking, WriteSeq after);
  void Burn(Instant now, StreamAddress at);
  WriteSeq Persist(StreamOutbox& out);
  void WantEpoch(Instant now);
  bool CheckMac(uint64_t epoch, const ByteWriter& layout, const Mac& mac);
  // The destination is in the session: the epoch works, and another one can wait. Before that one
  // is opened again soon if it is lacking: a destination that lost its store burns the first, when
  // it hears how far it had been.
  void OnHeard(Instant now);
  // A fresh word of the destination has come, with this version.
  bool NoteVersion(Instant now, uint64_t version);

  const StreamConfig config_;
  const StreamId stream_;
  const Incarnation own_;
  Incarnation peer_ = {};

  std::map<uint64_t, Epoch> epochs_;  // At most two.
  uint64_t top_epoch_ = 0;
  StreamAddress next_ = {};      // The next offset to use.
  StreamAddress reserved_ = {};  // Durable: offsets below may be used.
  StreamAddress mark_ = {};
  uint64_t version_seen_ = 0;
  WriteSeq last_write_ = 0;

  bool want_epoch_ = true;
  bool epoch_ready_ = false;  // The destination said, under its key, that it has the newest epoch.
  bool heard_us_ = false;     // The destination's session with us is open.
  Instant next_epoch_at_ = {};
  static constexpr Duration kEpochBackoffMin = Duration::Seconds(1);
  Duration epoch_backoff_ = kEpochBackoffMin;
  std::optional<StreamAddress> opening_;
  std::optional<Instant> next_hello_;
  Instant asked_or_heard_ = {};

  std::map<StreamAddress, InFlight> in_flight_;
  std::map<StreamAddress, SecretBytes> stock_;
  uint64_t in_flight_bytes_ = 0;
  Duration patience_;
  uint64_t stock_bytes_ = 0;
  OpenRuns runs_;
  uint64_t lease_number_ = 0;  // Grows through all sessions of this start.
  std::optional<PendingLease> pending_;
  std::map<uint64_t, SupplyUnderWay> supplies_;  // By number.
  uint64_t supply_number_ = 0;                   // Grows through all sessions of this start.
  std::vector<SupplyResult> supply_results_;
  uint64_t generation_ = 0;
  SourceCounters counters_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_SOURCE_H_
