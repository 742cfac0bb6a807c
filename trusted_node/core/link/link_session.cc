#include <algorithm>
#include <utility>

#include "trusted_node/core/link/link_end_impl.h"

namespace keyhop {
namespace {

// While nothing changes: repairs lost needs, and sessions of which only one end knows.
constexpr int64_t kQuietNeedIntervals = 8;
// When pads are short.
constexpr int64_t kUrgentNeedsAnInterval = 10;

}  // namespace

Session LinkEnd::Impl::SessionNow() const {
  return config.allocator() ? Session{own, peer} : Session{peer, own};
}

void LinkEnd::Impl::BurnLeases() {
  burnt_bytes += SendFree() + ReceiveFree();
  send.clear();
  receive.clear();
  unjudged.reset();
  for (auto& p : pending) {
    if (p) burnt_bytes += SizeOf(p->blocks);
    p.reset();
  }
  answered = {};
  requested_at = {};
  peer_wanted = 0;
  demand.Reset();
}

void LinkEnd::Impl::OpenSession(Instant now, const Incarnation& peer_incarnation) {
  BurnLeases();
  peer = peer_incarnation;
  open = true;
  failed_in_session = 0;
  need_sequence = need_heard = 0;
  need_said_at.reset();
  need_changed = true;
  need_urgent = true;
  asked = false;
  TickAt(now);
}

void LinkEnd::Impl::EndSession(Instant now, LinkOutbox& out) {
  BurnLeases();
  own.random = out.Random();
  peer = {};
  open = false;
  SayHello(now, heard, out);
}

void LinkEnd::Impl::SayHello(Instant now, const Incarnation& echo, LinkOutbox& out) {
  books.Commit(out);
  hello_at = now + config.retry;
  Send(LinkHello{.link = config.id,
                 .from = config.self,
                 .own = own,
                 .echo = echo,
                 .open = open && echo == peer,
                 .books = ToldMarks(echo),
                 .version = books.versions().own(),
                 .version_seen = books.versions().seen()},
       out);
}

void LinkEnd::Impl::OnHello(Instant now, const LinkHello& hello, LinkOutbox& out) {
  if (hello.from != config.peer || !hello.own.known() || hello.books.size() > kBooksMax) {
    ++ignored_messages;
    return;
  }
  heard = hello.own;
  const bool fresh = hello.echo == own;
  if (fresh && open && peer != hello.own) {
    // A new start of the peer, or a late hello of an older one: they look alike. Were it believed,
    // coming back from an older one would leave the peer with leases of this very session that are
    // burnt here. Under new bits only a living peer answers.
    EndSession(now, out);
    return;
  }
  if (fresh) {
    if (!open || peer != hello.own) OpenSession(now, hello.own);
    HearMarks(hello.books, out);
    books.HearVersion(hello.version);
    peer_saw = std::max(peer_saw, hello.version_seen);
    rollback = rollback || books.versions().BehindWhatPeerSaw(hello.version_seen);
    books.OnPeerHeard();
  }
  if (!fresh || !hello.open) SayHello(now, hello.own, out);
}

void LinkEnd::Impl::OnOtherSession(Instant now, const Session& session, LinkOutbox& out) {
  if (other_session_hello_at && now < *other_session_hello_at + config.retry) return;
  other_session_hello_at = now;
  SayHello(now, config.allocator() ? session.second : session.first, out);
}

// ---- Marks and needs.

std::vector<BookMark> LinkEnd::Impl::ToldMarks(const Incarnation& to) const {
  std::vector<BookMark> marks = books.Marks();
  if (!open || to != peer) return marks;
  for (BookMark& mark : marks) {
    // What this incarnation of the peer did not confirm it does not use before it does: were it
    // told as a mark, the peer would have to refuse the request under way. (An older one may have
    // used it: its successor is told the full mark.)
    for (const auto& p : pending) {
      if (p && p->request.book == mark.book) {
        mark.mark = std::min(mark.mark, p->request.blocks.front().begin);
      }
    }
  }
  return marks;
}

void LinkEnd::Impl::HearMarks(const std::vector<BookMark>& marks, LinkOutbox& out) {
  peer_tops.clear();
  for (const BookMark& m : marks) {
    peer_tops[m.book] = m.stock_top;
    books.RaiseMark(m.book, m.mark, out);
  }
  if (config.allocator()) return;
  // A run that the allocator does not name, beside a newer one that its module gave, is finished
  // there: nothing of it is leased any more.
  for (const auto& [book, lowest] : books.LowestInStock()) {
    const auto newer = peer_tops.upper_bound(book);
    const bool replaced = newer != peer_tops.end() &&
                          newer->first.module_pair == book.module_pair && newer->second != 0;
    if (replaced && !peer_tops.contains(book) && !books.Finished(book)) books.Finish(book, out);
  }
}

void LinkEnd::Impl::OnNeed(Instant now, const LinkNeed& need, LinkOutbox& out) {
  if (need.from != config.peer || need.books.size() > kBooksMax) {
    ++ignored_messages;
    return;
  }
  if (!open || need.session != SessionNow()) {
    OnOtherSession(now, need.session, out);
    return;
  }
  if (need.sequence <= need_heard) return;
  need_heard = need.sequence;
  HearMarks(need.books, out);
  books.HearVersion(need.version);
  // What is under way may be what the peer asked for: it asks again if it was not.
  if (!pending[IndexOf(Direction::kToAllocator)]) {
    peer_wanted = std::min(need.wanted_bytes, scarce ? std::max<uint64_t>(config.lease_bytes_min,
                                                                          config.unit_bytes_max)
                                                     : config.lease_bytes_max);
  }
}

void LinkEnd::Impl::SayNeed(Instant now, LinkOutbox& out) {
  books.Commit(out);
  const uint64_t wanted = config.allocator() ? 0 : OwnWanted(now);
  asked = wanted != 0;
  need_changed = wanted != 0;
  need_urgent = false;
  need_said_at = now;
  Send(LinkNeed{.link = config.id,
                .from = config.self,
                .session = SessionNow(),
                .sequence = ++need_sequence,
                .wanted_bytes = wanted,
                .books = ToldMarks(peer),
                .version = books.versions().own()},
       out);
}

std::optional<Instant> LinkEnd::Impl::NeedAt() const {
  if (!open) return std::nullopt;
  if (!need_said_at) return Instant{};
  if (need_urgent) return *need_said_at + config.need_interval / kUrgentNeedsAnInterval;
  if (need_changed) return *need_said_at + config.need_interval;
  return *need_said_at + config.need_interval * kQuietNeedIntervals;
}

}  // namespace keyhop
