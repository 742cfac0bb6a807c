#include "kms/core/stream/source.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "kms/core/stream/layout.h"
#include "kms/core/stream/word.h"
#include "kms/crypto/mac.h"

namespace keyhop {
namespace {

constexpr size_t kRunsMax = 1024;
constexpr uint64_t kTopUpPart = 8;  // A pool that lacks less than such a part is full enough.
constexpr size_t kRangesMax = 64;
// Ends of runs too short for the usual key are kept for shorter ones, as such a part of the target.
constexpr uint64_t kEndBytes = 32;
constexpr uint64_t kEndsPart = 8;
constexpr uint64_t kOffsetsMax = (uint64_t{1} << 44) - (uint64_t{1} << 32);

constexpr Duration kPatienceMax = Duration::Seconds(60);

}  // namespace

StreamSource::StreamSource(StreamConfig config, StreamId stream, Incarnation own,
                           std::vector<StreamRecord> recovered)
    : config_(config), stream_(std::move(stream)), own_(own), patience_(config.segment_timeout) {
  for (StreamRecord& record : recovered) {
    std::visit(Overload{
                   [&](SourceRecord& r) {
                     top_epoch_ = r.top_epoch;
                     reserved_ = r.reserved;
                     next_ = r.reserved;  // Anything below may have been sent.
                     mark_ = r.mark;
                     version_seen_ = r.version_seen;
                   },
                   [&](EpochRecord& r) {
                     if (!r.keys || r.keys->size() != kOpeningBodyBytes) return;
                     epochs_[r.number] = Epoch{r.keys->Slice(0, 32), r.keys->Slice(32, 32)};
                   },
                   [&](SourceSegmentRecord& r) {
                     if (!r.body) return;
                     stock_bytes_ += r.body->size();
                     stock_[r.at] = std::move(*r.body);
                   },
                   [](auto&) {},
               },
               record);
  }
  want_epoch_ = epochs_.empty();
  if (!want_epoch_) next_hello_ = Instant{0};
}

const SecretBytes& StreamSource::IdKey(uint64_t epoch) const {
  const auto it = epochs_.find(epoch);
  KEYHOP_CHECK(it != epochs_.end(), "runs only live as long as their epoch");
  return it->second.id_key;
}

SourceLevels StreamSource::Levels() const {
  return {.session_open = session_open(),
          .epoch = epochs_.empty() ? 0 : epochs_.rbegin()->first,
          .open_bytes = runs_.bytes(),
          .stock_bytes = stock_bytes_ + (pending_ ? pending_->bytes : 0),
          .in_flight_bytes = in_flight_bytes_,
          .in_flight_segments = static_cast<uint32_t>(in_flight_.size())};
}

WriteSeq StreamSource::Persist(StreamOutbox& out) {
  last_write_ = out.Write(SourceRecord{stream_, top_epoch_, reserved_, mark_, version_seen_});
  return last_write_;
}

std::optional<StreamSource::Wish> StreamSource::NextSegment(Instant now,
                                                            const StreamDemand& target) const {
  if (opening_) return std::nullopt;
  if (want_epoch_) {
    if (now < next_epoch_at_) return std::nullopt;
    return Wish{SegmentKind::kOpening, kOpeningBodyBytes};
  }
  if (!session_open() || !heard_us_) return std::nullopt;
  if (in_flight_.size() >= config_.segments_in_flight_max) return std::nullopt;
  const SourceLevels levels = Levels();
  const uint64_t have = UsableBytes(target.key_bytes) + levels.stock_bytes + levels.in_flight_bytes;
  if (have >= target.bytes) return std::nullopt;
  const uint64_t lacking = RoundUpToWord(target.bytes - have);
  // Small crumbs would pay 64 bytes of pad each, and two commits at either end: a pool that is
  // nearly full is topped up in whole segments, once several are due, which then share those.
  const uint64_t part = target.bytes / kTopUpPart;
  if (lacking < std::min<uint64_t>(config_.segment_body_bytes, part)) return std::nullopt;
  const uint64_t several = uint64_t{config_.segments_in_flight_max} * config_.segment_body_bytes;
  if (in_flight_.empty() && lacking < std::min(several, part)) return std::nullopt;
  const uint64_t least = std::min<uint64_t>(config_.segment_body_bytes, 1024);
  const uint64_t bytes =
      std::clamp<uint64_t>(lacking, least, config_.segment_body_bytes) / kWordBytes * kWordBytes;
  return Wish{SegmentKind::kBody, static_cast<uint32_t>(bytes)};
}

StreamSource::Launched StreamSource::Launch(Instant now, const Wish& wish, std::vector<NodeId> path,
                                            SecretBytes payload, StreamOutbox& out) {
  KEYHOP_CHECK(payload.size() == kSegmentHeadBytes + wish.body_bytes, "payload as wished");
  Launched launched;
  Segment& segment = launched.segment;
  segment.stream = stream_;
  segment.kind = wish.kind;
  segment.path = std::move(path);
  if (wish.kind == SegmentKind::kOpening) {
    const uint64_t number = ++top_epoch_;
    SecretBytes keys = payload.Slice(kSegmentHeadBytes, kOpeningBodyBytes);
    epochs_[number] = Epoch{keys.Slice(0, 32), keys.Slice(32, 32)};
    out.Write(EpochRecord{stream_, true, number, std::move(keys)});
    while (epochs_.size() > 2) {
      const uint64_t old = epochs_.begin()->first;
      out.Write(EpochRecord{stream_, true, old, std::nullopt});
      epochs_.erase(epochs_.begin());
      counters_.burnt_bytes += runs_.BurnEpochsUpTo(old);
      // No answer could be believed any more, and the next lease would wait for it.
      if (pending_ && pending_->request.epoch <= old) {
        counters_.burnt_bytes += pending_->bytes;
        pending_.reset();
      }
    }
    DropStock(out);
    next_ = reserved_ = {number, 0};
    mark_ = std::max(mark_, next_);
    segment.session = {own_, {}};
    segment.at = next_;
    want_epoch_ = false;
    epoch_ready_ = false;
    heard_us_ = false;
    opening_ = segment.at;
    ++generation_;
    next_epoch_at_ = now + epoch_backoff_;
    epoch_backoff_ = std::min(epoch_backoff_ * 2, config_.epoch_interval_min);
    ++counters_.epochs_opened;
    launched.after = Persist(out);
  } else {
    segment.session = session();
    segment.at = next_;
    next_.offset += wish.body_bytes;
    if (reserved_ < next_) {
      reserved_ = {next_.epoch, next_.offset + config_.reserve_bytes};
      Persist(out);
    }
    in_flight_bytes_ += wish.body_bytes;
    launched.after = last_write_;
  }
  auto bytes = payload.Expose(SecretAccess::ForCrypto());
  const ByteWriter layout = CheckLayoutOf(segment, wish.body_bytes);
  segment.check = OneTimeTag(bytes.subspan(0, 16), bytes.subspan(16, 16), layout.bytes(),
                             bytes.subspan(kSegmentHeadBytes));
  payload.Erase(16, 16);  // s is spent; r and s' wait for the acknowledgement.
  in_flight_[segment.at] = InFlight{std::move(payload), now, now + patience_};
  return launched;
}

void StreamSource::OnRefused(Instant now, StreamAddress at, bool waited) {
  if (waited) patience_ = std::min(patience_ * 2, kPatienceMax);
  Burn(now, at);
}

void StreamSource::OnPathBroken(Instant now, StreamAddress at) {
  if (opening_ == at) {
    epoch_backoff_ = kEpochBackoffMin;
    next_epoch_at_ = std::min(next_epoch_at_, now + epoch_backoff_);
  }
  Burn(now, at);
}

void StreamSource::Burn(Instant now, StreamAddress at) {
  const auto it = in_flight_.find(at);
  if (it == in_flight_.end()) return;
  if (opening_ == at) {
    opening_.reset();
    next_hello_ = now;  // Perhaps it arrived all the same: the destination will say.
  } else {
    const uint64_t bytes = it->second.payload.size() - kSegmentHeadBytes;
    in_flight_bytes_ -= bytes;
    counters_.burnt_bytes += bytes;
  }
  in_flight_.erase(it);
}

void StreamSource::OnMessage(Instant now, const StreamMessage& message, StreamOutbox& out) {
  std::visit(Overload{
                 [&](const LacksKey& m) { On(now, m, out); },
                 [&](const DestinationHello& m) { On(now, m, out); },
                 [&](const OpeningAnswer& m) { On(now, m, out); },
                 [&](const SegmentAck& m) { On(now, m, out); },
                 [&](const StreamLeaseAnswer& m) { On(now, m, out); },
                 [&](const VersionReport& m) { On(now, m, out); },
                 [&](const SupplyAnswer& m) { On(now, m, out); },
                 [](const auto&) {},
             },
             message);
}

void StreamSource::RaiseMark(StreamAddress mark, StreamOutbox& out) {
  mark_ = std::max(mark_, mark);
  for (auto it = stock_.begin(); it != stock_.end() && it->first < mark_;) {
    out.Write(SourceSegmentRecord{stream_, it->first, std::nullopt});
    stock_bytes_ -= it->second.size();
    counters_.burnt_bytes += it->second.size();
    it = stock_.erase(it);
  }
}

void StreamSource::DropStock(StreamOutbox& out) {
  for (const auto& [at, body] : stock_) {
    out.Write(SourceSegmentRecord{stream_, at, std::nullopt});
    counters_.burnt_bytes += body.size();
  }
  stock_.clear();
  stock_bytes_ = 0;
}

void StreamSource::On(Instant now, const SegmentAck& m, StreamOutbox& out) {
  if (!session_open() || m.session != session()) return;
  const auto it = in_flight_.find(m.at);
  if (it == in_flight_.end() || opening_ == m.at) return;
  const auto payload = it->second.payload.Expose(SecretAccess::ForCrypto());
  const Tag tag = OneTimeTag(payload.subspan(0, 16), payload.subspan(32, 16), LayoutOf(m).bytes());
  if (!EqualConstantTime(tag, m.tag) || m.length_bytes != payload.size() - kSegmentHeadBytes) {
    ++counters_.bad_macs;
    return;
  }
  OnHeard(now);
  patience_ = std::max({config_.segment_timeout, patience_ * 7 / 8, (now - it->second.sent) * 4});
  patience_ = std::min(patience_, kPatienceMax);
  in_flight_bytes_ -= m.length_bytes;
  SecretBytes body = it->second.payload.Slice(kSegmentHeadBytes, m.length_bytes);
  in_flight_.erase(it);
  NoteVersion(now, m.version);
  if (m.at < mark_) {
    counters_.burnt_bytes += m.length_bytes;  // Came too late: passed over already.
  } else {
    out.Write(SourceSegmentRecord{stream_, m.at, body.Duplicate(SecretAccess::ForDelivery())});
    stock_bytes_ += m.length_bytes;
    counters_.acknowledged_bytes += m.length_bytes;
    stock_[m.at] = std::move(body);
  }
  Persist(out);
}

void StreamSource::MaybeLease(Instant now, const StreamDemand& target, StreamOutbox& out) {
  if (pending_ || stock_.empty() || !session_open() || !heard_us_) return;
  // Half of the target is leased ahead; the rest stays in stock, which a restart does not burn.
  const uint64_t usable = UsableBytes(target.key_bytes);
  if (usable > 0 && usable >= (target.bytes + 1) / 2) return;
  const bool little = stock_bytes_ < config_.lease_bytes_min;
  if (little && usable > 0 && in_flight_bytes_ > 0) return;
  counters_.burnt_bytes +=
      runs_.BurnShort(std::min(target.key_bytes, kEndBytes), target.bytes / kEndsPart);
  if (runs_.size() >= kRunsMax) counters_.burnt_bytes += runs_.BurnShort(target.key_bytes, 0);
  if (runs_.size() >= kRunsMax) return;
  PendingLease lease;
  lease.request.stream = stream_;
  lease.request.session = session();
  lease.request.number = ++lease_number_;
  lease.request.epoch = stock_.begin()->first.epoch;
  lease.request.life = config_.lease_life;
  std::vector<Range>& ranges = lease.request.ranges;
  StreamAddress end = mark_;
  while (!stock_.empty() && lease.bytes < config_.lease_bytes_max) {
    auto first = stock_.begin();
    const StreamAddress at = first->first;
    const uint64_t size = first->second.size();
    if (at.epoch != lease.request.epoch) break;
    const bool touches = !ranges.empty() && ranges.back().end == at.offset;
    if (!touches && ranges.size() >= kRangesMax) break;
    if (touches) {
      ranges.back().end += size;
    } else {
      ranges.push_back({at.offset, at.offset + size});
    }
    end = {at.epoch, at.offset + size};
    lease.bytes += size;
    stock_bytes_ -= size;
    out.Write(SourceSegmentRecord{stream_, at, std::nullopt});
    lease.bodies.emplace(at.offset, std::move(first->second));
    stock_.erase(first);
  }
  mark_ = std::max(mark_, end);
  lease.after = Persist(out);
  lease.asked = now;
  lease.retry_at = now + config_.retry;
  lease.request.mac =
      HmacSha256(epochs_.at(lease.request.epoch).stream_key, LayoutOf(lease.request).bytes());
  out.Send(stream_.destination, lease.request, lease.after);
  pending_ = std::move(lease);
}

void StreamSource::On(Instant now, const StreamLeaseAnswer& m, StreamOutbox& out) {
  if (!pending_ || m.session != session() || m.number != pending_->request.number) return;
  if (!CheckMac(pending_->request.epoch, LayoutOf(m), m.mac)) return;
  PendingLease lease = *std::exchange(pending_, std::nullopt);
  NoteVersion(now, m.version);
  if (m.refused) {
    counters_.burnt_bytes += lease.bytes;
    if (m.mark.epoch == lease.request.epoch) {
      RaiseMark(m.mark, out);
      next_ = std::max(next_, mark_);
      reserved_ = std::max(reserved_, next_);
    }
    Persist(out);
    return;
  }
  const WriteSeq after = Persist(out);
  Grant(std::move(lease), m.lacking, after);
}

void StreamSource::Grant(PendingLease lease, const std::vector<Range>& lacking, WriteSeq after) {
  const Instant ends = lease.asked + lease.request.life;
  if (!epochs_.contains(lease.request.epoch)) {
    counters_.burnt_bytes += lease.bytes;
    return;
  }
  for (auto& item : lease.bodies) {
    const uint64_t offset = item.first;
    SecretBytes& body = item.second;
    const uint64_t end = offset + body.size();
    const bool lacks = std::any_of(lacking.begin(), lacking.end(),
                                   [&](const Range& r) { return r.begin < end && offset < r.end; });
    if (lacks) {
      counters_.burnt_bytes += body.size();
    } else {
      runs_.Add(lease.request.epoch, offset, std::move(body), ends, after);
    }
  }
}

uint64_t StreamSource::Drawable(Instant now, uint32_t length_bytes) const {
  return peer_.known() ? runs_.Drawable(now, length_bytes) : 0;
}

absl::StatusOr<StreamSource::Draft> StreamSource::Draw(Instant now, uint64_t number,
                                                       uint32_t length_bytes) {
  AskIfSilent(now);
  std::optional<Draft> draft;
  if (peer_.known()) draft = runs_.Take(now, number, length_bytes);
  if (!draft) return absl::UnavailableError("not enough key at hand");
  return *std::move(draft);
}

void StreamSource::OnTick(Instant now, const StreamDemand& target, StreamOutbox& out) {
  std::vector<StreamAddress> late;
  for (const auto& [at, flight] : in_flight_) {
    if (flight.deadline <= now) late.push_back(at);
  }
  for (const StreamAddress& at : late) Burn(now, at);
  if (!late.empty()) patience_ = std::min(patience_ * 2, kPatienceMax);
  // A destination that lets segments time out may have started anew.
  if (!late.empty() && session_open() && !next_hello_) next_hello_ = now;

  counters_.burnt_bytes += runs_.BurnExpired(now);
  if (next_.offset >= kOffsetsMax && !want_epoch_ && !opening_) WantEpoch(now);
  if (!want_epoch_ && !opening_ && next_hello_ && *next_hello_ <= now && !epochs_.empty()) {
    SayHello(now, epoch_ready_ ? peer_ : Incarnation{}, out);
    // A session that was open needs one good answer; asking afresh finds a new incarnation.
    if (heard_us_) next_hello_.reset();
  }
  if (pending_ && pending_->retry_at <= now) {
    pending_->retry_at = now + config_.retry * (1 + std::min(pending_->tries, 8));
    ++pending_->tries;
    out.Send(stream_.destination, pending_->request, pending_->after);
    if (!want_epoch_ && !opening_) SayHello(now, peer_, out);
    if (heard_us_) next_hello_.reset();
  }
  RepeatSupplies(now, out);
  MaybeLease(now, target, out);
}

std::optional<Instant> StreamSource::NextDeadline() const {
  std::optional<Instant> next;
  const auto take = [&](Instant t) {
    if (!next || t < *next) next = t;
  };
  if (!want_epoch_ && !opening_ && next_hello_) take(*next_hello_);
  if (want_epoch_ && !opening_) take(next_epoch_at_);
  if (pending_) take(pending_->retry_at);
  for (const auto& [at, flight] : in_flight_) take(flight.deadline);
  for (const auto& [number, supply] : supplies_) {
    if (supply.retry_at) take(*supply.retry_at);
  }
  if (const auto ends = runs_.FirstEnd()) take(*ends);
  return next;
}

}  // namespace keyhop
