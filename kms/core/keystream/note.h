#ifndef KEYHOP_KMS_CORE_KEYSTREAM_NOTE_H_
#define KEYHOP_KMS_CORE_KEYSTREAM_NOTE_H_

#include <cstdint>
#include <vector>

#include "kms/base/byte_writer.h"
#include "kms/core/keystream/request.h"
#include "kms/core/stream/messages.h"
#include "kms/core/types.h"

namespace keyhop {

// Why the sender has no such stream.
enum class KeystreamGone : uint8_t {
  kUnknown = 1,  // Never had it, or it is over.
  kIdInUse = 2,  // The ID is another pair's.
  kQos = 3,      // It could not honour this QoS.
  kLimit = 4,    // Too many streams.
  kRefused = 5,  // Its SAE is not at home there, or the sender's is not where it speaks from.
};

// What one KME says to the other about a key stream that both serve: all that it knows of it,
// whole. Said again until it is answered; taking it twice does no harm. No key is in it: a chunk is
// named by the key_ID under which each end fetches it, once, from its own pair stream.
struct KeystreamNote {
  // A chunk that the allocating KME drew for an index.
  struct Chunk {
    uint64_t index = 0;
    KeyId key_id = {};
    uint32_t hops = 0;  // Trusted nodes that the key passed.
  };
  // The pair stream from the sender, and the sender's session on it; `mac` is HMAC-SHA-256 under
  // the stream key of `epoch`.
  StreamId stream;
  Session session = {};
  uint64_t epoch = 0;
  uint64_t number = 0;    // Grows through the sender's start.
  uint64_t reply_to = 0;  // The number of the note that this one answers; 0: none.
  bool ask = false;       // An answer is wanted.
  KeyId id = {};
  SaeId first;  // The two SAEs; the home of the first allocates.
  SaeId second;
  KeystreamQos qos = {};
  std::optional<KeystreamGone> gone = {};
  bool opened = false;  // By the sender's SAE.
  bool closed = false;
  // All indices below are decided at the sender: the allocator's next one, or one above the last
  // that the other holds.
  uint64_t next_index = 0;
  // From the allocator: chunks below are settled, whoever read them may forget them. From the
  // other: the same number as it heard.
  uint64_t settled_below = 0;
  uint64_t want_below = 0;   // Indices below were asked for at the sender.
  uint64_t limit_below = 0;  // The sender has room for chunks below.
  bool conflict = false;     // A chunk came that contradicts what the sender has.
  std::vector<Chunk> chunks = {};
  Mac mac = {};
};
inline constexpr size_t kKeystreamChunksPerNote = 64;

// The bytes that `mac` covers.
ByteWriter LayoutOf(const KeystreamNote& note);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_KEYSTREAM_NOTE_H_
