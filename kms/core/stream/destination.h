#ifndef KEYHOP_KMS_CORE_STREAM_DESTINATION_H_
#define KEYHOP_KMS_CORE_STREAM_DESTINATION_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/base/byte_writer.h"
#include "kms/base/instant.h"
#include "kms/core/stream/config.h"
#include "kms/core/stream/key_id.h"
#include "kms/core/stream/messages.h"
#include "kms/core/stream/outbox.h"
#include "kms/core/stream/records.h"
#include "kms/core/stream/supply_table.h"

namespace keyhop {

struct DestinationCounters {
  uint64_t segments = 0;
  uint64_t failed_checks = 0;  // End to end.
  uint64_t dropped = 0;        // Below the mark, another session, overlapping, over a limit.
  uint64_t bad_macs = 0;
  uint64_t burnt_bytes = 0;
  uint64_t supplies_taken = 0;  // Supply notices.
  uint64_t supplies_refused = 0;
};

// The fetching end B of the stream A→B (DESIGN §3, §6; rules as in tests/model/epochs.py).
//
// Invariants: a byte leaves by Fetch at most once, and only after the record that says so is
// durable (G2); nothing below the mark is appended or leased again; nothing is served before this
// start has heard the source.
//
// Pure. Not thread-safe.
class StreamDestination {
 public:
  // DATA_LOSS when records of this end cannot have been written by whole batches: a unit without
  // its account or beyond what was ever appended, an epoch that its own account does not know.
  static absl::Status CheckRecovered(const std::vector<StreamRecord>& recovered);
  // `recovered`: this stream's EpochRecords (at_source false), DestinationRecord, Unit*Records and
  // Supply*Records, for which CheckRecovered is OK.
  StreamDestination(StreamConfig config, StreamId stream, Incarnation own,
                    std::vector<StreamRecord> recovered);

  void OnSegment(Instant now, Segment segment, StreamOutbox& out);
  void OnMessage(Instant now, const StreamMessage& message, StreamOutbox& out);
  void OnTick(Instant now, StreamOutbox& out);
  std::optional<Instant> NextDeadline() const;

  // The source was heard in this start: fetches are answered.
  bool serving() const { return peer_.known(); }
  // The epochs whose ID keys are held, newest first, at most two.
  std::vector<uint64_t> Epochs() const;
  const SecretBytes& IdKey(uint64_t epoch) const;
  // For messages of this stream that other parts of the node say: the session, and HMACs under the
  // stream key of an epoch of Epochs().
  Session session() const { return {peer_, own_}; }
  Mac Vouch(uint64_t epoch, const ByteWriter& layout) const;
  bool Vouches(uint64_t epoch, const ByteWriter& layout, const Mac& mac) const;

  struct Wanted {
    uint64_t epoch = 0;
    KeyLocation at;
  };
  // A key that a supply notice brought, for one of its slaves.
  struct WantedSupply {
    KeyId id = {};
    SaeId slave = {};
  };
  using WantedKey = std::variant<Wanted, WantedSupply>;
  struct Fetched {
    std::vector<SecretBytes> keys;
    WriteSeq after = 0;  // The keys may leave once this write is durable.
  };
  // All or nothing, in order. UNAVAILABLE before the source was heard; NOT_FOUND when any of the
  // ranges is not here, used, or named twice in this call: then nothing is consumed. CheckFetch
  // says beforehand what it would say.
  absl::Status CheckFetch(const std::vector<WantedKey>& wanted) const;
  absl::StatusOr<Fetched> Fetch(const std::vector<WantedKey>& wanted, StreamOutbox& out);
  // What this slave may make of a key_ID that supply notices could have brought.
  SupplyState SupplyFor(const KeyId& id, const SaeId& master, const SaeId& slave) const {
    return supplies_.StateFor(id, master, slave);
  }

  // Whether the source said this, in the session under way (StreamSource::Vouch).
  bool Believes(const Session& session, uint64_t epoch, const ByteWriter& layout, const Mac& mac) {
    return peer_.known() && session == Session{peer_, own_} && CheckMac(epoch, layout, mac);
  }

  // Burns the unfetched keys of all leases: the strict choice for a start.
  void BurnOpenLeases(StreamOutbox& out);
  // Burns everything here (after a rollback alarm); the source has to open a new epoch.
  void BurnAll(StreamOutbox& out);

  const DestinationCounters& counters() const { return counters_; }
  uint64_t unfetched_bytes() const;
  const SupplyTable& supplies() const { return supplies_; }

 private:
  struct Unit {
    SecretBytes body;
    uint32_t length = 0;
    bool leased = false;
    std::vector<uint8_t> used;
    Duration life_left = {};
    std::optional<Instant> burn_at = {};
  };
  using Units = std::map<StreamAddress, Unit>;

  struct Epoch {
    SecretBytes stream_key;
    SecretBytes id_key;
  };

  void OnOpening(Segment segment, StreamOutbox& out);
  void OnBody(Segment segment, StreamOutbox& out);
  void On(Instant now, const SourceHello& m, StreamOutbox& out);
  void On(Instant now, const StreamLeaseRequest& m, StreamOutbox& out);
  void On(Instant now, const SupplyNotice& m, StreamOutbox& out);
  void On(const SupplyCancel& m, StreamOutbox& out);
  // Whether the notice stands once this returns.
  bool TakeSupply(Instant now, const SupplyNotice& m, StreamOutbox& out);
  void AnswerSupply(uint64_t number, uint64_t epoch, SupplyOutcome outcome, StreamOutbox& out);
  void SayHello(uint64_t epoch, Incarnation echo, StreamOutbox& out);
  // Ends this call's batch: writes the account; raises the version if the source was heard.
  WriteSeq Persist(StreamOutbox& out);
  void WriteState(const StreamAddress& at, const Unit& unit, StreamOutbox& out);
  Units::iterator Drop(Units::iterator it, bool burnt, StreamOutbox& out);
  void AddEpoch(uint64_t number, SecretBytes keys);
  bool CheckMac(uint64_t epoch, const ByteWriter& layout, const Mac& mac);
  static std::vector<Wanted> OfUnits(const std::vector<WantedKey>& wanted);
  // Leased here, not used, and no byte in two of them.
  bool AllUnused(const std::vector<Wanted>& wanted) const;
  bool CoversUnused(const Wanted& w) const;
  SecretBytes Read(const Wanted& w) const;
  // Erases the bytes and writes that they are used.
  void Consume(const std::vector<Wanted>& wanted, StreamOutbox& out);
  bool TimerDue(Instant now) const;

  const StreamConfig config_;
  const StreamId stream_;
  Incarnation own_;
  Incarnation peer_ = {};  // The source's, once heard.
  std::map<uint64_t, Epoch> epochs_;
  uint64_t top_epoch_ = 0;
  StreamAddress mark_ = {};
  StreamAddress top_ = {};
  uint64_t version_ = 0;
  uint64_t version_told_ = 0;
  WriteSeq last_write_ = 0;
  Units units_;
  SupplyTable supplies_;
  std::set<uint64_t> cancelled_;  // Numbers of notices, of the session under way; the highest.
  uint64_t lease_number_ = 0;
  std::optional<StreamLeaseAnswer> lease_answer_;
  std::optional<Instant> next_hello_;
  std::optional<Instant> next_report_;
  bool started_ = false;
  DestinationCounters counters_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_DESTINATION_H_
