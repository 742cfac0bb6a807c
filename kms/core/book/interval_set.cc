#include "kms/core/book/interval_set.h"

#include <algorithm>
#include <iterator>

#include "kms/base/check.h"

namespace keyhop {

IntervalSet::IntervalSet(size_t ranges_max) : ranges_max_(ranges_max) {
  KEYHOP_CHECK(ranges_max > 0, "an interval set holds one range at least");
}

void IntervalSet::AddUnbounded(Range range) {
  auto it = ranges_.upper_bound(range.begin);
  if (it != ranges_.begin() && std::prev(it)->second >= range.begin) --it;
  while (it != ranges_.end() && it->first <= range.end) {
    range = {std::min(range.begin, it->first), std::max(range.end, it->second)};
    size_ -= it->second - it->first;
    it = ranges_.erase(it);
  }
  ranges_.emplace_hint(it, range.begin, range.end);
  size_ += range.size();
}

bool IntervalSet::Add(Range range) {
  if (range.begin >= range.end) return true;
  if (ranges_.size() >= ranges_max_) {
    // Refused only where it would stand alone: it must touch or overlap something.
    auto it = ranges_.upper_bound(range.end);
    const bool joins = it != ranges_.begin() && std::prev(it)->second >= range.begin;
    if (!joins) return false;
  }
  AddUnbounded(range);
  return true;
}

uint64_t IntervalSet::AddFillingGaps(Range range) {
  if (range.begin >= range.end) return 0;
  AddUnbounded(range);
  uint64_t filled = 0;
  while (ranges_.size() > ranges_max_) {
    const auto low = ranges_.begin();
    const auto next = std::next(low);
    filled += next->first - low->second;
    AddUnbounded({low->second, next->first});
  }
  return filled;
}

bool IntervalSet::Remove(Range range) {
  if (range.begin >= range.end) return true;
  auto it = ranges_.upper_bound(range.begin);
  if (it != ranges_.begin() && std::prev(it)->second > range.begin) --it;
  if (it == ranges_.end() || it->first >= range.end) return true;
  const bool splits = it->first < range.begin && it->second > range.end;
  if (splits && ranges_.size() >= ranges_max_) return false;
  while (it != ranges_.end() && it->first < range.end) {
    const Range old = {it->first, it->second};
    size_ -= old.size();
    it = ranges_.erase(it);
    if (old.begin < range.begin) {
      ranges_.emplace(old.begin, range.begin);
      size_ += range.begin - old.begin;
    }
    if (old.end > range.end) {
      it = ranges_.emplace(range.end, old.end).first;
      size_ += old.end - range.end;
      break;
    }
  }
  return true;
}

bool IntervalSet::Contains(uint64_t value) const {
  auto it = ranges_.upper_bound(value);
  return it != ranges_.begin() && std::prev(it)->second > value;
}

bool IntervalSet::Contains(Range range) const {
  if (range.begin >= range.end) return true;
  auto it = ranges_.upper_bound(range.begin);
  return it != ranges_.begin() && std::prev(it)->second >= range.end;
}

bool IntervalSet::Overlaps(Range range) const {
  if (range.begin >= range.end) return false;
  auto it = ranges_.lower_bound(range.end);
  return it != ranges_.begin() && std::prev(it)->second > range.begin;
}

std::vector<Range> IntervalSet::MissingFrom(Range range) const {
  std::vector<Range> missing;
  if (range.begin >= range.end) return missing;
  uint64_t at = range.begin;
  auto it = ranges_.upper_bound(range.begin);
  if (it != ranges_.begin()) at = std::max(at, std::prev(it)->second);
  for (; it != ranges_.end() && it->first < range.end; ++it) {
    if (at < it->first) missing.push_back({at, it->first});
    at = it->second;
  }
  if (at < range.end) missing.push_back({at, range.end});
  return missing;
}

std::vector<Range> IntervalSet::ranges() const {
  std::vector<Range> out;
  out.reserve(ranges_.size());
  for (const auto& [begin, end] : ranges_) out.push_back({begin, end});
  return out;
}

std::optional<Range> IntervalSet::First() const {
  if (ranges_.empty()) return std::nullopt;
  return Range{ranges_.begin()->first, ranges_.begin()->second};
}

void IntervalSet::Clear() {
  ranges_.clear();
  size_ = 0;
}

}  // namespace keyhop
