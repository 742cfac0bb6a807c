#include "trusted_node/core/node/relay.h"

#include <set>
#include <utility>

#include "absl/status/status.h"
#include "kms/base/check.h"
#include "trusted_node/core/node/layout.h"

namespace keyhop {
namespace {

Tag TagOf(const RelayFrame& frame, const TakenPads& pads, const SecretBytes& payload) {
  return OneTimeTag(pads.r.Expose(SecretAccess::ForRelay()),
                    pads.s.Expose(SecretAccess::ForRelay()), LayoutOf(frame).bytes(),
                    payload.Expose(SecretAccess::ForRelay()));
}

}  // namespace

absl::Status CheckShape(const RelayFrame& frame, const NodeId& self, const NodeId& from) {
  const auto& path = frame.path;
  const size_t hop = frame.hop;
  if (path.size() < 2 || path.size() > kPathNodesMax || hop + 1 >= path.size()) {
    return absl::InvalidArgumentError("frame: path length or hop");
  }
  if (std::set<NodeId>(path.begin(), path.end()).size() != path.size()) {
    return absl::InvalidArgumentError("frame: a node stands twice on the path");
  }
  if (path[hop] != from || path[hop + 1] != self) {
    return absl::InvalidArgumentError("frame: this hop is not on its path");
  }
  if (path.front() != frame.stream.source || path.back() != frame.stream.destination ||
      frame.relay.source != path.front()) {
    return absl::InvalidArgumentError("frame: path does not join the stream's ends");
  }
  if (frame.share >= frame.stream.paths || frame.stream.paths > kPathsMax) {
    return absl::InvalidArgumentError("frame: a share that its stream does not have");
  }
  const size_t payload = kSegmentHeadBytes + frame.body_bytes;
  if (frame.ciphertext.size() != (hop == 0 ? 0 : payload)) {
    return absl::InvalidArgumentError("frame: ciphertext length");
  }
  uint64_t named = 0;
  for (const PadRange& range : frame.pads) named += range.length_bytes;
  if (named != payload + 16) return absl::InvalidArgumentError("frame: pad length");
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes> OpenFrame(const RelayFrame& frame, TakenPads& pads) {
  SecretBytes payload = std::move(pads.pad);
  auto bytes = payload.ExposeMutable(SecretAccess::ForRelay());
  if (frame.hop > 0) {
    KEYHOP_CHECK(bytes.size() == frame.ciphertext.size(), "shape was checked");
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] ^= frame.ciphertext[i];
  }
  if (!EqualConstantTime(TagOf(frame, pads, payload), frame.tag)) {
    return absl::DataLossError("frame: the hop's tag does not fit");
  }
  return payload;
}

void SealFrame(RelayFrame& frame, const TakenPads& pads, const SecretBytes& payload,
               bool first_hop) {
  frame.pads = pads.ranges;
  frame.ciphertext.clear();
  if (!first_hop) {
    const auto clear = payload.Expose(SecretAccess::ForRelay());
    const auto pad = pads.pad.Expose(SecretAccess::ForRelay());
    KEYHOP_CHECK(clear.size() == pad.size(), "as much pad as payload");
    frame.ciphertext.resize(clear.size());
    for (size_t i = 0; i < clear.size(); ++i) frame.ciphertext[i] = clear[i] ^ pad[i];
  }
  frame.tag = TagOf(frame, pads, payload);
}

}  // namespace keyhop
