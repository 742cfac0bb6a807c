#include <algorithm>
#include <utility>

#include "trusted_node/core/link/link_end_impl.h"

namespace keyhop {
namespace {

// Of the largest size: the sender keeps fewer open.
constexpr uint64_t kReceiveLeasesMax = 6;
// The peer's next lease waits so long while memory is scarce and some of the last one is left; not
// for ever, since frames that were lost leave bytes that nobody uses.
constexpr Duration kScarceWait = Duration::Seconds(2);

// Ascending, apart or touching, none empty, and no more than a request may name.
bool WellFormed(const std::vector<Range>& blocks) {
  if (blocks.empty() || blocks.size() > kRequestRangesMax) return false;
  uint64_t count = 0;
  uint64_t above = 0;
  for (const Range& r : blocks) {
    if (r.begin < above || r.begin >= r.end || r.size() > kLeaseBlocksMax) return false;
    count += r.size();
    above = r.end;
  }
  return count <= kLeaseBlocksMax && above < kMarkOfFinished;
}

// What of `blocks` is not in `held`. Past the bound of an answer some that are held count as
// lacking: both ends drop them.
std::vector<Range> Lacking(const std::vector<Range>& blocks, const std::vector<LeasedBlock>& held) {
  IntervalSet have;
  for (const LeasedBlock& b : held) have.Add({b.block, b.block + 1});
  IntervalSet lacking(kLackingRangesMax);
  for (const Range& range : blocks) {
    for (const Range& missing : have.MissingFrom(range)) lacking.AddFillingGaps(missing);
  }
  return lacking.ranges();
}

// Removes what is lacking; returns its size.
uint64_t DropLacking(const std::vector<Range>& lacking, std::vector<LeasedBlock>& blocks) {
  const uint64_t before = SizeOf(blocks);
  IntervalSet set;
  for (const Range& r : lacking) set.Add(r);
  std::erase_if(blocks, [&](const LeasedBlock& b) { return set.Contains(b.block); });
  return before - SizeOf(blocks);
}

}  // namespace

// ---- The allocator.

uint64_t LinkEnd::Impl::PendingBytes(Direction direction) const {
  const auto& p = pending[IndexOf(direction)];
  return p ? SizeOf(p->blocks) : 0;
}

uint64_t LinkEnd::Impl::OwnWanted(Instant now) {
  if (send.size() >= kOpenLeasesMax) return 0;
  const uint64_t free = SendFree() + PendingBytes(send_direction());
  return scarce ? demand.WantedAtLeast(now, free) : demand.Wanted(now, free);
}

uint64_t LinkEnd::Impl::PeerTop(BookId book) const {
  // Where the peer's module went on to a newer run, no more can come of this one: what is not
  // there is burnt by asking for it.
  const auto newer =
      std::find_if(peer_tops.upper_bound(book), peer_tops.end(), [&](const auto& top) {
        return top.first.module_pair != book.module_pair || top.second != 0;
      });
  if (newer != peer_tops.end() && newer->first.module_pair == book.module_pair) {
    return kMarkOfFinished;
  }
  const auto it = peer_tops.find(book);
  return it == peer_tops.end() ? 0 : it->second;
}

std::optional<LinkEnd::Impl::Source> LinkEnd::Impl::FindSource(uint64_t enough) const {
  for (const auto& [book, lowest] : books.LowestInStock()) {
    const uint64_t below = PeerTop(book);
    if (lowest >= below) continue;
    return Source{book, below, books.StockBytesBelow(book, below, enough)};
  }
  return std::nullopt;
}

void LinkEnd::Impl::TryAllocate(Instant now, LinkOutbox& out) {
  if (!open || !config.allocator()) return;
  for (size_t turn = 1; turn <= 2; ++turn) {
    const size_t index = (served_last + turn) % 2;
    if (pending[index]) continue;
    const uint64_t wanted[2] = {OwnWanted(now), peer_wanted};
    if (wanted[index] == 0) continue;
    uint64_t bytes = wanted[index];
    std::optional<Source> source = FindSource(2 * config.lease_bytes_max);
    if (!source) return;
    // Scarce pads are halved where both ends want some.
    const bool both = wanted[1 - index] != 0 && !pending[1 - index];
    if (both && source->bytes < wanted[0] + wanted[1]) bytes = std::min(bytes, source->bytes / 2);
    if (source->bytes < wanted[index] && requested_at[index]) {
      // A small lease costs as much as a large one: let the stock gather a moment.
      const Instant at = *requested_at[index] + config.retry / 2;
      if (now < at) {
        TickAt(at);
        continue;
      }
    }
    served_last = index;
    Request(now, index == 0 ? Direction::kFromAllocator : Direction::kToAllocator, *source, bytes,
            out);
  }
}

void LinkEnd::Impl::Request(Instant now, Direction direction, const Source& source, uint64_t bytes,
                            LinkOutbox& out) {
  const size_t index = IndexOf(direction);
  Pending p;
  p.blocks = books.LeaseLowest(source.book, bytes, source.below, out);
  books.Commit(out);
  if (p.blocks.empty()) return;
  p.request = {.link = config.id,
               .session = SessionNow(),
               .direction = direction,
               .number = ++numbers[index],
               .book = source.book};
  for (const LeasedBlock& b : p.blocks) {
    std::vector<Range>& ranges = p.request.blocks;
    if (!ranges.empty() && ranges.back().end == b.block) {
      ++ranges.back().end;
    } else {
      ranges.push_back({b.block, b.block + 1});
    }
  }
  p.retry_at = now + config.retry;
  requested_at[index] = now;
  if (direction == Direction::kToAllocator) peer_wanted = 0;
  need_changed = true;
  Send(p.request, out);
  pending[index] = std::move(p);
}

void LinkEnd::Impl::OnAnswer(Instant now, const LinkLeaseAnswer& answer, LinkOutbox& out) {
  if (!config.allocator() || answer.lacking.size() > kLackingRangesMax) {
    ++ignored_messages;
    return;
  }
  if (!open || answer.session != SessionNow()) {
    OnOtherSession(now, answer.session, out);
    return;
  }
  auto& slot = pending[IndexOf(answer.direction)];
  if (!slot || slot->request.number != answer.number || slot->request.book != answer.book) return;
  Pending p = std::move(*slot);
  slot.reset();
  books.HearVersion(answer.version);
  if (answer.refused) {
    burnt_bytes += SizeOf(p.blocks);
    books.RaiseMark(answer.book, answer.mark, out);
    books.Commit(out);
    return;
  }
  burnt_bytes += DropLacking(answer.lacking, p.blocks);
  // The answer's version is durable here before a byte is used: the lease waits for this write.
  books.Commit(out);
  Install(answer.direction, answer.number, answer.book, std::move(p.blocks));
}

// ---- The other end.

void LinkEnd::Impl::OnRequest(Instant now, const LinkLeaseRequest& request, LinkOutbox& out) {
  if (config.allocator() || request.number == 0 || !WellFormed(request.blocks)) {
    ++ignored_messages;
    return;
  }
  if (!open || request.session != SessionNow()) {
    OnOtherSession(now, request.session, out);
    return;
  }
  auto& last = answered[IndexOf(request.direction)];
  if (last && request.number <= last->request.number) {
    // The same bytes under the same number get the same answer; older ones are not waited for.
    if (request.number == last->request.number && request.mac == last->request.mac) {
      Send(last->answer, out);
    }
    return;
  }
  if (MustWait(now, request)) return;
  Answered a{request, Confirm(request, out)};
  need_changed = true;
  Send(a.answer, out);
  last = std::move(a);
}

// A request that is left unanswered is asked for again with the same bytes.
bool LinkEnd::Impl::MustWait(Instant now, const LinkLeaseRequest& request) {
  if (request.direction == send_direction()) {
    // A lease above one that waits would raise the mark over it: it would be refused for ever.
    return waits && request.book == waits->book && request.blocks.front().begin >= waits->begin &&
           now < waits->until;
  }
  waits.reset();
  if (!scarce) return false;
  if (ReceiveFree() >= config.lease_bytes_min && confirmed_at &&
      now < *confirmed_at + kScarceWait) {
    waits = {request.book, request.blocks.front().begin, now + kScarceWait};
    return true;
  }
  confirmed_at = now;
  return false;
}

LinkLeaseAnswer LinkEnd::Impl::Confirm(const LinkLeaseRequest& request, LinkOutbox& out) {
  LinkLeaseAnswer answer = {.link = config.id,
                            .session = request.session,
                            .direction = request.direction,
                            .number = request.number,
                            .book = request.book};
  const uint64_t mark = books.MarkOf(request.book);
  if (!books.CanHold(request.book) || mark > request.blocks.front().begin) {
    answer.refused = true;
    answer.mark = mark;
    answer.version = books.versions().own();
    return answer;
  }
  std::vector<LeasedBlock> held = books.LeaseNamed(request.book, request.blocks, out);
  books.Commit(out);
  answer.mark = books.MarkOf(request.book);
  answer.lacking = Lacking(request.blocks, held);
  answer.version = books.versions().own();
  burnt_bytes += DropLacking(answer.lacking, held);
  Install(request.direction, request.number, request.book, std::move(held));
  return answer;
}

// ---- Both.

void LinkEnd::Impl::Install(Direction direction, uint64_t number, BookId book,
                            std::vector<LeasedBlock> blocks) {
  if (direction == send_direction()) asked = false;
  if (blocks.empty()) return;
  if (direction == send_direction()) {
    send.emplace(number, SendLease(number, book, std::move(blocks), books.last_write()));
    while (send.size() > kOpenLeasesMax) {
      burnt_bytes += send.begin()->second.free_bytes();
      send.erase(send.begin());
    }
    DropTails();
    return;
  }
  receive.emplace(number, ReceiveLease(book, std::move(blocks)));
  // More than the other end can have open: the oldest are gaps that lost frames left.
  const uint64_t bytes_max =
      kReceiveLeasesMax * std::max<uint64_t>(config.lease_bytes_max, config.unit_bytes_max);
  while (receive.size() > kOpenLeasesMax || (receive.size() > 1 && ReceiveFree() > bytes_max)) {
    burnt_bytes += receive.begin()->second.free_bytes();
    receive.erase(receive.begin());
  }
}

}  // namespace keyhop
