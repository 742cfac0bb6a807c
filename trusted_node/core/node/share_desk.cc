#include "trusted_node/core/node/share_desk.h"

#include <algorithm>
#include <utility>

namespace keyhop {

std::optional<Segment> ShareDesk::Take(Instant now, Segment part, uint8_t share) {
  const uint8_t paths = part.stream.paths;
  if (share >= paths || paths > kPathsMax) return std::nullopt;
  const Name name{part.stream, part.kind, part.session, part.at};
  auto it = waiting_.find(name);
  if (it == waiting_.end()) {
    if (waiting_.size() >= kSegmentsMax) {
      waiting_.erase(std::min_element(
          waiting_.begin(), waiting_.end(),
          [](const auto& a, const auto& b) { return a.second.since < b.second.since; }));
      ++dropped_;
    }
    it = waiting_.emplace(name, Entry{std::move(part), uint32_t{1} << share, now}).first;
  } else {
    Entry& entry = it->second;
    const uint32_t bit = uint32_t{1} << share;
    if ((entry.have & bit) != 0 || part.payload.size() != entry.segment.payload.size()) {
      return std::nullopt;
    }
    const auto sum = entry.segment.payload.ExposeMutable(SecretAccess::ForRelay());
    const auto added = part.payload.Expose(SecretAccess::ForRelay());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] ^= added[i];
    if (share == 0) {
      entry.segment.path = std::move(part.path);
      entry.segment.check = part.check;
    }
    entry.have |= bit;
  }
  if (it->second.have != (uint32_t{1} << paths) - 1) return std::nullopt;
  Segment whole = std::move(it->second.segment);
  waiting_.erase(it);
  return whole;
}

void ShareDesk::DropOld(Instant now) {
  dropped_ +=
      std::erase_if(waiting_, [now](const auto& item) { return item.second.since + kLife <= now; });
}

}  // namespace keyhop
