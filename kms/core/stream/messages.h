#ifndef KEYHOP_KMS_CORE_STREAM_MESSAGES_H_
#define KEYHOP_KMS_CORE_STREAM_MESSAGES_H_

#include <cstdint>
#include <variant>
#include <vector>

#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/types.h"
#include "kms/crypto/mac.h"

// What the two ends of a pair stream say to each other (DESIGN §3, §4, §6). `mac` fields are
// HMAC-SHA-256 under the epoch's stream key; `tag` fields are one-time tags under r, s' of a
// segment. Layouts of what they cover are in layout.h.

namespace keyhop {

// The stream A→B: A (source) draws, B (destination) fetches. Two nodes may have several: each of
// `paths` shares of a segment, whose XOR it is, comes over a path of its own, and no two of these
// have a node in between in common. So nobody in between learns anything of a stream with two or
// more.
struct StreamId {
  NodeId source;
  NodeId destination;
  uint8_t paths = 1;
  friend auto operator<=>(const StreamId&, const StreamId&) = default;
};

// A place in a stream: body byte `offset` of `epoch`. Ordered; marks are such places.
struct StreamAddress {
  uint64_t epoch = 0;
  uint64_t offset = 0;
  friend auto operator<=>(const StreamAddress&, const StreamAddress&) = default;
};

enum class SegmentKind : uint8_t {
  kOpening = 1,  // Its body is the stream key (32 bytes) and the ID key (32 bytes) of a new epoch.
  kBody = 2,     // Its body is stream bytes.
};

// A segment as its destination gets it from the relay. The payload is r (16), s (16), s' (16),
// body.
struct Segment {
  StreamId stream;
  SegmentKind kind = SegmentKind::kBody;
  Session session = {};  // An opening knows only the source's incarnation.
  StreamAddress at = {};
  std::vector<NodeId> path = {};  // Source first, destination last.
  Tag check = {};                 // End to end, under r, s over all of the above and the body.
  SecretBytes payload;
};
inline constexpr size_t kSegmentHeadBytes = 48;
inline constexpr size_t kOpeningBodyBytes = 64;

// -- From the source.
struct SourceHello {
  StreamId stream;
  uint64_t epoch = 0;
  Incarnation source = {};
  Incarnation echo = {};  // The destination's, once known; only then mark and version are said.
  StreamAddress mark = {};
  uint64_t version_seen = 0;  // Highest version of the destination that the source remembers.
  Mac mac = {};
};
struct StreamLeaseRequest {
  StreamId stream;
  Session session = {};
  uint64_t number = 0;
  uint64_t epoch = 0;
  std::vector<Range> ranges = {};  // Offsets, ascending, not touching.
  Duration life = {};
  Mac mac = {};
};
// Keys of a draw for further slaves, at a KM that is their home (DESIGN §6): each key XOR bytes of
// a lease that the destination confirmed, which are used for nothing else. Repeated with the same
// bytes until it is answered.
struct SupplyNotice {
  struct Item {
    KeyId id = {};
    StreamAddress at = {};  // The leased bytes that hide this key.
  };
  StreamId stream;
  Session session = {};
  uint64_t number = 0;  // Grows through all sessions of the source's start.
  uint64_t epoch = 0;   // Whose stream key `mac` is under.
  SaeId master = {};
  std::vector<SaeId> slaves = {};
  uint32_t length_bytes = 0;  // Of each key.
  Duration life = {};         // How long the source waits for answers before it gives up.
  StreamAddress head = {};    // Leased bytes: r (16), s (16).
  std::vector<Item> items = {};
  std::vector<uint8_t> ciphertext = {};  // All keys, in order, XOR the leased bytes.
  Tag tag = {};  // One-time, under r and s, over all of the above and the keys in clear.
  Mac mac = {};
};
inline constexpr uint32_t kSupplyHeadBytes = 32;
// The source gave the draw up: its notice is void, whether it came or not.
struct SupplyCancel {
  StreamId stream;
  Session session = {};
  uint64_t number = 0;
  uint64_t epoch = 0;
  Mac mac = {};
};

// -- From the destination.
struct DestinationHello {
  StreamId stream;
  uint64_t epoch = 0;
  Incarnation destination = {};
  Incarnation echo = {};
  StreamAddress mark = {};
  StreamAddress top = {};  // Above all that was ever appended here.
  uint64_t version = 0;
  bool heard = false;  // The destination's session with `echo` is open.
  Mac mac = {};
};
struct LacksKey {  // Anybody could say so: it only costs an epoch, at most one a minute.
  StreamId stream;
  uint64_t epoch = 0;
  Incarnation source = {};
};
struct OpeningAnswer {
  StreamId stream;
  uint64_t epoch = 0;
  Incarnation source = {};
  Incarnation destination = {};
  bool accepted = false;
  uint64_t highest_epoch = 0;  // The destination's; when refused the source starts above it.
  uint64_t version = 0;
  Tag tag = {};
};
struct SegmentAck {
  StreamId stream;
  Session session = {};
  StreamAddress at = {};
  uint32_t length_bytes = 0;  // Of the body.
  uint64_t version = 0;
  Tag tag = {};
};
struct StreamLeaseAnswer {
  StreamId stream;
  Session session = {};
  uint64_t number = 0;
  bool refused = false;
  StreamAddress mark = {};
  std::vector<Range> lacking = {};
  uint64_t version = 0;
  Mac mac = {};
};
struct VersionReport {
  StreamId stream;
  Session session = {};
  uint64_t version = 0;
  Mac mac = {};
};
enum class SupplyOutcome : uint8_t {
  kStands = 1,     // The keys are durable here, for the slaves named.
  kRefused = 2,    // Nothing was taken: no room, or the leased bytes are not here.
  kCancelled = 3,  // Nothing stands by this number, nor will.
};
// To a notice or a cancel, under the stream key of the epoch that it names.
struct SupplyAnswer {
  StreamId stream;
  Session session = {};
  uint64_t number = 0;
  SupplyOutcome outcome = SupplyOutcome::kRefused;
  uint64_t version = 0;
  Mac mac = {};
};

// -- Which keys were drawn, for slaves that want to know (kms/core/announce).

// A key that was drawn at the source; never its bytes.
struct Announcement {
  KeyId id = {};
  SaeId master;
  uint32_t slave_number = 0;  // The slave's registration number at the destination.
  uint32_t length_bytes = 0;
  friend bool operator==(const Announcement&, const Announcement&) = default;
};
struct InterestReport {  // From the destination.
  StreamId stream;
  Session session = {};
  uint64_t epoch = 0;
  uint64_t number = 0;                // Grows within a life of the destination.
  std::vector<uint32_t> slaves = {};  // Registration numbers, ascending: all that want to know.
  // Of that life of the source, all announcements up to this number are durable here.
  Incarnation taken_of = {};
  uint64_t taken = 0;
  Mac mac = {};
};
struct Announcements {  // From the source. Those without items only echo a report.
  StreamId stream;
  Session session = {};
  uint64_t epoch = 0;
  uint64_t interest = 0;  // The number of the last report that came.
  uint64_t first = 0;     // The number of the first item, or of the next to come.
  std::vector<Announcement> items = {};
  Mac mac = {};
};
struct AnnouncementsTaken {  // From the destination.
  StreamId stream;
  Session session = {};
  uint64_t epoch = 0;
  uint64_t taken = 0;  // All up to this number are durable here.
  Mac mac = {};
};

using StreamMessage =
    std::variant<SourceHello, StreamLeaseRequest, DestinationHello, LacksKey, OpeningAnswer,
                 SegmentAck, StreamLeaseAnswer, VersionReport, SupplyNotice, SupplyCancel,
                 SupplyAnswer, InterestReport, Announcements, AnnouncementsTaken>;

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_MESSAGES_H_
