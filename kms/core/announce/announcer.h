#ifndef KEYHOP_KMS_CORE_ANNOUNCE_ANNOUNCER_H_
#define KEYHOP_KMS_CORE_ANNOUNCE_ANNOUNCER_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <set>

#include "kms/base/instant.h"
#include "kms/core/announce/config.h"
#include "kms/core/stream/messages.h"
#include "kms/core/stream/outbox.h"
#include "kms/core/stream/source.h"

namespace keyhop {

// The drawing end A of the stream A→B, as far as B wants to know which keys were drawn for its
// slaves (docs/design-notes.md, "Announcements"). B says for which slaves; what is drawn for them
// is numbered, queued in memory and sent in batches, one under way, until B has it durably. Nothing
// of it is on A's disk: a restart of A loses what B does not have, and the next life's numbers
// start anew, which tells B. A queue that is full drops its oldest, which the numbers tell as well.
//
// Pure. Not thread-safe.
class Announcer {
 public:
  Announcer(AnnounceConfig config, StreamId stream, Incarnation own)
      : config_(config), stream_(std::move(stream)), own_(own) {}

  bool Wants(uint32_t slave_number) const { return slaves_.contains(slave_number); }
  // A key was drawn for a slave that is wanted. It is told once write `after` is durable.
  void Add(Announcement drawn, WriteSeq after);

  // `source`: the same stream's, which vouches for messages and knows the session. `said`: the last
  // write that an answer may wait for. What was drawn before the report came is told as a gap,
  // which must not be heard of before the masters have these keys.
  void On(Instant now, const InterestReport& m, const StreamSource& source, WriteSeq said);
  void On(const AnnouncementsTaken& m, const StreamSource& source);
  // Sends what is due. A destination that does not answer is asked whether it still knows the
  // session.
  void OnTick(Instant now, StreamSource& source, StreamOutbox& out);
  std::optional<Instant> NextDeadline() const { return retry_at_; }

  size_t queued() const { return queue_.size(); }
  uint64_t dropped() const { return dropped_; }

 private:
  const AnnounceConfig config_;
  const StreamId stream_;
  const Incarnation own_;

  std::set<uint32_t> slaves_;
  Incarnation reporter_ = {};  // Whose reports `interest_` counts.
  uint64_t interest_ = 0;
  bool echo_due_ = false;  // B waits to hear that its report came.

  std::deque<Announcement> queue_;
  uint64_t first_ = 1;    // Number of the first in the queue.
  size_t under_way_ = 0;  // So many of the first are sent and not confirmed.
  WriteSeq after_ = 0;
  std::optional<Instant> retry_at_;
  int64_t tries_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_ANNOUNCE_ANNOUNCER_H_
