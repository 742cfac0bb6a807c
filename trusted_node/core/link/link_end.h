#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_LINK_END_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_LINK_END_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/types.h"
#include "trusted_node/core/link/messages.h"
#include "trusted_node/core/link/records.h"

namespace keyhop {

struct LinkConfig {
  LinkId id;
  NodeId self;
  NodeId peer;
  uint32_t unit_bytes_max = 64 * 1024;
  uint64_t lease_bytes_min = 1024;
  uint64_t lease_bytes_max = 4 * 1024 * 1024;
  uint64_t stock_bytes_max = 64ull * 1024 * 1024;  // Beyond it the module has to wait.
  Duration retry = Duration::Millis(250);          // Of hellos and lease requests.
  Duration need_interval = Duration::Millis(500);
  uint32_t failed_tags_max = 8;

  bool allocator() const { return self < peer; }
  absl::Status Validate() const;
};

// What a link end gives back to its node. Implemented by the node, which numbers writes and
// routes messages to the peer.
class LinkOutbox {
 public:
  virtual ~LinkOutbox() = default;
  // Queues a durable write and returns its number.
  virtual WriteSeq Write(LinkRecordVariant record) = 0;
  // Sends to the link's peer once write `after` is durable.
  virtual void Send(LinkMessage message, WriteSeq after) = 0;
  // 64 fresh random bits.
  virtual uint64_t Random() = 0;
  // The peer remembers a later version of this end than this end does: an old disk image.
  virtual void RollbackFound() = 0;
};

// Pad bytes taken for one frame: `s` (16 bytes) is taken first, then the payload's pad.
struct TakenPads {
  std::vector<PadRange> ranges;  // All bytes in order, s first.
  SecretBytes r;                 // 16 bytes, of the lease that s is from.
  SecretBytes s;                 // 16 bytes.
  SecretBytes pad;               // For the payload.
  WriteSeq after = 0;            // The frame may leave once this write is durable.
};

struct LinkLevels {
  bool module_up = false;
  bool session_open = false;
  uint64_t stock_bytes = 0;         // Not leased yet.
  uint64_t send_open_bytes = 0;     // Leased, free, in our sending direction.
  uint64_t receive_open_bytes = 0;  // Leased to the peer's sending direction, unused yet.
  uint64_t used_bytes = 0;          // By frames sent, ever (this run of the process).
  uint64_t burnt_bytes = 0;         // Never used: by sessions ended, tails, lacks, refusals.
  uint64_t failed_tags = 0;
  uint32_t qber_ppm = 0;
  uint64_t rate_bps = 0;
};

// One end of a link: its books of pads, its session with the other end, and the leases both agreed
// on (DESIGN §3; rules as in tests/model/pads.py, class TwoSided with `stock`). It decides which
// pad bytes protect which frame and refuses every byte seen before; it does not touch frames.
//
// Invariants: a pad byte is handed out by TakeForSending at most once, and only from a lease that
// is durable at both ends; by TakeForReceiving at most once; whatever lies below a mark is never
// leased again (G3), also when either end was restored from an older image.
//
// Pure: no clock, I/O or threads. Not thread-safe.
class LinkEnd {
 public:
  // `own` is this start's incarnation; `recovered` are this link's records in any order.
  static absl::StatusOr<std::unique_ptr<LinkEnd>> Create(LinkConfig config, SecretBytes link_key,
                                                         Incarnation own,
                                                         std::vector<LinkRecordVariant> recovered);
  ~LinkEnd();

  // A block from the QKD module. Blocks of a run come with growing numbers; one below what was
  // taken already is accepted and ignored. Returns the write to wait for before acknowledging it,
  // or INVALID_ARGUMENT (bad size), FAILED_PRECONDITION (a finished run), RESOURCE_EXHAUSTED (the
  // stock is full: the module waits).
  absl::StatusOr<WriteSeq> Take(Instant now, BookId book, uint64_t block, SecretBytes bytes,
                                LinkOutbox& out);
  // First block that `book` did not take yet (for a module that attaches again).
  std::map<BookId, uint64_t> TakenTops() const;
  void SetModule(bool up, uint32_t qber_ppm, uint64_t rate_bps);

  void OnMessage(Instant now, const LinkMessage& message, LinkOutbox& out);
  // The transport to the peer came up: says hello at once.
  void OnConnected(Instant now, LinkOutbox& out);
  void OnTick(Instant now, LinkOutbox& out);
  std::optional<Instant> NextDeadline() const;

  bool session_open() const;
  Session session() const;
  // Free bytes that frames could take in our sending direction now, leased and confirmed.
  uint64_t SendableBytes() const;
  // Bytes in memory of leases, open or asked for, in both directions.
  uint64_t LeasedBytes() const;
  // While memory for leases is scarce a direction leases no more than lease_bytes_min at a time, or
  // what a frame fell short of, and only when less is open; a peer's lease may have to wait 2 s.
  void SetLeasesScarce(bool scarce);
  // Takes 16 + payload_bytes pad bytes, each once. UNAVAILABLE when there are not enough; the
  // shortage raises what the next leases ask for.
  absl::StatusOr<TakenPads> TakeForSending(Instant now, uint32_t payload_bytes);
  // The pads that a received frame names (16 bytes of s first). Every byte is refused from then
  // on, whatever becomes of the frame. FAILED_PRECONDITION: another session, not leased, used
  // before, or malformed.
  absl::StatusOr<TakenPads> TakeForReceiving(const Session& session,
                                             std::span<const PadRange> ranges);
  // The frame whose pads were taken last failed its tag. After `failed_tags_max` in a session, or
  // when under one lease the first two fail, the session ends (new random bits, a new hello).
  void OnFailedTag(Instant now, LinkOutbox& out);
  // Raises this end's version in this step's batch, for records that are not the link's, and tells
  // the peer soon: it then knows an image of the store from before them to be old.
  void RaiseVersion(Instant now, LinkOutbox& out);
  // Burns stock and leases and moves all marks above them (after a rollback alarm).
  void BurnAll(Instant now, LinkOutbox& out);

  // HMAC under the link key for other control between the two ends.
  Mac Authenticate(std::span<const uint8_t> layout) const;

  const LinkConfig& config() const;
  LinkLevels Levels() const;

 private:
  struct Impl;
  explicit LinkEnd(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_LINK_END_H_
