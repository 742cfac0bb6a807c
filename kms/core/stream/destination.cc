#include "kms/core/stream/destination.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "kms/core/stream/layout.h"
#include "kms/core/stream/word.h"
#include "kms/crypto/mac.h"

namespace keyhop {
StreamDestination::StreamDestination(StreamConfig config, StreamId stream, Incarnation own,
                                     std::vector<StreamRecord> recovered)
    : config_(config), stream_(std::move(stream)), own_(own), supplies_(stream_) {
  for (StreamRecord& record : recovered) {
    std::visit(Overload{
                   [&](DestinationRecord& r) {
                     top_epoch_ = r.top_epoch;
                     mark_ = r.mark;
                     top_ = r.top;
                     version_ = r.version;
                   },
                   [&](EpochRecord& r) {
                     if (r.keys) AddEpoch(r.number, std::move(*r.keys));
                   },
                   [&](UnitBodyRecord& r) {
                     if (r.body) units_[r.at].body = std::move(*r.body);
                   },
                   [&](UnitStateRecord& r) {
                     Unit& unit = units_[r.at];
                     unit.length = r.length_bytes;
                     unit.leased = r.leased;
                     unit.used = std::move(r.used);
                     unit.life_left = r.life_left;
                   },
                   [&](SupplyKeyRecord& r) { supplies_.Recover(std::move(r)); },
                   [&](SupplyRecord& r) { supplies_.Recover(std::move(r)); },
                   [](auto&) {},
               },
               record);
  }
  version_told_ = version_;
}

void StreamDestination::AddEpoch(uint64_t number, SecretBytes keys) {
  if (keys.size() != kOpeningBodyBytes) return;
  epochs_[number] = Epoch{keys.Slice(0, 32), keys.Slice(32, 32)};
}

std::vector<uint64_t> StreamDestination::Epochs() const {
  std::vector<uint64_t> out;
  for (auto it = epochs_.rbegin(); it != epochs_.rend(); ++it) out.push_back(it->first);
  return out;
}

const SecretBytes& StreamDestination::IdKey(uint64_t epoch) const {
  const auto it = epochs_.find(epoch);
  KEYHOP_CHECK(it != epochs_.end(), "an epoch that Epochs() names");
  return it->second.id_key;
}

uint64_t StreamDestination::unfetched_bytes() const {
  uint64_t sum = 0;
  for (const auto& [at, unit] : units_) sum += unit.leased ? unit.length : 0;
  return sum;
}

WriteSeq StreamDestination::Persist(StreamOutbox& out) {
  // Before the source is heard a raise would hide that this end was further once than it remembers.
  if (peer_.known()) ++version_;
  last_write_ = out.Write(DestinationRecord{stream_, top_epoch_, mark_, top_, version_});
  return last_write_;
}

void StreamDestination::WriteState(const StreamAddress& at, const Unit& unit, StreamOutbox& out) {
  out.Write(UnitStateRecord{.stream = stream_,
                            .at = at,
                            .erased = false,
                            .leased = unit.leased,
                            .length_bytes = unit.length,
                            .used = unit.used,
                            .life_left = unit.life_left});
}

StreamDestination::Units::iterator StreamDestination::Drop(Units::iterator it, bool burnt,
                                                           StreamOutbox& out) {
  if (burnt) counters_.burnt_bytes += it->second.length;
  out.Write(UnitBodyRecord{stream_, it->first, std::nullopt});
  out.Write(UnitStateRecord{.stream = stream_, .at = it->first, .erased = true});
  return units_.erase(it);
}

bool StreamDestination::CheckMac(uint64_t epoch, const ByteWriter& layout, const Mac& mac) {
  const auto it = epochs_.find(epoch);
  if (it != epochs_.end() &&
      EqualConstantTime(HmacSha256(it->second.stream_key, layout.bytes()), mac)) {
    return true;
  }
  ++counters_.bad_macs;
  return false;
}

void StreamDestination::OnSegment(Instant, Segment segment, StreamOutbox& out) {
  const size_t size = segment.payload.size();
  if (size <= kSegmentHeadBytes || size > kSegmentHeadBytes + kSegmentBodyBytesMax ||
      (segment.kind == SegmentKind::kOpening && size != kSegmentHeadBytes + kOpeningBodyBytes)) {
    ++counters_.dropped;
    return;
  }
  const auto payload = segment.payload.Expose(SecretAccess::ForCrypto());
  const auto body = payload.subspan(kSegmentHeadBytes);
  const ByteWriter layout = CheckLayoutOf(segment, static_cast<uint32_t>(body.size()));
  const Tag check =
      OneTimeTag(payload.subspan(0, 16), payload.subspan(16, 16), layout.bytes(), body);
  if (!EqualConstantTime(check, segment.check)) {
    ++counters_.failed_checks;
    return;
  }
  if (segment.kind == SegmentKind::kOpening) {
    OnOpening(std::move(segment), out);
  } else {
    OnBody(std::move(segment), out);
  }
}

void StreamDestination::OnOpening(Segment segment, StreamOutbox& out) {
  const auto payload = segment.payload.Expose(SecretAccess::ForCrypto());
  const auto r = payload.subspan(0, 16);
  const auto answer_key = payload.subspan(32, 16);
  const uint64_t number = segment.at.epoch;
  OpeningAnswer answer{.stream = stream_, .epoch = number, .source = segment.session.first};
  if (number <= top_epoch_) {
    answer.highest_epoch = top_epoch_;
  } else {
    for (auto it = units_.begin(); it != units_.end();) {
      const bool keep = it->second.leased && it->first.epoch + 1 >= number;
      it = keep ? std::next(it) : Drop(it, /*burnt=*/true, out);
    }
    out.Write(EpochRecord{stream_, false, number,
                          segment.payload.Slice(kSegmentHeadBytes, kOpeningBodyBytes)});
    AddEpoch(number, segment.payload.Slice(kSegmentHeadBytes, kOpeningBodyBytes));
    while (epochs_.size() > 2) {
      out.Write(EpochRecord{stream_, false, epochs_.begin()->first, std::nullopt});
      epochs_.erase(epochs_.begin());
    }
    top_epoch_ = number;
    mark_ = {number, 0};
    top_ = {number, 0};
    Persist(out);
    answer.accepted = true;
    answer.highest_epoch = number;
  }
  answer.destination = own_;
  answer.version = version_;
  answer.tag = OneTimeTag(r, answer_key, LayoutOf(answer).bytes());
  version_told_ = version_;
  out.Send(stream_.source, answer, last_write_);
}

void StreamDestination::OnBody(Segment segment, StreamOutbox& out) {
  const uint32_t length = static_cast<uint32_t>(segment.payload.size() - kSegmentHeadBytes);
  const StreamAddress at = segment.at;
  const StreamAddress end = {at.epoch, at.offset + length};
  const bool mine = peer_.known() && segment.session == Session{peer_, own_};
  auto next = units_.lower_bound(at);
  bool overlaps = next != units_.end() && next->first < end;
  if (next != units_.begin()) {
    const auto before = std::prev(next);
    overlaps |=
        before->first.epoch == at.epoch && before->first.offset + before->second.length > at.offset;
  }
  if (!mine || at < mark_ || at.offset % kWordBytes != 0 || length % kWordBytes != 0 || overlaps ||
      !epochs_.contains(at.epoch) || at.epoch != top_epoch_ || units_.size() >= config_.units_max ||
      end.offset >= (uint64_t{1} << 44)) {
    ++counters_.dropped;
    return;
  }
  ++counters_.segments;
  Unit unit;
  unit.length = length;
  unit.body = segment.payload.Slice(kSegmentHeadBytes, length);
  unit.used.assign((length / kWordBytes + 7) / 8, 0);
  out.Write(UnitBodyRecord{stream_, at, unit.body.Duplicate(SecretAccess::ForDelivery())});
  WriteState(at, unit, out);
  units_.emplace(at, std::move(unit));
  top_ = std::max(top_, end);
  const WriteSeq after = Persist(out);
  const auto payload = segment.payload.Expose(SecretAccess::ForCrypto());
  SegmentAck ack{.stream = stream_,
                 .session = segment.session,
                 .at = at,
                 .length_bytes = length,
                 .version = version_};
  ack.tag = OneTimeTag(payload.subspan(0, 16), payload.subspan(32, 16), LayoutOf(ack).bytes());
  version_told_ = version_;
  out.Send(stream_.source, ack, after);
}

void StreamDestination::OnMessage(Instant now, const StreamMessage& message, StreamOutbox& out) {
  std::visit(Overload{
                 [&](const SourceHello& m) { On(now, m, out); },
                 [&](const StreamLeaseRequest& m) { On(now, m, out); },
                 [&](const SupplyNotice& m) { On(now, m, out); },
                 [&](const SupplyCancel& m) { On(m, out); },
                 [](const auto&) {},
             },
             message);
}

void StreamDestination::SayHello(uint64_t epoch, Incarnation echo, StreamOutbox& out) {
  DestinationHello hello{.stream = stream_,
                         .epoch = epoch,
                         .destination = own_,
                         .echo = echo,
                         .mark = mark_,
                         .top = std::max(top_, mark_),
                         .version = version_,
                         .heard = peer_.known() && peer_ == echo};
  hello.mac = HmacSha256(epochs_.at(epoch).stream_key, LayoutOf(hello).bytes());
  version_told_ = version_;
  out.Send(stream_.source, hello, last_write_);
}

void StreamDestination::On(Instant now, const SourceHello& m, StreamOutbox& out) {
  // Under the same number a restored source may have another key.
  if (!epochs_.contains(m.epoch) || !CheckMac(m.epoch, LayoutOf(m), m.mac)) {
    out.Send(stream_.source, LacksKey{stream_, m.epoch, m.source}, last_write_);
    return;
  }
  if (m.echo != own_) {
    SayHello(m.epoch, m.source, out);
    return;
  }
  if (m.version_seen > version_) {
    // This end was further once than it remembers: an old image.
    version_ = m.version_seen;
    mark_ = std::max(mark_, m.mark);
    top_epoch_ = std::max(top_epoch_, m.epoch);
    peer_ = m.source;
    BurnAll(out);
    out.RollbackFound();
    return;
  }
  bool changed = !peer_.known();
  if (peer_ != m.source) {
    peer_ = m.source;
    lease_number_ = 0;
    lease_answer_.reset();
    cancelled_.clear();
    supplies_.OnNewSession();
  }
  if (mark_ < m.mark) {
    mark_ = m.mark;
    changed = true;
    for (auto it = units_.begin(); it != units_.end();) {
      const bool drop = !it->second.leased && it->first < mark_;
      it = drop ? Drop(it, /*burnt=*/true, out) : std::next(it);
    }
  }
  if (changed) Persist(out);
  next_hello_.reset();
  if (!next_report_) next_report_ = now + config_.report_interval;
  // The source wants to know that it was heard; it answers only while it is not.
  SayHello(m.epoch, m.source, out);
}

void StreamDestination::On(Instant now, const StreamLeaseRequest& m, StreamOutbox& out) {
  if (!peer_.known() || m.session != Session{peer_, own_}) return;
  if (!CheckMac(m.epoch, LayoutOf(m), m.mac)) return;
  if (lease_answer_ && m.number == lease_number_) {
    out.Send(stream_.source, *lease_answer_, last_write_);
    return;
  }
  if (m.number < lease_number_ || m.ranges.empty() || m.life <= Duration{}) return;
  uint64_t below = 0;
  for (const Range& range : m.ranges) {
    if (range.begin < below || range.end <= range.begin) return;
    below = range.end;
  }
  StreamLeaseAnswer answer{.stream = stream_, .session = m.session, .number = m.number};
  if (StreamAddress{m.epoch, m.ranges.front().begin} < mark_) {
    answer.refused = true;
  } else {
    const Duration life = m.life + config_.fetch_life;
    const StreamAddress end = {m.epoch, m.ranges.back().end};
    for (const Range& range : m.ranges) {
      uint64_t at = range.begin;
      auto it = units_.lower_bound({m.epoch, range.begin});
      while (it != units_.end() && it->first.epoch == m.epoch && it->first.offset < range.end) {
        const uint64_t begin = it->first.offset;
        Unit& unit = it->second;
        if (begin > at) answer.lacking.push_back({at, begin});
        if (unit.leased || begin + unit.length > range.end) {
          answer.lacking.push_back({begin, std::min(range.end, begin + unit.length)});
        } else {
          unit.leased = true;
          unit.life_left = life;
          unit.burn_at = now + life;
          WriteState(it->first, unit, out);
        }
        at = std::min(range.end, begin + unit.length);
        ++it;
      }
      if (at < range.end) answer.lacking.push_back({at, range.end});
    }
    for (auto it = units_.begin(); it != units_.end() && it->first < end;) {
      it = it->second.leased ? std::next(it) : Drop(it, /*burnt=*/true, out);
    }
    mark_ = std::max(mark_, end);
    Persist(out);
  }
  answer.mark = mark_;
  answer.version = version_;
  answer.mac = HmacSha256(epochs_.at(m.epoch).stream_key, LayoutOf(answer).bytes());
  lease_number_ = m.number;
  lease_answer_ = answer;
  version_told_ = version_;
  out.Send(stream_.source, answer, last_write_);
}

void StreamDestination::BurnAll(StreamOutbox& out) {
  for (auto it = units_.begin(); it != units_.end();) it = Drop(it, /*burnt=*/true, out);
  supplies_.DropAll(out);
  for (const auto& [number, epoch] : epochs_) {
    out.Write(EpochRecord{stream_, false, number, std::nullopt});
  }
  epochs_.clear();
  Persist(out);
  const Incarnation source = std::exchange(peer_, {});
  own_.random = out.Random();  // Ends the session.
  lease_answer_.reset();
  lease_number_ = 0;
  next_hello_.reset();
  next_report_.reset();
  if (source.known()) {
    out.Send(stream_.source, LacksKey{stream_, top_epoch_, source}, last_write_);
  }
}

void StreamDestination::BurnOpenLeases(StreamOutbox& out) {
  for (auto it = units_.begin(); it != units_.end();) {
    it = it->second.leased ? Drop(it, /*burnt=*/true, out) : std::next(it);
  }
  supplies_.DropAll(out);
}

void StreamDestination::OnTick(Instant now, StreamOutbox& out) {
  if (!started_) {
    started_ = true;
    for (auto& [at, unit] : units_) {
      if (unit.leased) unit.burn_at = now + unit.life_left;
    }
    supplies_.Start(now);
    // A pool that is full says nothing: this end asks to be heard.
    if (!epochs_.empty()) next_hello_ = now;
  }
  if (!TimerDue(now)) return;
  bool dropped = supplies_.DropExpired(now, out);
  for (auto it = units_.begin(); it != units_.end();) {
    const bool expired = it->second.burn_at && *it->second.burn_at <= now;
    dropped |= expired;
    it = expired ? Drop(it, /*burnt=*/true, out) : std::next(it);
  }
  if (dropped) Persist(out);
  if (next_hello_ && *next_hello_ <= now) {
    next_hello_.reset();
    if (!peer_.known() && !epochs_.empty()) {
      SayHello(epochs_.rbegin()->first, Incarnation{}, out);
      next_hello_ = now + config_.retry;
    }
  }
  if (next_report_ && *next_report_ <= now) {
    next_report_ = now + config_.report_interval;
    if (peer_.known() && version_ > version_told_ && !epochs_.empty()) {
      VersionReport report{.stream = stream_, .session = {peer_, own_}, .version = version_};
      report.mac = HmacSha256(epochs_.rbegin()->second.stream_key, LayoutOf(report).bytes());
      version_told_ = version_;
      out.Send(stream_.source, report, last_write_);
    }
  }
}

bool StreamDestination::TimerDue(Instant now) const {
  const auto next = NextDeadline();
  return next && *next <= now;
}

std::optional<Instant> StreamDestination::NextDeadline() const {
  if (!started_) return Instant{0};
  std::optional<Instant> next = next_hello_;
  const auto take = [&](std::optional<Instant> t) {
    if (t && (!next || *t < *next)) next = t;
  };
  if (version_ > version_told_) take(next_report_);
  // Lives end in order of lease, almost: the first unit's is a good enough alarm, and every tick
  // looks at all.
  if (!units_.empty()) take(units_.begin()->second.burn_at);
  take(supplies_.NextExpiry());
  return next;
}

}  // namespace keyhop
