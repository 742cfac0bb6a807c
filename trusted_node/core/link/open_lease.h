#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_OPEN_LEASE_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_OPEN_LEASE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "kms/base/secret_bytes.h"
#include "kms/core/book/interval_set.h"
#include "trusted_node/core/link/messages.h"

namespace keyhop {

// r and s of a one-time tag, in bytes; the least that a pad unit and a frame's first range hold.
inline constexpr uint32_t kTagPartBytes = 16;
inline constexpr uint32_t kPadUnitBytesMin = 2 * kTagPartBytes;

// A pad unit that left the stock for a lease.
struct LeasedBlock {
  uint64_t block = 0;
  SecretBytes bytes;
};
uint64_t SizeOf(const std::vector<LeasedBlock>& blocks);

// A lease in our sending direction. Its bytes go out in order, each once, and are erased here as
// they go. The first 16 are r of the tags whose s is from this lease, used for nothing else.
//
// Pure, not thread-safe.
class SendLease {
 public:
  // `blocks` ascending, not empty, each kPadUnitBytesMin at least. Usable for frames that leave
  // once write `after` is durable.
  SendLease(uint64_t number, BookId book, std::vector<LeasedBlock> blocks, WriteSeq after);

  uint64_t number() const { return number_; }
  WriteSeq after() const { return after_; }
  uint64_t free_bytes() const { return free_; }
  const SecretBytes& r() const { return r_; }
  // Moves the next bytes, up to out.size(), into `out`, adds what they are called to `ranges`,
  // and returns how many there were.
  size_t Take(std::span<uint8_t> out, std::vector<PadRange>& ranges);

 private:
  uint64_t number_;
  BookId book_;
  std::vector<LeasedBlock> blocks_;
  WriteSeq after_;
  SecretBytes r_;
  size_t index_ = 0;
  size_t offset_ = 0;
  uint64_t free_ = 0;
};

// A lease in the peer's sending direction: what a frame may name, each byte once. Frames may come
// in any order and leave gaps; past kGapsMax gaps the lowest counts as used.
//
// Pure, not thread-safe.
class ReceiveLease {
 public:
  static constexpr size_t kGapsMax = 1024;
  static constexpr uint32_t kFailedTagsOfUnequalR = 2;

  ReceiveLease(BookId book, std::vector<LeasedBlock> blocks);

  const BookId& book() const { return book_; }
  uint64_t free_bytes() const { return size_ - used_.size(); }
  const SecretBytes& r() const { return r_; }
  // A frame under this r passed its tag: both ends have the same r.
  void TagPassed() { r_proven_ = true; }
  // One failed. True once so many failed, and none passed, that the ends' r must differ (their
  // modules gave unequal blocks): nothing passes under it any more.
  bool TagFailed() { return !r_proven_ && ++failed_tags_ >= kFailedTagsOfUnequalR; }
  // Whether nothing can come any more: only a tail shorter than a tag's s is unused.
  bool Spent() const;
  // The range within the lease, or an empty one: another book, not of this lease, or any byte of
  // it seen before.
  Range Locate(const PadRange& range) const;
  // Moves the bytes of a located range into `out`; they are used and erased from then on. Returns
  // how many others count as used now.
  uint64_t Take(const PadRange& range, Range located, std::span<uint8_t> out);

 private:
  struct Block {
    uint64_t start = 0;  // Within the lease.
    uint64_t size = 0;
    SecretBytes bytes;  // Empty once all are used.
  };
  void EraseUsed(Range range);

  BookId book_;
  std::map<uint64_t, Block> blocks_;
  std::map<uint64_t, uint64_t> block_at_;  // Start within the lease to block number.
  uint64_t size_ = 0;
  SecretBytes r_;
  bool r_proven_ = false;
  uint32_t failed_tags_ = 0;
  IntervalSet used_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_OPEN_LEASE_H_
