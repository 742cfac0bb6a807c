#ifndef KEYHOP_TRUSTED_NODE_CORE_NODE_SHARE_DESK_H_
#define KEYHOP_TRUSTED_NODE_CORE_NODE_SHARE_DESK_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>

#include "kms/base/instant.h"
#include "kms/core/stream/messages.h"

namespace keyhop {

// Where the shares of segments that are split over several paths (StreamId::paths) wait for each
// other. The segment's payload is their XOR: whoever lacks one of them knows nothing of it, and
// whoever changed one is found out by the segment's end-to-end check. A share counts once; what
// stays incomplete for longer than its source waits is forgotten, and the oldest goes where too
// many are. Pure. Not thread-safe.
class ShareDesk {
 public:
  static constexpr size_t kSegmentsMax = 256;
  static constexpr Duration kLife = Duration::Seconds(60);

  // `part`: a segment whose payload is share number `share` of stream.paths. Returns the segment
  // once its last share is there; its path is that of share 0, as its check has it.
  std::optional<Segment> Take(Instant now, Segment part, uint8_t share);
  void DropOld(Instant now);

  size_t waiting() const { return waiting_.size(); }
  uint64_t dropped() const { return dropped_; }

 private:
  using Name = std::tuple<StreamId, SegmentKind, Session, StreamAddress>;
  struct Entry {
    Segment segment;
    uint32_t have = 0;  // A bit for each share.
    Instant since;
  };
  std::map<Name, Entry> waiting_;
  uint64_t dropped_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_NODE_SHARE_DESK_H_
