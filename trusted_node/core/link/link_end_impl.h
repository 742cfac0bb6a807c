#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_LINK_END_IMPL_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_LINK_END_IMPL_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "kms/core/book/interval_set.h"
#include "trusted_node/core/link/demand.h"
#include "trusted_node/core/link/limits.h"
#include "trusted_node/core/link/link_end.h"
#include "trusted_node/core/link/open_lease.h"
#include "trusted_node/core/link/pad_books.h"

namespace keyhop {

// The parts of a link's end: link_session.cc has hellos and needs, link_lease.cc requests and
// answers, link_end.cc the pads of frames.
struct LinkEnd::Impl {
  // Allocator: a lease asked for, not answered yet.
  struct Pending {
    LinkLeaseRequest request;
    std::vector<LeasedBlock> blocks;
    Instant retry_at;
  };
  // The other end: the last request of a direction that was answered in this session.
  struct Answered {
    LinkLeaseRequest request;
    LinkLeaseAnswer answer;
  };
  // Of each book that the peer named: above the last unit that its module gave.
  using Tops = std::map<BookId, uint64_t>;

  Impl(LinkConfig link_config, SecretBytes link_key, Incarnation own_incarnation);

  static size_t IndexOf(Direction d) { return d == Direction::kFromAllocator ? 0 : 1; }
  Direction send_direction() const {
    return config.allocator() ? Direction::kFromAllocator : Direction::kToAllocator;
  }
  Session SessionNow() const;

  // -- link_session.cc
  void OnHello(Instant now, const LinkHello& hello, LinkOutbox& out);
  void OpenSession(Instant now, const Incarnation& peer_incarnation);
  // New random bits: whatever the peer says under the old ones is not fresh any more.
  void EndSession(Instant now, LinkOutbox& out);
  void BurnLeases();
  void SayHello(Instant now, const Incarnation& echo, LinkOutbox& out);
  // A valid message of another session: the peer does not know the current one.
  void OnOtherSession(Instant now, const Session& session, LinkOutbox& out);
  void OnNeed(Instant now, const LinkNeed& need, LinkOutbox& out);
  void SayNeed(Instant now, LinkOutbox& out);
  std::optional<Instant> NeedAt() const;
  void HearMarks(const std::vector<BookMark>& marks, LinkOutbox& out);
  std::vector<BookMark> ToldMarks(const Incarnation& to) const;

  // -- link_lease.cc
  void TryAllocate(Instant now, LinkOutbox& out);
  // The lowest book with stock that the peer should hold too, and the bytes of it, up to `enough`.
  struct Source {
    BookId book;
    uint64_t below = 0;
    uint64_t bytes = 0;
  };
  std::optional<Source> FindSource(uint64_t enough) const;
  uint64_t PeerTop(BookId book) const;
  void Request(Instant now, Direction direction, const Source& source, uint64_t bytes,
               LinkOutbox& out);
  void OnRequest(Instant now, const LinkLeaseRequest& request, LinkOutbox& out);
  bool MustWait(Instant now, const LinkLeaseRequest& request);
  LinkLeaseAnswer Confirm(const LinkLeaseRequest& request, LinkOutbox& out);
  void OnAnswer(Instant now, const LinkLeaseAnswer& answer, LinkOutbox& out);
  void Install(Direction direction, uint64_t number, BookId book, std::vector<LeasedBlock> blocks);
  uint64_t OwnWanted(Instant now);
  uint64_t PendingBytes(Direction direction) const;

  // -- link_end.cc
  // Leases whose rest is too short for an s: the first open one always has 16 bytes.
  void DropTails();
  // Fills `into` from the open leases, in order.
  void TakeNext(SecretBytes& into, TakenPads& taken);
  // After use: asks to be ticked, or to say a need, where the open leases run low.
  void WantMore(Instant now);
  uint64_t SendFree() const;
  uint64_t ReceiveFree() const;
  void TickAt(Instant at);
  void Send(LinkMessage message, LinkOutbox& out);
  // Ends each step: leases, records, needs, the alarm.
  void Finish(Instant now, LinkOutbox& out);

  LinkConfig config;
  SecretBytes key;
  PadBooks books;
  LinkLevels module;  // What the module said.

  Incarnation own;
  Incarnation peer = {};   // Of the session, while it is open.
  Incarnation heard = {};  // Of the last hello, for the echo.
  bool open = false;
  bool connected = false;
  Instant hello_at = {};  // The next one while no session is open.
  std::optional<Instant> other_session_hello_at = {};
  uint64_t peer_saw = 0;  // The highest version of ours that the peer told.
  bool rollback = false;  // Found in this step.

  std::array<std::optional<Pending>, 2> pending = {};
  std::array<uint64_t, 2> numbers = {0, 0};  // Never given twice by this object.
  std::array<std::optional<Instant>, 2> requested_at = {};
  size_t served_last = 1;
  uint64_t peer_wanted = 0;
  std::array<std::optional<Answered>, 2> answered = {};
  Tops peer_tops;

  std::map<uint64_t, SendLease> send;
  std::map<uint64_t, ReceiveLease> receive;
  Demand demand;
  bool scarce = false;
  std::optional<Instant> confirmed_at = {};  // The peer's last lease, while memory was scarce.
  struct Waits {
    BookId book;
    uint64_t begin = 0;
    Instant until;
  };
  std::optional<Waits> waits = {};  // The peer's request that is left unanswered, while it is.

  uint64_t need_sequence = 0;
  uint64_t need_heard = 0;
  std::optional<Instant> need_said_at = {};
  bool need_changed = false;
  bool need_urgent = false;
  bool asked = false;  // The last need said asked for bytes that did not come yet.
  std::optional<Instant> tick_at = {};

  // The lease of the frame taken last, until its tag is judged: OnFailedTag, or the next frame.
  std::optional<uint64_t> unjudged;
  uint32_t failed_in_session = 0;
  uint64_t failed_tags = 0;
  uint64_t ignored_messages = 0;
  uint64_t used_bytes = 0;
  uint64_t burnt_bytes = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_LINK_END_IMPL_H_
