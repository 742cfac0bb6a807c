// Frames that wait for pads of their next link. Only those of pools that run dry do, for as long as
// their source waits for them; a payload is sent on once, like any other, and what waits is lost
// with its node. Where pads are scarce, pairs of nodes take turns, those of waiting frames and
// those of the node's own segments alike: whose last one went on the longest ago goes first, so
// that nobody can take all that the QKD modules make.
#include <algorithm>
#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

constexpr size_t kWaitingFramesMax = 64;  // Of one link.
constexpr uint32_t kWaitingFramesOfPairMax = 2;
constexpr size_t kPairsMax = 1024;  // Whose turns a link remembers.
constexpr uint64_t kWaitingBytesMax = 128 * 1024;

}  // namespace

std::deque<NodeCore::Impl::WaitingFrame>::iterator NodeCore::Impl::FirstWaiting(LinkEntry& link) {
  const auto turn = [&](const WaitingFrame& x) { return LastPassed(link, x.frame.stream); };
  return std::min_element(
      link.waiting.begin(), link.waiting.end(),
      [&](const WaitingFrame& a, const WaitingFrame& b) { return turn(a) < turn(b); });
}

Instant NodeCore::Impl::LastPassed(const LinkEntry& link, const StreamId& stream) {
  const auto it = link.passed.find(stream);
  return it == link.passed.end() ? Instant{} : it->second;
}

void NodeCore::Impl::NotePassed(LinkEntry& link, const StreamId& stream, Instant at) {
  if (link.passed.size() >= kPairsMax && !link.passed.contains(stream)) {
    link.passed.erase(
        std::min_element(link.passed.begin(), link.passed.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; }));
  }
  link.passed[stream] = at;
}

void NodeCore::Impl::Queue(const NodeId& next, LinkEntry& link, RelayFrame frame,
                           const SecretBytes& payload) {
  std::map<StreamId, uint32_t> frames;
  uint64_t bytes = payload.size();
  for (const WaitingFrame& waiting : link.waiting) {
    bytes += waiting.payload.size();
    ++frames[waiting.frame.stream];
  }
  if (frames[frame.stream] >= kWaitingFramesOfPairMax || bytes > kWaitingBytesMax ||
      link.waiting.size() >= kWaitingFramesMax) {
    Refuse(frame, RefusalReason::kOverloaded);
    return;
  }
  ++counters["relay_frames_waited"];
  // The rest of its time is for the way on, and for the acknowledgement's way back.
  const Instant until = now + Duration::Millis(frame.remaining_ms) * 3 / 4;
  link.waiting.push_back(
      {std::move(frame), payload.Duplicate(SecretAccess::ForRelay()), now, until, now});
  Touch(Machine::kLink, next);
}

void NodeCore::Impl::ServeQueue(const NodeId& next, LinkEntry& link) {
  std::erase_if(link.waiting, [&](const WaitingFrame& x) {
    if (link.was_open && now < x.until) return false;
    Refuse(x.frame, link.was_open ? RefusalReason::kNoPad : RefusalReason::kLinkDown);
    return true;
  });
  while (!link.waiting.empty()) {
    const auto first = FirstWaiting(link);
    const StreamId stream = first->frame.stream;
    const auto* const want = FirstWant(link);
    if (want != nullptr && want->first.first < LastPassed(link, stream)) return;
    const uint64_t wanted = first->payload.size() + kTagPadBytes;
    if (link.end->SendableBytes() < wanted) {
      if (now < first->ask_again) return;
      first->ask_again = now + kAskAgain;
    }
    const uint32_t waited_ms = static_cast<uint32_t>((now - first->since).millis());
    first->frame.remaining_ms -= std::min(first->frame.remaining_ms, waited_ms);
    first->since = now;
    if (!SendOn(next, link, first->frame, first->payload)) return;
    NotePassed(link, stream, now);
    link.waiting.erase(first);
  }
}

uint64_t NodeCore::Impl::OwedToQueue(LinkEntry& link, Instant last_launch) {
  if (link.waiting.empty()) return 0;
  const WaitingFrame& first = *FirstWaiting(link);
  if (last_launch < LastPassed(link, first.frame.stream)) return 0;
  return first.payload.size() + kTagPadBytes;
}

const std::pair<const NodeCore::Impl::LinkEntry::Turn, NodeCore::Impl::LinkEntry::Want>*
NodeCore::Impl::FirstWant(LinkEntry& link) {
  while (!link.wants.empty()) {
    const auto& first = *link.wants.begin();
    if (now < first.second.until) return &first;
    const PairWith late = first.first.second;
    ForgetWant(late, sources.at(late));
  }
  return nullptr;
}

uint64_t NodeCore::Impl::OwedToOthers(LinkEntry& link, const PairWith& pair,
                                      const SourceEntry& entry) {
  const auto* const first = FirstWant(link);
  const LinkEntry::Turn turn{entry.last_launch, pair};
  return first != nullptr && first->first < turn ? first->second.pad_bytes : 0;
}

void NodeCore::Impl::ForgetWant(const PairWith& pair, SourceEntry& entry) {
  if (!entry.wants_at) return;
  links.at(*entry.wants_at).wants.erase({entry.last_launch, pair});
  entry.wants_at.reset();
}

void NodeCore::Impl::SegmentWaits(const NodeId& next, LinkEntry& link, const PairWith& pair,
                                  SourceEntry& entry, uint64_t pad_bytes) {
  ForgetWant(pair, entry);
  // Longer than any pair's pause between two attempts.
  link.wants[{entry.last_launch, pair}] = {pad_bytes, now + kBackoffMax * 2};
  entry.wants_at = next;
}

void NodeCore::Impl::SegmentWent(const PairWith& pair, SourceEntry& entry) {
  ForgetWant(pair, entry);
  entry.last_launch = now;
}

void NodeCore::Impl::WakeFirst(LinkEntry& link) {
  const auto* const first = FirstWant(link);
  if (first == nullptr || !link.was_open) return;
  const auto& [turn, want] = *first;
  if (link.end->SendableBytes() < want.pad_bytes + OwedToQueue(link, turn.first)) return;
  const PairWith pair = turn.second;
  SourceEntry& entry = sources.at(pair);
  ForgetWant(pair, entry);
  if (entry.blocked) entry.not_before = now;
  Touch(Machine::kSource, pair);
}

}  // namespace keyhop
