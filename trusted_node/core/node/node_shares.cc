// Segments that are split over node-disjoint paths (share_desk.h). Each share is pad of its own
// first link and nothing else, so the shares are independent, and the segment's payload is their
// XOR: a node in between knows its own share only.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/core/delivery/extensions.h"
#include "trusted_node/core/node/node_impl.h"
#include "trusted_node/core/node/relay.h"

namespace keyhop {

bool NodeCore::Impl::LaunchShares(const PairWith& pair, SourceEntry& entry,
                                  const StreamDemand& target, StreamSource::Wish wish) {
  const bool starving = wish.kind == SegmentKind::kOpening || Starving(entry, target);
  auto paths = WayFor(wish, starving, [&](uint64_t bytes) {
    return routing->DisjointPathsFor(pair.node, pair.paths, bytes);
  });
  if (paths.empty() || paths.back().size() > kPathNodesMax) return false;
  const uint8_t priority = starving ? kPriorityStarving : kPriorityTopUp;
  // All or none: a share alone would be pad lost. The thinnest link says how much all carry.
  const uint32_t least = wish.kind == SegmentKind::kOpening
                             ? wish.body_bytes
                             : std::min(kBodyBytesMin, wish.body_bytes);
  for (const std::vector<NodeId>& path : paths) {
    const auto link = links.find(path[1]);
    if (link == links.end() || !link->second.was_open) return false;
    const uint64_t reserve = std::max(
        ReserveFor(priority, kSegmentHeadBytes + wish.body_bytes),
        OwedToQueue(link->second, entry.last_launch) + OwedToOthers(link->second, pair, entry));
    const uint64_t sendable = link->second.end->SendableBytes();
    const uint64_t free = sendable - std::min(sendable, reserve + kSegmentHeadBytes + kTagPadBytes);
    if (free < least) {
      const uint32_t wanted = static_cast<uint32_t>(kSegmentHeadBytes) + least;
      if (starving) SegmentWaits(path[1], link->second, pair, entry, wanted + kTagPadBytes);
      // Asked for in vain, so that the link leases more.
      if (sendable < wanted + kTagPadBytes) {
        (void)link->second.end->TakeForSending(now, wanted);
        Touch(Machine::kLink, path[1]);
      }
      return false;
    }
    wish.body_bytes = static_cast<uint32_t>(std::min<uint64_t>(wish.body_bytes, free / 4 * 4));
  }
  SegmentWent(pair, entry);
  const uint32_t payload_bytes = static_cast<uint32_t>(kSegmentHeadBytes) + wish.body_bytes;
  std::vector<TakenPads> pads;
  SecretBytes payload(payload_bytes);
  const auto sum = payload.ExposeMutable(SecretAccess::ForRelay());
  for (const std::vector<NodeId>& path : paths) {
    auto taken = links.at(path[1]).end->TakeForSending(now, payload_bytes);
    Touch(Machine::kLink, path[1]);
    KEYHOP_CHECK(taken.ok(), "as many pads as the link said, on a link of its own");
    const auto share = taken->pad.Expose(SecretAccess::ForRelay());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] ^= share[i];
    pads.push_back(*std::move(taken));
  }
  entry.last_path = paths.front();
  const auto launched = entry.end->Launch(now, wish, paths.front(), std::move(payload), stream_out);
  for (uint8_t share = 0; share < pair.paths; ++share) {
    SendFirstHop(pair, entry, launched, priority, wish.body_bytes, share, std::move(paths[share]),
                 pads[share]);
  }
  return true;
}

std::optional<Refusal> NodeCore::Impl::TooFewPaths(const PairWith& pair) const {
  if (pair.paths <= 1 || !routing->DisjointPathsFor(pair.node, pair.paths, 0).empty()) {
    return std::nullopt;
  }
  return Refusal{Refusal::Kind::kBadRequest,
                 kExtensionUnmet,
                 {{"extension_mandatory_unmet",
                   absl::StrCat(kPathsExtension, ": the network has no ", pair.paths,
                                " node-disjoint paths to the slave's KME now")}},
                 {}};
}

}  // namespace keyhop
