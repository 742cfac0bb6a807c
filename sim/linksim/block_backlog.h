#ifndef KEYHOP_SIM_LINKSIM_BLOCK_BACKLOG_H_
#define KEYHOP_SIM_LINKSIM_BLOCK_BACKLOG_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "kms/base/secret_bytes.h"

namespace keyhop {

// The two ends of a link, in the order of the configuration.
inline constexpr int kEnds = 2;

// The key blocks of one run that not both KMs have acknowledged, in memory only. Blocks are
// numbered from 0 without holes; a block goes when both ends acknowledged it. Holds at most
// `limit` blocks: what the slower KM lacks. Not thread-safe.
class BlockBacklog {
 public:
  BlockBacklog(uint64_t run, size_t limit) : run_(run), limit_(limit) {}

  uint64_t run() const { return run_; }
  bool full() const { return blocks_.size() >= limit_; }
  size_t size() const { return blocks_.size(); }
  // The block that is made next; all below it were made.
  uint64_t next_block() const { return first_block_ + blocks_.size(); }
  // The lowest block that `end` did not acknowledge.
  uint64_t acknowledged(int end) const { return acknowledged_[static_cast<size_t>(end)]; }

  // Adds the next block; the backlog must not be full.
  void Push(SecretBytes block);
  // A block that was made and that not both ends acknowledged.
  const SecretBytes& At(uint64_t block) const;
  // `end` has every block below `next_block` (at most this backlog's), which never shrinks.
  void Acknowledge(int end, uint64_t next_block);

 private:
  uint64_t run_;
  size_t limit_;
  uint64_t first_block_ = 0;
  std::deque<SecretBytes> blocks_;
  std::array<uint64_t, kEnds> acknowledged_ = {};
};

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_BLOCK_BACKLOG_H_
