#ifndef KEYHOP_KMS_CORE_TYPES_H_
#define KEYHOP_KMS_CORE_TYPES_H_

#include <array>
#include <compare>
#include <cstdint>
#include <utility>
#include <vector>

#include "kms/base/strong_string.h"
#include "kms/crypto/mac.h"

namespace keyhop {

using NodeId = StrongString<struct NodeIdKind>;  // At most 64 bytes.
using SaeId = StrongString<struct SaeIdKind>;    // At most 300 bytes; any UTF-8.

// How many node-disjoint paths the segments of one stream may be split over.
inline constexpr uint8_t kPathsMax = 4;

// A pair of nodes as one of them sees it: the other node, and over how many node-disjoint paths
// each segment is split (StreamId::paths). A node's name alone means the pair whose segments are
// not split.
struct PairWith {
  NodeId node;
  uint8_t paths = 1;
  PairWith() = default;
  PairWith(NodeId other, uint8_t over = 1) : node(std::move(other)), paths(over) {}  // NOLINT
  friend auto operator<=>(const PairWith&, const PairWith&) = default;
  template <typename Hash>
  friend Hash AbslHashValue(Hash hash, const PairWith& pair) {
    return Hash::combine(std::move(hash), pair.node, pair.paths);
  }
};

// One life of one end of a book: a durable counter and 64 random bits (DESIGN §3). counter 0
// means "not known".
struct Incarnation {
  uint64_t counter = 0;
  uint64_t random = 0;
  bool known() const { return counter != 0; }
  friend auto operator<=>(const Incarnation&, const Incarnation&) = default;
};

// Two incarnations, paired. Of a link: `first` is the end with the lower ID. Of a stream: `first`
// is the source.
struct Session {
  Incarnation first;
  Incarnation second;
  bool known() const { return first.known() && second.known(); }
  friend auto operator<=>(const Session&, const Session&) = default;
};

// Half-open: [begin, end).
struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t size() const { return end - begin; }
  friend auto operator<=>(const Range&, const Range&) = default;
};

// The number of a durable write of this process, growing by one. 0: nothing to wait for.
using WriteSeq = uint64_t;

// Keys are named by UUIDs (RFC 9562), 16 bytes.
using KeyId = std::array<uint8_t, 16>;

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_TYPES_H_
