#ifndef KEYHOP_TRUSTED_NODE_WIRE_RECORDS_H_
#define KEYHOP_TRUSTED_NODE_WIRE_RECORDS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/base/secret_bytes.h"
#include "trusted_node/core/node/node.h"

namespace keyhop {

// The newest format that this release writes; it reads this one and all older ones. A record says
// the oldest format that has its kind and all its fields.
inline constexpr uint32_t kRecordFormat = 2;

// A record as it goes to the store.
//
// The key begins with the machine that the record belongs to ("link/" ID, "stream/" source,
// destination, "node", "sae/" ID), IDs with their length before them, then what kind of record it
// is, then its address as big-endian numbers: a machine's records are one run of keys, in order of
// address.
struct StoredRecord {
  std::string key;
  bool erase = false;                   // The key goes, with public and secret part.
  std::string public_bytes;             // keyhop.record.v1.Record, serialised; no secret.
  const SecretBytes* secret = nullptr;  // To be sealed; part of the record given, or none.
};

// `record` must outlive the result. Thread-safe.
StoredRecord ToStored(const Record& record);

// The record again. DATA_LOSS, naming the kind of record, when the parts do not fit each other: a
// key that is not this record's, no secret where there must be one, a format from the future.
// Thread-safe.
absl::StatusOr<Record> FromStored(absl::string_view key, absl::string_view public_bytes,
                                  std::optional<SecretBytes> secret);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_WIRE_RECORDS_H_
