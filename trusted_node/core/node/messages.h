#ifndef KEYHOP_TRUSTED_NODE_CORE_NODE_MESSAGES_H_
#define KEYHOP_TRUSTED_NODE_CORE_NODE_MESSAGES_H_

#include <cstdint>
#include <variant>
#include <vector>

#include "kms/base/instant.h"
#include "kms/core/keystream/note.h"
#include "kms/core/stream/messages.h"
#include "kms/core/types.h"
#include "trusted_node/core/link/messages.h"
#include "trusted_node/core/routing/routing.h"

// Everything that two neighbouring KMs say to each other over Kx.

namespace keyhop {

// Names one relay of one segment: unique for ever (the source's incarnation is).
struct RelayId {
  NodeId source;
  Incarnation incarnation;
  uint64_t number = 0;
  friend auto operator<=>(const RelayId&, const RelayId&) = default;
};

// A segment on one hop (DESIGN §4). `tag` is the hop's one-time tag over the header (layout.h) and
// the payload in clear; `ciphertext` is payload XOR pad, empty on the first hop, where the payload
// is the pad itself.
struct RelayFrame {
  Session link_session = {};
  RelayId relay;
  SegmentKind kind = SegmentKind::kBody;
  StreamId stream;
  Session session = {};
  StreamAddress at = {};
  uint8_t share = 0;  // Of the segment; below stream.paths.
  uint32_t body_bytes = 0;
  std::vector<NodeId> path = {};  // Whole; source first, destination last.
  uint8_t hop = 0;                // This frame goes from path[hop] to path[hop + 1].
  uint8_t priority = 0;
  uint32_t remaining_ms = 0;
  std::vector<PadRange> pads = {};  // s first.
  Tag check = {};                   // The segment's end-to-end check.
  std::vector<uint8_t> ciphertext = {};
  Tag tag = {};
};

enum class RefusalReason : uint8_t {
  kNoPad = 1,
  kLinkDown = 2,
  kBadTag = 3,
  kBadPads = 4,
  kNotOnPath = 5,
  kExpired = 6,
  kOverloaded = 7,
};
// From the node that could not forward, to the source: the segment is burnt.
struct RelayRefusal {
  RelayId relay;
  NodeId at;
  RefusalReason reason = RefusalReason::kNoPad;
};

using ControlBody = std::variant<StreamMessage, RelayRefusal, KeystreamNote>;
// Control between KMs that need not be neighbours; each hop authenticates it anew (HMAC under the
// link key over layout.h's layout) and passes it on.
struct RoutedControl {
  Session link_session = {};
  NodeId from;
  NodeId to;
  uint8_t hop_limit = 0;
  ControlBody body;
  Mac mac = {};
};

using KxMessage = std::variant<LinkMessage, RelayFrame, RoutedControl, LinkState>;

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_NODE_MESSAGES_H_
