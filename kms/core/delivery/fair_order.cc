#include "kms/core/delivery/fair_order.h"

#include <algorithm>

#include "kms/base/check.h"

namespace keyhop {
namespace {

// Clocks count parts of a byte, so that shares divide finely.
constexpr uint64_t kPartsOfAByte = 1024;

uint64_t Span(uint64_t bytes, uint32_t share) {
  return bytes * kPartsOfAByte / std::max<uint32_t>(share, 1);
}

}  // namespace

void FairOrder::Enter(const SaeId& sae) {
  Line& line = lines_[sae];
  if (line.waiting++ == 0) line.clock = std::max(line.clock, now_);
  ++waiting_;
}

void FairOrder::Leave(const SaeId& sae) {
  const auto line = lines_.find(sae);
  KEYHOP_CHECK(line != lines_.end() && line->second.waiting > 0, "who leaves has waited");
  --line->second.waiting;
  if (--waiting_ > 0) return;
  lines_.clear();
  now_ = 0;
}

void FairOrder::Served(const SaeId& sae, uint64_t bytes, uint32_t share) {
  const auto line = lines_.find(sae);
  KEYHOP_CHECK(line != lines_.end() && line->second.waiting > 0, "who is served has waited");
  now_ = std::max(now_, line->second.clock);
  line->second.clock += Span(bytes, share);
}

uint64_t FairOrder::EndOf(const SaeId& sae, uint64_t bytes, uint32_t share) const {
  const auto line = lines_.find(sae);
  KEYHOP_CHECK(line != lines_.end(), "it waits");
  return line->second.clock + Span(bytes, share);
}

size_t FairOrder::WaitingOf(const SaeId& sae) const {
  const auto line = lines_.find(sae);
  return line == lines_.end() ? 0 : line->second.waiting;
}

}  // namespace keyhop
