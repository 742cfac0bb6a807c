#include "sim/net/lease_watch.h"

#include <algorithm>
#include <variant>

namespace keyhop::sim {

std::optional<uint64_t> LeaseWatch::Lease::RBlock() const {
  for (const Range& range : blocks) {
    for (uint64_t b = range.begin; b < range.end; ++b) {
      const bool lacks = std::any_of(lacking.begin(), lacking.end(),
                                     [&](const Range& l) { return b >= l.begin && b < l.end; });
      if (!lacks) return b;
    }
  }
  return std::nullopt;
}

std::optional<size_t> LeaseWatch::IndexOf(const LinkId& id, size_t node) const {
  for (size_t i = 0; i < plan_.links.size(); ++i) {
    const LinkPlan& link = plan_.links[i];
    if (link.id == id && (link.a == node || link.b == node)) return i;
  }
  return std::nullopt;
}

bool LeaseWatch::OnSent(size_t from, const LinkMessage& message) {
  if (const auto* request = std::get_if<LinkLeaseRequest>(&message)) {
    const auto link = IndexOf(request->link, from);
    if (!link) return true;
    const auto [it, fresh] =
        leases_.try_emplace(Key(*link, request->session, request->direction, request->number));
    Lease& lease = it->second;
    const bool same = fresh || (lease.book == request->book && lease.blocks == request->blocks);
    lease.book = request->book;
    lease.blocks = request->blocks;
    return same;
  }
  if (const auto* answer = std::get_if<LinkLeaseAnswer>(&message)) {
    const auto link = IndexOf(answer->link, from);
    if (!link) return true;
    const auto it = leases_.find(Key(*link, answer->session, answer->direction, answer->number));
    if (it != leases_.end()) it->second.lacking = answer->lacking;
  }
  return true;
}

LeaseWatch::Lease* LeaseWatch::Find(size_t link, size_t from, const RelayFrame& frame) {
  if (frame.pads.empty()) return nullptr;
  const Direction direction =
      plan_.links[link].a == from ? Direction::kFromAllocator : Direction::kToAllocator;
  const auto it = leases_.find(Key(link, frame.link_session, direction, frame.pads.front().lease));
  return it == leases_.end() ? nullptr : &it->second;
}

}  // namespace keyhop::sim
