#include "trusted_node/core/link/link_end.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "kms/base/overload.h"
#include "trusted_node/core/link/layout.h"
#include "trusted_node/core/link/link_end_impl.h"

namespace keyhop {
namespace {

constexpr size_t kLinkKeyBytesMin = 16;
constexpr uint32_t kUnitBytesLimit = 16 * 1024 * 1024;

}  // namespace

absl::Status LinkConfig::Validate() const {
  const auto bad = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("link '", id.value, "': ", what));
  };
  if (id.empty()) return bad("it needs an ID");
  if (self.empty() || peer.empty()) return bad("both its nodes need an ID");
  if (self == peer) return bad("its two ends are one node");
  if (unit_bytes_max < kPadUnitBytesMin || unit_bytes_max > kUnitBytesLimit) {
    return bad(absl::StrCat("unit_bytes_max is ", unit_bytes_max, ", expected ", kPadUnitBytesMin,
                            " to ", kUnitBytesLimit));
  }
  if (lease_bytes_min == 0 || lease_bytes_min > lease_bytes_max ||
      lease_bytes_max > (uint64_t{1} << 32)) {
    return bad("lease_bytes_min is to be above 0, and not above lease_bytes_max (at most 4 GiB)");
  }
  if (stock_bytes_max < unit_bytes_max) return bad("stock_bytes_max holds not one unit");
  if (retry <= Duration{} || need_interval <= Duration{}) {
    return bad("retry and need_interval are to be above 0");
  }
  if (failed_tags_max == 0) return bad("failed_tags_max is to be above 0");
  return absl::OkStatus();
}

LinkEnd::Impl::Impl(LinkConfig link_config, SecretBytes link_key, Incarnation own_incarnation)
    : config(std::move(link_config)),
      key(std::move(link_key)),
      books(config.id, config.stock_bytes_max),
      own(own_incarnation),
      demand(config.lease_bytes_min, config.lease_bytes_max) {}

void LinkEnd::Impl::TickAt(Instant at) { tick_at = tick_at ? std::min(*tick_at, at) : at; }

void LinkEnd::Impl::Send(LinkMessage message, LinkOutbox& out) {
  SetMac(HmacSha256(key, LayoutOf(message).bytes()), message);
  // Whatever is told is durable first: the last write of this end covers it.
  out.Send(std::move(message), books.last_write());
}

void LinkEnd::Impl::Finish(Instant now, LinkOutbox& out) {
  TryAllocate(now, out);
  books.FinishOld(out);
  books.Commit(out);
  if (open && !config.allocator() && !asked && OwnWanted(now) != 0) need_urgent = true;
  if (const auto at = NeedAt(); at && *at <= now) SayNeed(now, out);
  // Last: the node may burn all of this end from within.
  if (std::exchange(rollback, false)) out.RollbackFound();
}

uint64_t LinkEnd::Impl::SendFree() const {
  uint64_t free = 0;
  for (const auto& [number, lease] : send) free += lease.free_bytes();
  return free;
}

uint64_t LinkEnd::Impl::ReceiveFree() const {
  uint64_t free = 0;
  for (const auto& [number, lease] : receive) free += lease.free_bytes();
  return free;
}

void LinkEnd::Impl::DropTails() {
  while (!send.empty() && send.begin()->second.free_bytes() < kTagPartBytes) {
    burnt_bytes += send.begin()->second.free_bytes();
    send.erase(send.begin());
  }
}

// ---- LinkEnd.

LinkEnd::LinkEnd(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LinkEnd::~LinkEnd() = default;

absl::StatusOr<std::unique_ptr<LinkEnd>> LinkEnd::Create(LinkConfig config, SecretBytes link_key,
                                                         Incarnation own,
                                                         std::vector<LinkRecordVariant> recovered) {
  if (absl::Status valid = config.Validate(); !valid.ok()) return valid;
  if (link_key.size() < kLinkKeyBytesMin) {
    return absl::InvalidArgumentError(absl::StrCat("the pre-shared key of link ", config.id.value,
                                                   " is shorter than ", kLinkKeyBytesMin,
                                                   " bytes"));
  }
  if (!own.known()) return absl::InvalidArgumentError("an end needs an incarnation");
  auto impl = std::make_unique<Impl>(std::move(config), std::move(link_key), own);
  if (absl::Status s = impl->books.Recover(std::move(recovered)); !s.ok()) return s;
  return std::unique_ptr<LinkEnd>(new LinkEnd(std::move(impl)));
}

absl::StatusOr<WriteSeq> LinkEnd::Take(Instant now, BookId book, uint64_t block, SecretBytes bytes,
                                       LinkOutbox& out) {
  Impl& i = *impl_;
  if (bytes.size() < kPadUnitBytesMin || bytes.size() > i.config.unit_bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat("a block of ", bytes.size(), " bytes, expected ",
                                                   kPadUnitBytesMin, " to ",
                                                   i.config.unit_bytes_max));
  }
  if (block >= kMarkOfFinished - 1) return absl::InvalidArgumentError("a block number too high");
  const bool was_empty = i.books.stock_bytes() == 0;
  const absl::StatusOr<bool> taken = i.books.Take(book, block, std::move(bytes), out);
  if (!taken.ok()) return taken.status();
  if (*taken) {
    i.need_changed = true;
    if (!i.config.allocator() && (was_empty || i.asked)) i.need_urgent = true;
  }
  i.books.Commit(out);
  const WriteSeq wait_for = i.books.last_write();
  i.Finish(now, out);
  return wait_for;
}

std::map<BookId, uint64_t> LinkEnd::TakenTops() const { return impl_->books.TakenTops(); }

void LinkEnd::SetModule(bool up, uint32_t qber_ppm, uint64_t rate_bps) {
  impl_->module.module_up = up;
  impl_->module.qber_ppm = qber_ppm;
  impl_->module.rate_bps = rate_bps;
}

void LinkEnd::OnMessage(Instant now, const LinkMessage& message, LinkOutbox& out) {
  Impl& i = *impl_;
  if (LinkOf(message) != i.config.id || !MacHolds(i.key, message)) {
    ++i.ignored_messages;
    return;
  }
  std::visit(Overload{[&](const LinkHello& m) { i.OnHello(now, m, out); },
                      [&](const LinkLeaseRequest& m) { i.OnRequest(now, m, out); },
                      [&](const LinkLeaseAnswer& m) { i.OnAnswer(now, m, out); },
                      [&](const LinkNeed& m) { i.OnNeed(now, m, out); }},
             message);
  i.Finish(now, out);
}

void LinkEnd::OnConnected(Instant now, LinkOutbox& out) {
  impl_->connected = true;
  impl_->SayHello(now, impl_->open ? impl_->peer : impl_->heard, out);
  impl_->Finish(now, out);
}

void LinkEnd::OnTick(Instant now, LinkOutbox& out) {
  Impl& i = *impl_;
  if (i.tick_at && *i.tick_at <= now) i.tick_at.reset();
  if (i.connected && !i.open && i.hello_at <= now) i.SayHello(now, i.heard, out);
  for (auto& p : i.pending) {
    if (!p || p->retry_at > now) continue;
    p->retry_at = now + i.config.retry;
    i.Send(p->request, out);
  }
  i.Finish(now, out);
}

std::optional<Instant> LinkEnd::NextDeadline() const {
  const Impl& i = *impl_;
  std::optional<Instant> next = i.tick_at;
  const auto take = [&](std::optional<Instant> at) {
    if (at && (!next || *at < *next)) next = at;
  };
  if (i.connected && !i.open) take(i.hello_at);
  for (const auto& p : i.pending) {
    if (p) take(p->retry_at);
  }
  take(i.NeedAt());
  return next;
}

bool LinkEnd::session_open() const { return impl_->open; }
Session LinkEnd::session() const { return impl_->SessionNow(); }
uint64_t LinkEnd::SendableBytes() const { return impl_->SendFree(); }
uint64_t LinkEnd::LeasedBytes() const {
  const Impl& i = *impl_;
  return i.SendFree() + i.ReceiveFree() + i.PendingBytes(Direction::kFromAllocator) +
         i.PendingBytes(Direction::kToAllocator);
}
void LinkEnd::SetLeasesScarce(bool scarce) { impl_->scarce = scarce; }

absl::StatusOr<TakenPads> LinkEnd::TakeForSending(Instant now, uint32_t payload_bytes) {
  Impl& i = *impl_;
  const uint64_t wanted = uint64_t{kTagPartBytes} + payload_bytes;
  const uint64_t free = i.SendFree();
  if (free < wanted) {
    i.demand.FellShort(now, wanted);
    i.WantMore(now);
    return absl::UnavailableError(absl::StrCat("link ", i.config.id.value, " has ", free,
                                               " pad bytes open, a frame needs ", wanted));
  }
  // DropTails leaves 16 bytes at least in the first lease: s is from one lease, as its r.
  TakenPads taken;
  const SendLease& first = i.send.begin()->second;
  taken.r = first.r().Duplicate(SecretAccess::ForRelay());
  taken.s = SecretBytes(kTagPartBytes);
  taken.pad = SecretBytes(payload_bytes);
  i.TakeNext(taken.s, taken);
  i.TakeNext(taken.pad, taken);
  i.used_bytes += wanted;
  i.demand.Used(now, wanted);
  i.DropTails();
  i.WantMore(now);
  return taken;
}

void LinkEnd::Impl::TakeNext(SecretBytes& into, TakenPads& taken) {
  const std::span<uint8_t> to = into.ExposeMutable(SecretAccess::ForRelay());
  size_t done = 0;
  for (auto it = send.begin(); done < to.size(); ++it) {
    const size_t n = it->second.Take(to.subspan(done), taken.ranges);
    if (n != 0) taken.after = std::max(taken.after, it->second.after());
    done += n;
  }
}

void LinkEnd::Impl::WantMore(Instant now) {
  if (!open || OwnWanted(now) == 0) return;
  if (config.allocator()) {
    if (!pending[IndexOf(send_direction())] && FindSource(1)) TickAt(now);
  } else if (!asked) {
    need_urgent = true;
  }
}

absl::StatusOr<TakenPads> LinkEnd::TakeForReceiving(const Session& session,
                                                    std::span<const PadRange> ranges) {
  Impl& i = *impl_;
  if (!i.open || session != i.SessionNow()) {
    return absl::FailedPreconditionError("a frame of another session of its link");
  }
  if (ranges.empty() || ranges.size() > kFrameRangesMax) {
    return absl::FailedPreconditionError("a frame with no or too many pad ranges");
  }
  if (const auto before = i.unjudged ? i.receive.find(*i.unjudged) : i.receive.end();
      before != i.receive.end()) {
    before->second.TagPassed();
  }
  i.unjudged.reset();
  // First all is checked, so that a bad frame takes nothing away.
  std::map<uint64_t, IntervalSet> named;
  std::vector<Range> located;
  uint64_t total = 0;
  for (const PadRange& range : ranges) {
    const auto lease = i.receive.find(range.lease);
    const Range at = lease == i.receive.end() ? Range{} : lease->second.Locate(range);
    if (at.size() == 0 || named[range.lease].Overlaps(at)) {
      return absl::FailedPreconditionError("a frame with pads that are not leased, or used before");
    }
    if (total < kTagPartBytes && range.lease != ranges.front().lease) {
      return absl::FailedPreconditionError("a frame whose tag's pads are of two leases");
    }
    named[range.lease].Add(at);
    located.push_back(at);
    total += at.size();
  }
  if (total < kTagPartBytes) return absl::FailedPreconditionError("a frame without a tag's pads");

  TakenPads taken;
  taken.ranges.assign(ranges.begin(), ranges.end());
  taken.r = i.receive.at(ranges.front().lease).r().Duplicate(SecretAccess::ForRelay());
  SecretBytes all(total);
  const std::span<uint8_t> to = all.ExposeMutable(SecretAccess::ForRelay());
  size_t done = 0;
  for (size_t k = 0; k < ranges.size(); ++k) {
    i.burnt_bytes += i.receive.at(ranges[k].lease)
                         .Take(ranges[k], located[k], to.subspan(done, located[k].size()));
    done += located[k].size();
  }
  for (const auto& [number, set] : named) {
    const auto lease = i.receive.find(number);
    if (!lease->second.Spent()) continue;
    i.burnt_bytes += lease->second.free_bytes();
    i.receive.erase(lease);
  }
  i.unjudged = ranges.front().lease;
  taken.s = all.Slice(0, kTagPartBytes);
  taken.pad = all.Slice(kTagPartBytes, total - kTagPartBytes);
  return taken;
}

void LinkEnd::OnFailedTag(Instant now, LinkOutbox& out) {
  Impl& i = *impl_;
  ++i.failed_tags;
  const auto lease = i.unjudged ? i.receive.find(*i.unjudged) : i.receive.end();
  // A rare frame would need minutes to fail often enough: one lease whose r is unequal is enough.
  const bool unequal_r = lease != i.receive.end() && lease->second.TagFailed();
  i.unjudged.reset();
  if (i.open && (++i.failed_in_session >= i.config.failed_tags_max || unequal_r)) {
    i.EndSession(now, out);
  }
  i.Finish(now, out);
}

void LinkEnd::RaiseVersion(Instant now, LinkOutbox& out) {
  Impl& i = *impl_;
  i.books.RaiseVersion();
  i.need_changed = true;
  i.Finish(now, out);
}

void LinkEnd::BurnAll(Instant now, LinkOutbox& out) {
  Impl& i = *impl_;
  i.books.BurnStock(out);
  i.books.JumpAbove(i.peer_saw);
  i.EndSession(now, out);
  i.Finish(now, out);
}

Mac LinkEnd::Authenticate(std::span<const uint8_t> layout) const {
  return HmacSha256(impl_->key, LayoutOfOther(impl_->config.id, layout).bytes());
}

const LinkConfig& LinkEnd::config() const { return impl_->config; }

LinkLevels LinkEnd::Levels() const {
  const Impl& i = *impl_;
  LinkLevels levels = i.module;
  levels.session_open = i.open;
  levels.stock_bytes = i.books.stock_bytes();
  levels.send_open_bytes = i.SendFree();
  levels.receive_open_bytes = i.ReceiveFree();
  levels.used_bytes = i.used_bytes;
  levels.burnt_bytes = i.burnt_bytes + i.books.burnt_bytes();
  levels.failed_tags = i.failed_tags;
  return levels;
}

}  // namespace keyhop
