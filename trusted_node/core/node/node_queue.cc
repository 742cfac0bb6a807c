// Frames that wait for pads of their next link. Only those of pools that run dry do, for as long as
// their source waits for them; a payload is sent on once, like any other, and what waits is lost
// with its node. Where pads are scarce, waiting frames and the node's own segments take turns byte
// by byte: neither can take all that the QKD modules make.
#include <algorithm>
#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

constexpr size_t kWaitingFramesMax = 64;  // Of one link.
constexpr uint64_t kWaitingBytesMax = 128 * 1024;
// A link forgets a shortage after two seconds.
constexpr Duration kAskAgain = Duration::Seconds(1);

}  // namespace

void NodeCore::Impl::Queue(const NodeId& next, LinkEntry& link, RelayFrame frame,
                           const SecretBytes& payload) {
  uint64_t bytes = payload.size();
  for (const WaitingFrame& waiting : link.waiting) bytes += waiting.payload.size();
  if (link.waiting.size() >= kWaitingFramesMax || bytes > kWaitingBytesMax) {
    Refuse(frame, RefusalReason::kOverloaded);
    return;
  }
  ++counters["relay_frames_waited"];
  const Instant until = now + Duration::Millis(frame.remaining_ms);
  link.waiting.push_back(
      {std::move(frame), payload.Duplicate(SecretAccess::ForRelay()), now, until, now});
  Touch(Machine::kLink, next);
}

void NodeCore::Impl::ServeQueue(const NodeId& next, LinkEntry& link) {
  while (!link.waiting.empty()) {
    WaitingFrame& first = link.waiting.front();
    if (!link.was_open || first.until <= now) {
      Refuse(first.frame, link.was_open ? RefusalReason::kNoPad : RefusalReason::kLinkDown);
      link.waiting.pop_front();
      continue;
    }
    if (!link.wants.empty() && link.own_bytes < link.passed_bytes) return;
    const uint64_t wanted = first.payload.size() + kTagPadBytes;
    if (link.end->SendableBytes() < wanted) {
      if (now < first.ask_again) return;
      first.ask_again = now + kAskAgain;
    }
    const uint32_t waited_ms = static_cast<uint32_t>((now - first.since).millis());
    first.frame.remaining_ms -= std::min(first.frame.remaining_ms, waited_ms);
    first.since = now;
    if (!SendOn(next, link, first.frame, first.payload)) return;
    link.passed_bytes += wanted;
    link.waiting.pop_front();
  }
  link.passed_bytes = link.own_bytes = 0;
}

uint64_t NodeCore::Impl::OwedToQueue(const LinkEntry& link) const {
  if (link.waiting.empty() || link.own_bytes < link.passed_bytes) return 0;
  return link.waiting.front().payload.size() + kTagPadBytes;
}

uint64_t NodeCore::Impl::OwedToOthers(LinkEntry& link, const NodeId& destination,
                                      const SourceEntry& entry) {
  while (!link.wants.empty()) {
    const auto& [turn, want] = *link.wants.begin();
    if (now < want.until) {
      return turn < LinkEntry::Turn{entry.last_launch, destination} ? want.pad_bytes : 0;
    }
    const NodeId late = turn.second;
    ForgetWant(late, sources.at(late));
  }
  return 0;
}

void NodeCore::Impl::ForgetWant(const NodeId& destination, SourceEntry& entry) {
  if (!entry.wants_at) return;
  links.at(*entry.wants_at).wants.erase({entry.last_launch, destination});
  entry.wants_at.reset();
}

void NodeCore::Impl::SegmentWaits(const NodeId& next, LinkEntry& link, const NodeId& destination,
                                  SourceEntry& entry, uint64_t pad_bytes) {
  ForgetWant(destination, entry);
  // Longer than any pair's pause between two attempts.
  link.wants[{entry.last_launch, destination}] = {pad_bytes, now + kBackoffMax * 2};
  entry.wants_at = next;
}

void NodeCore::Impl::SegmentWent(LinkEntry& link, const NodeId& destination, SourceEntry& entry,
                                 uint64_t pad_bytes) {
  if (!link.waiting.empty()) link.own_bytes += pad_bytes;
  ForgetWant(destination, entry);
  entry.last_launch = now;
}

void NodeCore::Impl::WakeFirst(LinkEntry& link) {
  if (link.wants.empty() || !link.was_open) return;
  const auto& [turn, want] = *link.wants.begin();
  if (link.end->SendableBytes() < want.pad_bytes + OwedToQueue(link)) return;
  const NodeId destination = turn.second;
  SourceEntry& entry = sources.at(destination);
  ForgetWant(destination, entry);
  if (entry.blocked) entry.not_before = now;
  Touch(Machine::kSource, destination);
}

}  // namespace keyhop
