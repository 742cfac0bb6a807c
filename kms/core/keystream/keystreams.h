#ifndef KEYHOP_KMS_CORE_KEYSTREAM_KEYSTREAMS_H_
#define KEYHOP_KMS_CORE_KEYSTREAM_KEYSTREAMS_H_

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/delivery/request.h"
#include "kms/core/keystream/config.h"
#include "kms/core/keystream/note.h"
#include "kms/core/keystream/pacer.h"
#include "kms/core/keystream/records.h"
#include "kms/core/keystream/request.h"
#include "kms/core/stream/demand.h"
#include "kms/core/types.h"

namespace keyhop {

// What key streams ask of their node.
class KeystreamContext {
 public:
  virtual ~KeystreamContext() = default;
  virtual const NodeId& Self() const = 0;
  // By the directory, whether or not the SAE may act now.
  virtual std::optional<NodeId> HomeOf(const SaeId& sae) const = 0;
  // Of an SAE at home here: not suspended.
  virtual bool MayAct(const SaeId& sae) const = 0;
  virtual bool Reachable(const NodeId& home) const = 0;
  // Bits/s of secret key that the way to `home` makes, less what is reserved of its links already;
  // `reserved`: by home.
  virtual uint64_t FreeRateTo(const NodeId& home,
                              const std::map<NodeId, uint64_t>& reserved) const = 0;
  virtual uint32_t HopsTo(const NodeId& home) const = 0;
  virtual KeyId NewId() = 0;
  // Draws `number` keys of the pair for both SAEs, each of which then takes each key by its key_ID.
  // False: not enough now. Else Keystreams::OnDrawn is called once, after this call.
  virtual bool BeginDraw(uint64_t ticket, const SaeId& master, const SaeId& slave, uint32_t number,
                         uint32_t bytes) = 0;
  // Takes a key that `master` drew, as "Get key with key IDs" would. `after`: must be durable
  // before the key leaves.
  virtual Outcome<SecretBytes> Take(const SaeId& caller, const SaeId& master, const KeyId& key_id,
                                    WriteSeq& after) = 0;
  virtual WriteSeq Write(KeystreamRecord record) = 0;
  virtual WriteSeq Write(KeystreamChunkRecord record) = 0;
  // Leaves once `after` is durable, if the peer can be spoken to; else it is lost.
  virtual void Say(const NodeId& peer, KeystreamNote note, WriteSeq after) = 0;
  virtual void Answer(uint64_t token, Outcome<KeystreamAnswer> outcome, WriteSeq after) = 0;
};

struct KeystreamCounters {
  uint64_t opened = 0;     // By SAEs at home here.
  uint64_t refused = 0;    // OPEN_CONNECT, whatever the reason.
  uint64_t allocated = 0;  // Chunks drawn here.
  uint64_t delivered = 0;  // Chunks given to SAEs here.
  uint64_t expired = 0;    // Chunks burnt unread.
};

// The key streams of one KME (ETSI GS QKD 004 V2.1.1): sessions over ordinary draws. The home of
// one of the two SAEs, the first in order of their names, allocates: it draws chunk i from the pair
// stream to the other home, for both SAEs, and tells the other KME durably which key_ID index i
// has. Each end then takes each chunk at most once, by a fetch like any other, so that invariants
// G1 to G7 hold for chunks as they do for keys, and a chunk is never a key of anybody else.
//
// Invariants: an index has one key_ID for ever, at both ends; a chunk is given at the allocator
// only when the other KME said that it holds its name; a chunk that is read, burnt or lost is
// refused for good.
//
// Pure. Not thread-safe.
class Keystreams {
 public:
  Keystreams(KeystreamConfig config, std::vector<KeystreamRecord> streams,
             std::vector<KeystreamChunkRecord> chunks);
  // The first step of a start.
  void Start(Instant now, KeystreamContext& context);

  // Each is answered once, by KeystreamContext::Answer, within the call or later.
  void OnCall(Instant now, uint64_t token, KeystreamRequest request, KeystreamContext& context);
  // The sender and its session are known to be right (StreamDestination::Believes).
  void OnNote(Instant now, const NodeId& from, const KeystreamNote& note,
              KeystreamContext& context);
  // What a draw that BeginDraw began came to; no keys: it failed.
  void OnDrawn(Instant now, uint64_t ticket, const std::vector<KeyId>& key_ids, WriteSeq after,
               KeystreamContext& context);
  void OnTick(Instant now, KeystreamContext& context);
  // There may be more key than before: streams that wait for it are tried, in order: those that are
  // behind their Min_bps, then by Priority, then who waited longest.
  void OnKey(Instant now, KeystreamContext& context);
  std::optional<Instant> NextDeadline() const;

  // All keys here are burnt (a rollback alarm): no stream goes on.
  void DropAll(Instant now, KeystreamContext& context);

  // The other homes of streams.
  const std::map<NodeId, uint32_t>& peers() const { return peers_; }
  // What the next draw for any stream with `home` takes.
  StreamDemand Demand(const NodeId& home) const;
  size_t size() const { return streams_.size(); }
  const KeystreamCounters& counters() const { return counters_; }
  const KeystreamConfig& config() const { return config_; }

 private:
  struct Chunk {
    KeyId key_id = {};
    uint32_t hops = 0;
    std::array<bool, 2> taken = {};
    Instant since;  // When it became available here.
    Instant ends;
    Duration life_left = {};
  };
  struct Side {
    SaeId sae;
    NodeId home;
    bool local = false;
    bool opened = false;
    bool closed = false;
    Pacer pacer = Pacer(1, 0, 0);
  };
  struct WaitingGet {
    uint64_t token = 0;
    KeystreamGet request;
    size_t side = 0;
    Instant until;
  };
  struct WaitingOpen {
    uint64_t token = 0;
    size_t side = 0;
    bool made_id = false;  // Waits for the other KME only, not for its SAE.
    bool lowered = false;  // Status 7 although it is open: the caller takes what is offered.
    bool undo = false;     // It made the stream: there is none when its time is over.
    Instant until = {};
  };
  struct Stream {
    KeyId id = {};
    std::array<Side, 2> sides;
    KeystreamQos qos;
    NodeId peer;  // Self: both SAEs are at home here.
    bool allocator = false;
    std::map<uint64_t, Chunk> chunks = {};
    uint64_t next_index = 0;
    uint64_t confirmed_below = 0;  // At the allocator: the peer holds all below.
    uint64_t settled_below = 0;    // As written last.
    uint64_t want_below = 0;
    uint64_t peer_want_below = 0;
    uint64_t peer_limit_below = 0;
    Instant asked_at = {};   // When the highest index asked for grew last,
    Duration ask_step = {};  // and how long it took for each.
    std::deque<WaitingGet> gets = {};
    std::deque<WaitingOpen> opens = {};
    // A draw for it.
    uint64_t drawing = 0;  // The ticket of the draw under way.
    Instant draw_not_before = {};
    uint32_t draws_failed = 0;  // One after the other.
    Instant drew_at = {};
    Instant due_by_min = {};  // When Min_bps needs the next chunk.
    // What is said to the peer.
    WriteSeq after = 0;   // The last write of this stream.
    uint64_t asked = 0;   // The number of the first note that says all that is new; 0: none.
    bool unsaid = false;  // Something is new since.
    uint64_t want_said = 0;
    uint64_t limit_said = 0;
    bool peer_heard = false;  // In this start.
    std::optional<Instant> say_at = {};
    int tries = 0;
    std::pair<Incarnation, uint64_t> heard = {};  // The peer's start and number.
    // Its end without a call.
    Instant last_call = {};
    std::optional<Instant> closes_at = {};
    bool established() const { return sides[0].opened && sides[1].opened; }
    bool closing() const { return sides[0].closed || sides[1].closed; }
    bool at_home() const { return sides[0].local && sides[1].local; }
  };
  using Streams = std::map<KeyId, Stream>;

  // keystreams.cc: calls.
  void On(Instant now, uint64_t token, KeystreamOpen request, KeystreamContext& context);
  void On(Instant now, uint64_t token, KeystreamGet request, KeystreamContext& context);
  void On(Instant now, uint64_t token, KeystreamClose request, KeystreamContext& context);
  void Join(Instant now, uint64_t token, Stream& stream, WaitingOpen open,
            KeystreamContext& context);
  // The stream and the side of `caller`, if it opened it here and did not close it.
  std::optional<std::pair<Stream*, size_t>> Find(const KeyId& id, const SaeId& caller);
  std::optional<Refusal> CheckCaller(const KeystreamOpen& request,
                                     const KeystreamContext& context) const;
  uint64_t AvailableTo(const NodeId& home, const KeystreamContext& context) const;
  uint32_t OpenedBy(const SaeId& sae) const;
  void AnswerOpen(const WaitingOpen& open, const Stream& stream, KeystreamContext& context);
  void AnswerStatus(uint64_t token, KeystreamStatus status, KeystreamContext& context);
  // Nothing while it has to wait.
  std::optional<KeystreamAnswer> TryGet(Instant now, Stream& stream, const WaitingGet& get,
                                        WriteSeq& after, KeystreamContext& context);
  KeystreamStatus LateGet(const Stream& stream, const WaitingGet& get,
                          const KeystreamContext& context) const;

  // keystreams_peer.cc: the other KME, and what is allocated.
  Stream* Make(Instant now, const KeyId& id, const std::array<SaeId, 2>& saes,
               const KeystreamQos& qos, const KeystreamContext& context);
  std::optional<KeystreamGone> WhyNot(const NodeId& from, const KeystreamNote& note,
                                      const KeystreamContext& context) const;
  void OnGone(Stream& stream, const KeystreamNote& note, KeystreamContext& context);
  void MergeNote(Instant now, Stream& stream, const KeystreamNote& note, KeystreamContext& context);
  void MergeAtAllocator(Stream& stream, const KeystreamNote& note, KeystreamContext& context);
  // False: a chunk contradicts what is here.
  bool TakeChunks(Instant now, Stream& stream, const KeystreamNote& note,
                  KeystreamContext& context);
  KeystreamNote NoteOf(Stream& stream, const KeystreamContext& context);
  void SayGone(const NodeId& to, const KeystreamNote& asked, KeystreamGone why,
               KeystreamContext& context);
  void Speak(Instant now, Stream& stream, KeystreamContext& context);
  // Tells the peer what is new, until it answers.
  void Tell(Instant now, Stream& stream);
  uint32_t ChunksToDraw(const Stream& stream) const;
  void DrawFor(Instant now, KeystreamContext& context);
  bool OtherHas(const Stream& stream, uint64_t index) const;
  bool Unconfirmed(const Stream& stream) const;
  // How many chunks are drawn before they are asked for: no more than are asked for in half of
  // their life, or they would be burnt unread.
  uint32_t Ahead(const Stream& stream) const;
  void NoteWant(Instant now, Stream& stream, uint64_t& want, uint64_t below) const;
  // Indices below can be held here.
  uint64_t LimitBelow(const Stream& stream) const;

  // keystreams_time.cc: lives, records.
  void Persist(Stream& stream, KeystreamContext& context);
  void Persist(Stream& stream, uint64_t index, const Chunk& chunk, KeystreamContext& context);
  // Serves who waits, burns what is too old, speaks. False: the stream is over.
  bool Work(Instant now, Stream& stream, KeystreamContext& context);
  bool ServeOpens(Instant now, Stream& stream, KeystreamContext& context);
  void ServeGets(Instant now, Stream& stream, KeystreamContext& context);
  void BurnLate(Instant now, Stream& stream, KeystreamContext& context);
  // Takes a chunk for a side that will not read it. False: try again later.
  bool Burn(Stream& stream, uint64_t index, Chunk& chunk, size_t side, KeystreamContext& context);
  bool Forgettable(const Stream& stream, uint64_t index, const Chunk& chunk) const;
  void Forget(Stream& stream, std::map<uint64_t, Chunk>::iterator it, KeystreamContext& context);
  void Touch(Instant now, const KeyId& id, KeystreamContext& context);
  // Answers who waits, burns what is here, forgets it.
  void Erase(Streams::iterator it, KeystreamContext& context);
  void Arm(Instant now, const Stream& stream);
  std::optional<Instant> DeadlineOf(Instant now, const Stream& stream) const;
  void SetPacers(Stream& stream) const;

  const KeystreamConfig config_;
  std::vector<KeystreamRecord> recovered_;
  std::vector<KeystreamChunkRecord> recovered_chunks_;
  Streams streams_;
  std::map<NodeId, uint32_t> peers_;  // With the number of streams.
  std::set<KeyId> hungry_;
  std::set<std::pair<Instant, KeyId>> timers_;
  std::map<KeyId, Instant> armed_;
  uint64_t last_number_ = 0;
  uint64_t last_ticket_ = 0;
  std::map<uint64_t, KeyId> draws_;  // Under way, by ticket.
  size_t waiting_ = 0;
  KeystreamCounters counters_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_KEYSTREAM_KEYSTREAMS_H_
