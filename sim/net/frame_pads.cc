#include "sim/net/frame_pads.h"

#include <algorithm>
#include <span>

#include "kms/crypto/mac.h"
#include "trusted_node/core/node/layout.h"

namespace keyhop::sim {
namespace {

// s, then the pad of the payload.
std::optional<std::vector<uint8_t>> PadsOf(const PadTruth& truth, size_t link, size_t from,
                                           const RelayFrame& frame) {
  std::vector<uint8_t> bytes;
  for (const PadRange& range : frame.pads) {
    if (!truth.Append(link, range, truth.EndOf(link, from), bytes)) return std::nullopt;
  }
  return bytes;
}

}  // namespace

std::vector<uint8_t> PayloadOf(const PadTruth& truth, size_t link, size_t from,
                               const RelayFrame& frame) {
  const auto bytes = PadsOf(truth, link, from, frame);
  if (!bytes || bytes->size() != 16 + kSegmentHeadBytes + frame.body_bytes) return {};
  std::vector<uint8_t> payload(bytes->begin() + 16, bytes->end());
  for (size_t i = 0; i < std::min(payload.size(), frame.ciphertext.size()); ++i) {
    payload[i] ^= frame.ciphertext[i];
  }
  return payload;
}

std::optional<std::vector<uint8_t>> ROf(const PadTruth& truth, size_t link, size_t from,
                                        const LeaseWatch::Lease& lease) {
  const std::optional<uint64_t> block = lease.RBlock();
  if (!block) return std::nullopt;
  std::vector<uint8_t> r;
  if (!truth.Append(link, {0, lease.book, *block, 0, 16}, truth.EndOf(link, from), r)) {
    return std::nullopt;
  }
  return r;
}

bool Seal(const PadTruth& truth, LeaseWatch& leases, size_t link, size_t from, RelayFrame& frame,
          const std::vector<uint8_t>& payload) {
  const LeaseWatch::Lease* lease = leases.Find(link, from, frame);
  if (lease == nullptr) return false;
  const auto r = ROf(truth, link, from, *lease);
  const auto pads = PadsOf(truth, link, from, frame);
  if (!r || !pads || pads->size() != 16 + payload.size()) return false;
  if (!frame.ciphertext.empty()) {
    for (size_t i = 0; i < payload.size(); ++i) {
      frame.ciphertext[i] = static_cast<uint8_t>(payload[i] ^ (*pads)[16 + i]);
    }
  }
  const std::span<const uint8_t> s = std::span<const uint8_t>(*pads).first(16);
  frame.tag = OneTimeTag(*r, s, LayoutOf(frame).bytes(), payload);
  return true;
}

}  // namespace keyhop::sim
