#ifndef KEYHOP_KMS_CORE_STREAM_SUPPLY_TABLE_H_
#define KEYHOP_KMS_CORE_STREAM_SUPPLY_TABLE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/stream/messages.h"
#include "kms/core/stream/outbox.h"
#include "kms/core/stream/records.h"

namespace keyhop {

// What a caller may make of a key_ID that supply notices of one source could have brought.
enum class SupplyState : uint8_t {
  kNone,     // Not here, or not by this master.
  kForeign,  // Here, for others.
  kUsed,     // The caller got it.
  kReady,
};

// The keys that supply notices of one source brought to this end of its stream, each for the slaves
// named (DESIGN §6; rules as in tests/model/notices.py). Bounded by what its owner asks HasRoom
// for. Every change is written to the outbox; the owner raises the stream's version in the same
// batch.
//
// Invariant: a key goes to each slave at most once, and its bytes go when all have got it.
// Not thread-safe.
class SupplyTable {
 public:
  explicit SupplyTable(StreamId stream) : stream_(std::move(stream)) {}

  void Recover(SupplyKeyRecord record);
  void Recover(SupplyRecord record);
  // The first tick of a start: lives that were recovered count from here.
  void Start(Instant now);
  // With a new session no cancel reaches what older sessions brought.
  void OnNewSession();

  // Room for that many keys more, if keys that are used may be forgotten for it.
  bool HasRoom(size_t keys, size_t keys_max) const;
  // The notice of this number, or a part of it, stands here.
  bool Stands(const SupplyNotice& notice) const;
  bool Knows(const KeyId& id) const { return entries_.contains(id); }
  // Takes all keys of a notice, none of which is known; makes room first.
  void Put(Instant now, const SupplyNotice& notice, std::vector<SecretBytes> keys, Duration life,
           size_t keys_max, StreamOutbox& out);
  // Drops what the notice of this number brought. Returns whether there was anything.
  bool Cancel(uint64_t number, StreamOutbox& out);

  SupplyState StateFor(const KeyId& id, const SaeId& master, const SaeId& slave) const;
  // The key for a slave for which it is ready.
  SecretBytes Take(const KeyId& id, const SaeId& slave, StreamOutbox& out);

  void DropAll(StreamOutbox& out);
  // Returns whether anything was dropped.
  bool DropExpired(Instant now, StreamOutbox& out);
  std::optional<Instant> NextExpiry() const;

  size_t size() const { return entries_.size(); }
  // Keys dropped before all slaves got them; of these, by their age.
  uint64_t burnt_keys() const { return burnt_keys_; }
  uint64_t expired_keys() const { return expired_keys_; }

 private:
  struct Entry {
    SaeId master;
    std::vector<SaeId> slaves;
    std::vector<uint8_t> fetched;
    SecretBytes key;  // Empty once all got it.
    Duration life_left;
    Instant burn_at;
    uint64_t number = 0;  // Of the notice, in the session under way; 0: of an older one.
    bool used() const { return key.empty(); }
  };
  using Entries = std::map<KeyId, Entry>;

  void Write(const KeyId& id, const Entry& entry, StreamOutbox& out) const;
  Entries::iterator Drop(Entries::iterator it, StreamOutbox& out);

  const StreamId stream_;
  Entries entries_;
  std::set<std::pair<Instant, KeyId>> by_age_;   // All.
  std::set<std::pair<Instant, KeyId>> used_up_;  // Those that all slaves got.
  uint64_t burnt_keys_ = 0;
  uint64_t expired_keys_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_SUPPLY_TABLE_H_
