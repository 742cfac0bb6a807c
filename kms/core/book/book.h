#ifndef KEYHOP_KMS_CORE_BOOK_BOOK_H_
#define KEYHOP_KMS_CORE_BOOK_BOOK_H_

#include <algorithm>
#include <cstdint>

#include "kms/core/book/interval_set.h"

// The account of one consumable (DESIGN §3): the pads of one (link, module pair, run), or one pair
// stream. What is common to both kinds is here; leases and sessions differ and lie with each.

namespace keyhop {

// Everything below a mark may have been used; it only grows (G3). `Address` is ordered, and its
// default value is the lowest.
template <typename Address>
class GrowingMark {
 public:
  GrowingMark() = default;
  explicit GrowingMark(Address recovered) : at_(recovered) {}

  Address at() const { return at_; }
  bool Covers(Address address) const { return address < at_; }
  // Takes the larger. Returns whether the mark grew: it is then to be recorded.
  bool Raise(Address to) {
    if (!(at_ < to)) return false;
    at_ = to;
    return true;
  }

 private:
  Address at_ = {};
};

// How far one end is, and how far it knows the other to be. Both only grow. An end whose peer
// remembers a higher version of it than it does was restored from an old image; it raises its own
// only once it heard the peer in this start, or its own records would hide that.
class BookVersions {
 public:
  BookVersions() = default;
  BookVersions(uint64_t own, uint64_t seen) : own_(own), seen_(seen) {}

  uint64_t own() const { return own_; }
  uint64_t seen() const { return seen_; }
  // For a batch of records: to be recorded in it. Returns the new version.
  uint64_t Raise() { return ++own_; }
  // The peer said its version. Returns whether it is news: it is then to be recorded.
  bool Hear(uint64_t peers) {
    if (peers <= seen_) return false;
    seen_ = peers;
    return true;
  }
  // Given the version of this end that the peer remembers: is this end behind itself?
  bool BehindWhatPeerSaw(uint64_t peer_saw) const { return peer_saw > own_; }
  // After a rollback: with the next Raise, above everything that was ever told to the peer.
  void JumpTo(uint64_t peer_saw) { own_ = std::max(own_, peer_saw); }

 private:
  uint64_t own_ = 0;
  uint64_t seen_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_BOOK_BOOK_H_
