#include "kms/core/delivery/fair_order.h"

#include <algorithm>

#include "kms/base/check.h"

namespace keyhop {
namespace {

// Tags are in parts of a byte, so that weights divide finely.
constexpr uint64_t kPartsOfAByte = 1024;

}  // namespace

uint64_t FairOrder::Enter(const SaeId& sae, uint64_t bytes, uint32_t weight) {
  Line& line = lines_[sae];
  const uint64_t tag = std::max(now_, line.next_tag);
  line.next_tag = tag + bytes * kPartsOfAByte / std::max<uint32_t>(weight, 1);
  ++line.waiting;
  ++waiting_;
  return tag;
}

void FairOrder::Leave(const SaeId& sae, uint64_t tag, bool served) {
  const auto line = lines_.find(sae);
  KEYHOP_CHECK(line != lines_.end() && line->second.waiting > 0, "who leaves has waited");
  if (served) now_ = std::max(now_, tag);
  --line->second.waiting;
  if (--waiting_ > 0) return;
  lines_.clear();
  now_ = 0;
}

size_t FairOrder::WaitingOf(const SaeId& sae) const {
  const auto line = lines_.find(sae);
  return line == lines_.end() ? 0 : line->second.waiting;
}

std::optional<SaeId> FairOrder::Longest() const {
  const auto longest = std::max_element(
      lines_.begin(), lines_.end(),
      [](const auto& a, const auto& b) { return a.second.waiting < b.second.waiting; });
  if (longest == lines_.end() || longest->second.waiting == 0) return std::nullopt;
  return longest->first;
}

}  // namespace keyhop
