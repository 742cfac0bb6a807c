#ifndef KEYHOP_KMS_CORE_BOOK_INTERVAL_SET_H_
#define KEYHOP_KMS_CORE_BOOK_INTERVAL_SET_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "kms/core/types.h"

namespace keyhop {

// A set of uint64 held as maximal half-open ranges: ranges that touch are one. It holds at most
// `ranges_max` of them, so its memory is bounded. An empty or backward range is no element.
//
// Invariant: ranges are ascending, do not touch, and none is empty. Pure, not thread-safe.
class IntervalSet {
 public:
  explicit IntervalSet(size_t ranges_max = std::numeric_limits<size_t>::max());

  // False, and nothing changed, when the set would hold more than `ranges_max` ranges.
  bool Add(Range range);
  // As Add; past the bound the lowest gaps are filled: more is in the set than was added, never
  // less (right for a set of what was used). Returns how many numbers came in by filling.
  uint64_t AddFillingGaps(Range range);
  // False, and nothing changed, when the set would hold more than `ranges_max` ranges.
  bool Remove(Range range);

  bool Contains(uint64_t value) const;
  bool Contains(Range range) const;  // All of it. An empty range is contained.
  bool Overlaps(Range range) const;  // Any of it.
  // What of `range` is not in the set, ascending.
  std::vector<Range> MissingFrom(Range range) const;
  std::vector<Range> ranges() const;
  // The lowest range, if there is one.
  std::optional<Range> First() const;

  bool empty() const { return ranges_.empty(); }
  size_t count() const { return ranges_.size(); }
  uint64_t size() const { return size_; }  // How many numbers.
  void Clear();

 private:
  void AddUnbounded(Range range);

  size_t ranges_max_;
  uint64_t size_ = 0;
  std::map<uint64_t, uint64_t> ranges_;  // Begin to end.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_BOOK_INTERVAL_SET_H_
