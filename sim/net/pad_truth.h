#ifndef KEYHOP_SIM_NET_PAD_TRUTH_H_
#define KEYHOP_SIM_NET_PAD_TRUTH_H_

#include <cstdint>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "kms/base/secret_bytes.h"
#include "sim/net/plan.h"

namespace keyhop::sim {

// Which end of a link: the allocator is the first.
enum class End : uint8_t { kFirst = 0, kSecond = 1 };

// What the QKD modules made: the bytes of every block at either end, computed from the seed and
// never stored. Thread-compatible. Only the modules and the oracle look here.
class PadTruth {
 public:
  PadTruth(uint64_t seed, const std::vector<LinkPlan>& links) : seed_(seed), links_(links) {}

  // All bytes of a block.
  SecretBytes Block(size_t link, const BookId& book, uint64_t block, End end) const;
  // From now on the second end's bytes of this block differ from the first's.
  void MakeUnequal(size_t link, const BookId& book, uint64_t block) {
    unequal_.emplace(link, book, block);
  }
  // The bytes of a range, appended to `out`; false when it does not lie inside a block.
  bool Append(size_t link, const PadRange& range, End end, std::vector<uint8_t>& out) const;
  // Which end of the link `node` is, one of the two.
  End EndOf(size_t link, size_t node) const {
    return links_[link].a == node ? End::kFirst : End::kSecond;
  }
  uint32_t block_bytes(size_t link) const { return links_[link].block_bytes; }
  // Planted bug: all runs of a module pair give the same bytes.
  void RepeatRuns() { runs_repeat_ = true; }

 private:
  // Bytes of a block from `offset` on.
  void Fill(size_t link, const BookId& book, uint64_t block, End end, size_t offset,
            std::span<uint8_t> out) const;

  const uint64_t seed_;
  const std::vector<LinkPlan>& links_;
  std::set<std::tuple<size_t, BookId, uint64_t>> unequal_;
  bool runs_repeat_ = false;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_PAD_TRUTH_H_
