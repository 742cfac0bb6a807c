#ifndef KEYHOP_KMS_CORE_STREAM_RECORDS_H_
#define KEYHOP_KMS_CORE_STREAM_RECORDS_H_

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/stream/messages.h"

// The durable state of a pair stream's ends. Each record stands under a key of its own and says
// the new value whole; writing it again replaces it.

namespace keyhop {

// The keys of one epoch: stream key (32 bytes) then ID key (32 bytes).
struct EpochKeys {
  uint64_t number = 0;
  SecretBytes keys;
};

// Source, key: stream.
struct SourceRecord {
  StreamId stream;
  uint64_t top_epoch = 0;       // The highest number known at either end.
  StreamAddress reserved = {};  // Offsets below may have been sent; they never return.
  StreamAddress mark = {};      // All below may have been leased.
  uint64_t version_seen = 0;    // The highest version of the destination heard of.
};
// Both ends, key: end, stream, number. Absent keys erase it.
struct EpochRecord {
  StreamId stream;
  bool at_source = false;
  uint64_t number = 0;
  std::optional<SecretBytes> keys = {};
};
// Source, key: stream, address. A segment that the destination acknowledged, not leased yet.
struct SourceSegmentRecord {
  StreamId stream;
  StreamAddress at = {};
  std::optional<SecretBytes> body = {};
};

// Destination, key: stream.
struct DestinationRecord {
  StreamId stream;
  uint64_t top_epoch = 0;
  StreamAddress mark = {};
  StreamAddress top = {};  // Above all that was ever appended.
  uint64_t version = 0;    // Raised in each batch here once the source was heard.
};
// Destination, key: stream, address. The bytes of one unit (at most 4,096), written once.
struct UnitBodyRecord {
  StreamId stream;
  StreamAddress at = {};
  std::optional<SecretBytes> body = {};
};
// Destination, key: stream, address. Its account.
struct UnitStateRecord {
  StreamId stream;
  StreamAddress at = {};
  bool erased = false;
  bool leased = false;
  uint32_t length_bytes = 0;
  std::vector<uint8_t> used = {};  // A bit for each 4 bytes, lowest first.
  Duration life_left = {};
};
// Destination, key: stream, key_ID. One key that a supply notice brought.
struct SupplyKeyRecord {
  StreamId stream;
  KeyId id = {};
  std::optional<SecretBytes> body = {};
};
// Destination, key: stream, key_ID. For whom it stands, and who got it. It stays when all got it,
// without the key, until its life ends or room is needed: so a used key_ID is known as used.
struct SupplyRecord {
  StreamId stream;
  KeyId id = {};
  bool erased = false;
  SaeId master = {};
  std::vector<SaeId> slaves = {};
  std::vector<uint8_t> fetched = {};  // A bit for each slave, in order, lowest first.
  Duration life_left = {};
};

using StreamRecord = std::variant<SourceRecord, EpochRecord, SourceSegmentRecord, DestinationRecord,
                                  UnitBodyRecord, UnitStateRecord, SupplyKeyRecord, SupplyRecord>;

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_RECORDS_H_
