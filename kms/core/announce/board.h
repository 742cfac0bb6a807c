#ifndef KEYHOP_KMS_CORE_ANNOUNCE_BOARD_H_
#define KEYHOP_KMS_CORE_ANNOUNCE_BOARD_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "kms/base/instant.h"
#include "kms/core/announce/config.h"
#include "kms/core/announce/records.h"
#include "kms/core/delivery/delivery.h"
#include "kms/core/delivery/request.h"
#include "kms/core/stream/destination.h"
#include "kms/core/stream/messages.h"

namespace keyhop {

// What a board gives back to its node.
class BoardOutbox {
 public:
  virtual ~BoardOutbox() = default;
  // As StreamOutbox::Write, Send and Random.
  virtual WriteSeq Write(AnnounceRecord record) = 0;
  virtual void Send(const NodeId& to, StreamMessage message, WriteSeq after) = 0;
  virtual uint64_t Random() = 0;
  virtual void Answer(uint64_t token, Outcome<WatchAnswer> outcome, WriteSeq after) = 0;
};

// Of one node: which keys were drawn, anywhere, for its SAEs that want to know. A list for each of
// these SAEs, durable, of the newest entries; each watcher reads it at its own pace and says how
// far it got. Tells every source of a stream to this node who wants to know, and takes what the
// sources announce (Announcer), each once and in order.
//
// For each source a list is complete from its last gap of that source on: a gap is entered when the
// source says for the first time in its life that it knows of the SAE, and when numbers are
// missing.
//
// Pure. Not thread-safe.
class Board {
 public:
  Board(AnnounceConfig config, NodeId self, std::vector<AnnounceRecord> recovered);

  // Answers at once or later; the first call of an SAE makes
  // its list. The caller has been checked to live here.
  void Watch(Instant now, uint64_t token, WatchRequest request, BoardOutbox& out);
  void Cancel(uint64_t call, BoardOutbox& out);
  // This SAE may not ask any more: refuses its calls that wait. Its list stays.
  void Dismiss(const SaeId& sae, BoardOutbox& out);

  using Destinations = std::map<PairWith, std::unique_ptr<StreamDestination>>;  // By source.
  void On(const Announcements& m, const StreamDestination& end, const DeliveryContext& context,
          BoardOutbox& out);
  // Forgets who has not watched for long, and says who wants to know where that is due.
  void OnTick(Instant now, const Destinations& ends, const DeliveryContext& context,
              BoardOutbox& out);
  // A stream's end may have a new session: OnTick has something to say.
  std::optional<Instant> NextDeadline() const;

  size_t lists() const { return lists_.size(); }

 private:
  struct Chunk {
    uint64_t first = 0;
    uint64_t life = 0;
    std::vector<WatchEntry> entries;
    uint64_t end() const { return first + entries.size(); }
  };
  struct Watcher {
    uint64_t token = 0;
    uint64_t call = 0;
    uint64_t next = 0;  // The entry that it waits for.
    uint64_t entries_max = 0;
  };
  struct List {
    uint64_t life = 0;  // Of what is entered from now on.
    uint64_t next = 1;  // Number of the next entry.
    std::deque<Chunk> chunks;
    uint64_t kept = 0;
    std::map<NodeId, Incarnation> complete;
    std::deque<Watcher> watchers;
    std::optional<Instant> forget_at;  // Unset until the first tick, and while it is watched.
    WriteSeq after = 0;
    uint64_t first() const { return chunks.empty() ? next : chunks.front().first; }
  };
  // What is known of one source.
  struct Source {
    Incarnation life = {};  // Durable, with `taken`.
    uint64_t taken = 0;
    WriteSeq after = 0;
    Session session = {};  // Of this start.
    uint64_t told = 0;     // The interest that it confirmed in that session.
    Instant ask_at = {};
    int64_t tries = 0;
  };

  static std::optional<uint64_t> LifeOf(const List& list, uint64_t number);
  void Append(const SaeId& sae, List& list, std::vector<WatchEntry> entries, BoardOutbox& out);
  void Serve(List& list, BoardOutbox& out);
  WatchAnswer Read(const List& list, uint64_t next, uint64_t entries_max) const;
  void Forget(const SaeId& sae, const List& list, BoardOutbox& out);
  void Report(Instant now, const NodeId& node, Source& source, const StreamDestination& end,
              const DeliveryContext& context, BoardOutbox& out);

  const AnnounceConfig config_;
  const NodeId self_;
  std::map<SaeId, List> lists_;
  std::map<NodeId, Source> sources_;
  uint64_t interest_ = 0;  // Grows whenever the set of SAEs changes, in this start.
  bool started_ = false;
  std::optional<Instant> wake_at_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_ANNOUNCE_BOARD_H_
