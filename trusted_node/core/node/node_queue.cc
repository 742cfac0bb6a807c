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
    if (now < link.own_wants_until && link.own_bytes < link.passed_bytes) return;
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

void NodeCore::Impl::OwnSegmentWaits(LinkEntry& link) {
  // Longer than any pair's pause between two attempts.
  link.own_wants_until = now + kBackoffMax * 2;
}

void NodeCore::Impl::OwnSegmentWent(LinkEntry& link, uint64_t pad_bytes) {
  if (!link.waiting.empty()) link.own_bytes += pad_bytes;
  link.own_wants_until = {};
}

}  // namespace keyhop
