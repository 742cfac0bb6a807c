// Segments as they leave their source: their addresses come once (G2), their bytes too. Of those
// that are split over several paths no node in between sees two shares (G5), what is delivered is
// the XOR (G1), and a share that was changed on its way is found out.
#include <algorithm>
#include <set>
#include <utility>

#include "kms/base/check.h"
#include "kms/core/delivery/extensions.h"
#include "sim/net/frame_pads.h"
#include "sim/net/oracle.h"
#include "sim/net/oracle_words.h"

namespace keyhop::sim {

void Oracle::CheckAddresses(Instant now, const RelayFrame& frame) {
  if (frame.kind == SegmentKind::kOpening) {
    ++openings_[frame.stream];
    opened_at_[frame.stream] = now;
  }
  if (frame.kind == SegmentKind::kBody &&
      !restored_.contains(*plan_.FindNode(frame.stream.source))) {
    // Offsets never return (DESIGN §4). An old image of the source forgets what was never
    // appended; it starts above all that was.
    auto& ranges = sent_ranges_[{frame.stream, frame.at.epoch}];
    const uint64_t begin = frame.at.offset;
    const uint64_t end = begin + frame.body_bytes;
    const auto next = ranges.lower_bound(begin);
    if ((next != ranges.end() && next->first < end) ||
        (next != ranges.begin() && std::prev(next)->second > begin)) {
      return Violate("G2", "stream offset " + std::to_string(begin) + " of epoch " +
                               std::to_string(frame.at.epoch) + " is sent twice");
    }
    ranges.emplace(begin, end);
  }
}

void Oracle::EnterSegment(Relay& relay) {
  const RelayFrame& frame = relay.first;
  LearnSecret(std::span<const uint8_t>(relay.payload).first(kSegmentHeadBytes));
  by_address_[{frame.stream, frame.kind, frame.at}] = &relay;
  if (frame.kind != SegmentKind::kBody) return;
  const uint32_t number = static_cast<uint32_t>(bodies_.size());
  bodies_.push_back(&relay);
  for (size_t i = kSegmentHeadBytes; i + kWindow <= relay.payload.size(); i += kWindow) {
    const auto [it, fresh] = body_windows_.emplace(WindowAt(relay.payload, i), number);
    if (!fresh) {
      return Violate("G2", "segment " + Name(frame.relay) + " repeats bytes of segment " +
                               Name(bodies_[it->second]->first.relay));
    }
  }
}

void Oracle::OnShare(const RelayFrame& frame, const std::vector<uint8_t>& payload) {
  const std::string name = Name(frame.relay);
  Split& split = splits_[{frame.stream, frame.kind, frame.at}];
  const uint32_t bit = uint32_t{1} << frame.share;
  // An old image of the source may come to an address again that was never appended.
  if ((split.have & bit) != 0 && restored_.contains(*plan_.FindNode(frame.stream.source))) {
    split = Split();
  }
  if (frame.share >= frame.stream.paths || (split.have & bit) != 0) {
    return Violate("G2", "share " + name + " is not one of its segment, or leaves twice");
  }
  for (size_t i = 1; i + 1 < frame.path.size(); ++i) {
    if (!split.between.insert(frame.path[i]).second) {
      return Violate("G5", "node " + frame.path[i].value + " sees two shares of segment " + name);
    }
  }
  LearnSecret(payload);
  if (split.have == 0) split.whole.payload.assign(payload.size(), 0);
  if (split.whole.payload.size() != payload.size()) {
    return Violate("G1", "share " + name + " has another length than its segment");
  }
  for (size_t i = 0; i < payload.size(); ++i) split.whole.payload[i] ^= payload[i];
  if (frame.share == 0) split.whole.first = frame;
  split.have |= bit;
  if (split.have != (uint32_t{1} << frame.stream.paths) - 1) return;
  Probe("segment_split");
  if (frame.stream.paths > 2) Probe("segment_split_in_three");
  EnterSegment(split.whole);
}

void Oracle::Forge(size_t from, size_t to, RelayFrame& frame, uint64_t random) {
  if (violation_ || frame.hop == 0 || frame.stream.paths < 2) return;
  const size_t link = *plan_.LinkBetween(from, to);
  std::vector<uint8_t> payload = PayloadOf(truth_, link, from, frame);
  if (payload.empty()) return;
  const size_t place = random % payload.size();
  payload[place] ^= static_cast<uint8_t>(1 << (random >> 61));
  if (!Seal(truth_, leases_, link, from, frame, payload)) return;
  if (!watching_) return;
  relays_.at(frame.relay).payload = std::move(payload);
  // The head is no part of a key: bits of r that Poly1305 clears may change unseen, and what hides
  // the acknowledgement, so that the source finds it out.
  if (place >= kSegmentHeadBytes) splits_.at({frame.stream, frame.kind, frame.at}).forged = true;
  ++burn_allowed_;
  Probe("share_forged");
}

uint8_t PathsAskedFor(const DrawRequest& request) {
  for (const ExtensionParameter& p : request.extension_mandatory) {
    if (p.name == kPathsExtension && p.number) return static_cast<uint8_t>(*p.number);
  }
  return 1;
}

}  // namespace keyhop::sim
