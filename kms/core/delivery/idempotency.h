#ifndef KEYHOP_KMS_CORE_DELIVERY_IDEMPOTENCY_H_
#define KEYHOP_KMS_CORE_DELIVERY_IDEMPOTENCY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/delivery/config.h"
#include "kms/core/delivery/request.h"
#include "kms/core/types.h"

namespace keyhop {

// Durable. Key: caller, idempotency key. What a request under that key was answered with.
struct IdempotencyRecord {
  SaeId caller;
  std::string key;
  std::array<uint8_t, 32> request_hash = {};
  Duration ends = {};                      // In run time (RunTimeRecord).
  std::optional<SecretBytes> answer = {};  // Absent: erased.
};
// Durable, one a node. How long it has run in all its lives together, as of this record: windows
// are counted in run time, not in wall time.
struct RunTimeRecord {
  Duration ran = {};
  // After a rollback alarm: until then a request under an idempotency key may be a retry of one
  // whose answer this node forgot.
  Duration refused_until = {};
};

class IdempotencyOutbox {
 public:
  virtual ~IdempotencyOutbox() = default;
  // As StreamOutbox::Write.
  virtual WriteSeq Write(IdempotencyRecord record) = 0;
  virtual WriteSeq Write(RunTimeRecord record) = 0;
};

// SHA-256 over everything that a request asks for, whatever front end it came by; without caller
// and idempotency key.
std::array<uint8_t, 32> HashOf(const DrawRequest& request);
std::array<uint8_t, 32> HashOf(const FetchRequest& request);

KeyContainer CopyOf(const KeyContainer& keys);

// The answers to requests under idempotency keys, for a window each (DESIGN §6): the identical
// request of the same SAE gets the identical answer, which is the same delivery (G2). An answer is
// kept only if keys left with it; it may leave once its record is durable. Bounded for each SAE and
// in all; what is past its window is erased.
//
// An answer from before this start is repeated only once those were heard who would know if this
// node's store is an old image: in one, an idempotency key may stand with an answer that is not its
// last.
//
// Pure. Not thread-safe.
class IdempotencyTable {
 public:
  IdempotencyTable(const DeliveryConfig& config, std::vector<IdempotencyRecord> recovered,
                   std::optional<RunTimeRecord> run_time);
  void Start(Instant now);

  struct Request {
    SaeId caller;
    std::string key;
    std::array<uint8_t, 32> hash = {};
    uint64_t answer_bytes_max = 0;  // As AnswerBytes() gives.
    // Who was heard in this start: a neighbour (or there is none); the KME at the other end of the
    // pair.
    bool neighbour_heard = false;
    bool pair_heard = false;
  };
  struct Fresh {};  // To be served now; then End() is due, once.
  struct Waits {};  // One like it is under way: End() names `token` beside that one's.
  struct Repeated {
    KeyContainer keys;
    WriteSeq after = 0;
  };
  using Verdict = std::variant<Fresh, Waits, Repeated, Refusal>;
  Verdict Begin(Instant now, uint64_t token, const Request& request, IdempotencyOutbox& out);

  // Whether Begin() called `token` fresh and End() was not called yet.
  bool UnderWay(uint64_t token) const { return under_way_.contains(token); }
  // The request got `outcome`. Keys are recorded, and `after` is raised to that record's write.
  // Refused instead: the outcome of a request that was under way when a rollback was found. Returns
  // the tokens of those that waited for it: they get the same.
  std::vector<uint64_t> End(Instant now, uint64_t token, Outcome<KeyContainer>& outcome,
                            WriteSeq& after, IdempotencyOutbox& out);

  void OnTick(Instant now, IdempotencyOutbox& out);
  std::optional<Instant> NextDeadline() const;

  // After a rollback alarm: forgets all, and refuses every request for a window.
  void BurnAll(Instant now, IdempotencyOutbox& out);

  // Room that an answer with `keys` keys of `key_bytes` takes.
  static uint64_t AnswerBytes(uint64_t keys, uint64_t key_bytes);
  size_t open() const { return entries_.size(); }

  static constexpr size_t kKeyBytesMax = 255;
  static constexpr size_t kWaitingMax = 16;  // For one request under way.

 private:
  using Name = std::pair<SaeId, std::string>;
  struct Entry {
    std::array<uint8_t, 32> hash = {};
    uint64_t bytes = 0;  // Of the answer; while under way, what it may take at most.
    // Under way.
    std::optional<uint64_t> token = {};
    std::vector<uint64_t> waiting = {};
    bool forgotten = false;  // A rollback was found since.
    // Answered.
    Duration ends = {};
    SecretBytes answer = {};
    WriteSeq after = 0;
    bool recovered = false;
  };
  struct Share {
    size_t open = 0;
    uint64_t bytes = 0;
  };

  Duration RanAt(Instant now) const { return ran_before_ + (now - started_); }
  Instant InstantOf(Duration ran) const { return started_ + (ran - ran_before_); }
  WriteSeq WriteRunTime(Instant now, IdempotencyOutbox& out);
  void Count(const SaeId& sae, const Entry& entry);
  void Uncount(const SaeId& sae, const Entry& entry);
  std::optional<Refusal> CheckRoom(Instant now, const Request& request) const;
  Refusal Unavailable(std::string message, Duration retry_after) const;

  const Duration window_;
  const Duration retry_after_;
  const size_t open_max_;
  const uint64_t bytes_max_;
  std::map<Name, Entry> entries_;
  std::set<std::pair<Duration, Name>> by_end_;  // The answered ones.
  std::map<uint64_t, Name> under_way_;
  std::map<SaeId, Share> shares_;
  uint64_t bytes_ = 0;
  Duration ran_before_ = {};  // Before this start.
  Duration recorded_ = {};    // The last run time written.
  Duration refused_until_ = {};
  Instant started_ = {};
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_IDEMPOTENCY_H_
