#ifndef KEYHOP_KMS_CORE_KEYSTREAM_RECORDS_H_
#define KEYHOP_KMS_CORE_KEYSTREAM_RECORDS_H_

#include <array>
#include <cstdint>

#include "kms/base/instant.h"
#include "kms/core/keystream/request.h"
#include "kms/core/types.h"

// The durable state of key streams. Nothing in it is secret: chunks are named by key_IDs.

namespace keyhop {

// Key: id. One stream at one of its KMEs. Sides are ordered as in KeystreamNote.
struct KeystreamRecord {
  KeyId id = {};
  bool erased = false;
  std::array<SaeId, 2> saes = {};
  std::array<bool, 2> opened = {};
  std::array<bool, 2> closed = {};
  KeystreamQos qos = {};
  uint64_t next_index = 0;
  uint64_t settled_below = 0;
};
// Key: id, index. A chunk that was allocated and is not forgotten.
struct KeystreamChunkRecord {
  KeyId id = {};
  uint64_t index = 0;
  bool erased = false;
  KeyId key_id = {};
  uint32_t hops = 0;
  std::array<bool, 2> taken = {};  // By each side, or burnt for it.
  Duration life_left = {};
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_KEYSTREAM_RECORDS_H_
