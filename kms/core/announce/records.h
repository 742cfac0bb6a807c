#ifndef KEYHOP_KMS_CORE_ANNOUNCE_RECORDS_H_
#define KEYHOP_KMS_CORE_ANNOUNCE_RECORDS_H_

#include <cstdint>
#include <map>
#include <variant>
#include <vector>

#include "kms/core/delivery/request.h"
#include "kms/core/types.h"

// What a slave's home keeps durably of the keys that were drawn for its SAEs.

namespace keyhop {

// Key: SAE. There while it wants to know.
struct WatchRecord {
  SaeId sae;
  bool erased = false;
  // By source: the life of it from which on nothing is missing in the list, but for gaps.
  std::map<NodeId, Incarnation> complete = {};
};
// Key: SAE, number of the first entry. Written once.
struct WatchChunkRecord {
  SaeId sae;
  uint64_t first = 0;
  bool erased = false;
  uint64_t life = 0;
  std::vector<WatchEntry> entries = {};
};
// Key: source. How far this end got with the announcements of one life of a source.
struct AnnouncedRecord {
  NodeId source;
  Incarnation life = {};
  uint64_t taken = 0;
};

using AnnounceRecord = std::variant<WatchRecord, WatchChunkRecord, AnnouncedRecord>;

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_ANNOUNCE_RECORDS_H_
