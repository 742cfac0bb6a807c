#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_MESSAGES_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_MESSAGES_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "kms/base/instant.h"
#include "kms/core/types.h"
#include "kms/crypto/mac.h"

// What the two ends of a QKD link say to each other about pads (DESIGN §3). `mac` is
// HMAC-SHA-256 under the link's pre-shared key over the layout in layout.h.

namespace keyhop {

using LinkId = StrongString<struct LinkIdKind>;

// One run of one module pair: a book of pads. Its addresses are block numbers.
struct BookId {
  uint32_t module_pair = 0;
  uint64_t run = 0;
  friend auto operator<=>(const BookId&, const BookId&) = default;
};

// Which way the pads of a lease protect frames.
enum class Direction : uint8_t {
  kFromAllocator = 1,  // From the end with the lower node ID.
  kToAllocator = 2,
};

struct BookMark {
  BookId book;
  uint64_t mark = 0;       // Blocks below may have been leased, or are not held here.
  uint64_t stock_top = 0;  // Above the last block that this end took from its module (a hint).
};

struct LinkHello {
  LinkId link;
  NodeId from;
  Incarnation own = {};
  Incarnation echo = {};
  bool open = false;  // The sender's session with `echo` is open.
  std::vector<BookMark> books = {};
  uint64_t version = 0;       // Of the sender's books.
  uint64_t version_seen = 0;  // The highest of the receiver's that the sender remembers.
  Mac mac = {};
};
struct LinkLeaseRequest {  // From the allocator.
  LinkId link;
  Session session = {};
  Direction direction = Direction::kFromAllocator;
  uint64_t number = 0;  // Grows by one for each direction, through all sessions of a start.
  BookId book;
  std::vector<Range> blocks = {};
  Mac mac = {};
};
struct LinkLeaseAnswer {
  LinkId link;
  Session session = {};
  Direction direction = Direction::kFromAllocator;
  uint64_t number = 0;
  bool refused = false;
  BookId book;
  uint64_t mark = 0;
  std::vector<Range> lacking = {};
  uint64_t version = 0;
  Mac mac = {};
};
// Sent by either end, at most every status interval: what it needs and holds.
struct LinkNeed {
  LinkId link;
  NodeId from;
  Session session = {};
  uint64_t sequence = 0;
  uint64_t wanted_bytes = 0;  // Of new leases in the sender's sending direction.
  std::vector<BookMark> books = {};
  uint64_t version = 0;
  Mac mac = {};
};

using LinkMessage = std::variant<LinkHello, LinkLeaseRequest, LinkLeaseAnswer, LinkNeed>;

// A run of pad bytes inside one block of one lease.
struct PadRange {
  uint64_t lease = 0;  // Number of the lease in the frame's direction and session.
  BookId book;
  uint64_t block = 0;
  uint32_t offset_bytes = 0;
  uint32_t length_bytes = 0;
  friend auto operator<=>(const PadRange&, const PadRange&) = default;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_MESSAGES_H_
