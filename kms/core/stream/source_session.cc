// The source's session with its destination: epochs, hellos, who was heard (DESIGN §3, §6).
#include <algorithm>
#include <utility>

#include "kms/base/check.h"
#include "kms/core/stream/layout.h"
#include "kms/core/stream/source.h"
#include "kms/crypto/mac.h"

namespace keyhop {

void StreamSource::WantEpoch(Instant now) {
  want_epoch_ = true;
  epoch_ready_ = false;
  heard_us_ = false;
  next_hello_.reset();
  next_epoch_at_ = std::max(next_epoch_at_, now);
}

void StreamSource::On(Instant now, const LacksKey& m, StreamOutbox&) {
  if (epochs_.empty() || opening_ || m.epoch != epochs_.rbegin()->first || m.source != own_) {
    return;
  }
  WantEpoch(now);
}

void StreamSource::OpenSession(Incarnation destination) {
  peer_ = destination;
  heard_us_ = false;
  std::erase_if(in_flight_, [&](const auto& item) {
    if (opening_ == item.first) return false;
    counters_.burnt_bytes += item.second.payload.size() - kSegmentHeadBytes;
    return true;
  });
  in_flight_bytes_ = 0;
  counters_.burnt_bytes += runs_.BurnAll() + (pending_ ? pending_->bytes : 0);
  pending_.reset();
  ++generation_;
  for (const auto& [number, supply] : supplies_) {
    if (supply.phase == SupplyPhase::kAsked) supply_results_.push_back({number, false, 0});
  }
  supplies_.clear();  // Nothing that is said in the old session is heard any more.
}

void StreamSource::HearDestination(Instant now, Incarnation destination, StreamAddress mark,
                                   StreamAddress top, uint64_t version, StreamOutbox& out) {
  const uint64_t newest = epochs_.rbegin()->first;
  if (peer_ != destination) OpenSession(destination);
  NoteVersion(now, version);
  if (mark.epoch > newest) {
    // It has a newer epoch, whose key this end lost: it was restored.
    top_epoch_ = std::max(top_epoch_, mark.epoch);
    RaiseMark(mark, out);
    Persist(out);
    WantEpoch(now);
    return;
  }
  epoch_ready_ = true;
  RaiseMark(mark, out);
  next_ = std::max({next_, mark_, top});
  reserved_ = std::max(reserved_, next_);
  Persist(out);
}

void StreamSource::On(Instant now, const DestinationHello& m, StreamOutbox& out) {
  if (epochs_.empty() || m.epoch != epochs_.rbegin()->first || want_epoch_) return;
  if (!CheckMac(m.epoch, LayoutOf(m), m.mac)) return;
  if (m.echo != own_) {
    // It asks to be heard; only an answer that echoes this start is fresh.
    if (!heard_us_ || peer_ != m.destination) SayHello(now, Incarnation{}, out);
    return;
  }
  if (opening_) {
    in_flight_.erase(*opening_);
    opening_.reset();
  }
  const bool news = peer_ != m.destination || !epoch_ready_ || mark_ < m.mark;
  const bool later = NoteVersion(now, m.version);
  if (news) {
    HearDestination(now, m.destination, m.mark, m.top, m.version, out);
    if (want_epoch_) return;
  } else if (later) {
    Persist(out);
  }
  if (m.heard) {
    OnHeard(now);
    next_hello_.reset();
  } else {
    heard_us_ = false;
    SayHello(now, peer_, out);
  }
}

void StreamSource::On(Instant now, const OpeningAnswer& m, StreamOutbox& out) {
  if (!opening_ || m.epoch != opening_->epoch || m.source != own_) return;
  const auto flight = in_flight_.find(*opening_);
  const auto payload = flight->second.payload.Expose(SecretAccess::ForCrypto());
  const Tag tag = OneTimeTag(payload.subspan(0, 16), payload.subspan(32, 16), LayoutOf(m).bytes());
  if (!EqualConstantTime(tag, m.tag)) {
    ++counters_.bad_macs;
    return;
  }
  in_flight_.erase(flight);
  opening_.reset();
  if (!m.accepted) {
    top_epoch_ = std::max(top_epoch_, m.highest_epoch);
    Persist(out);
    WantEpoch(now);
    next_epoch_at_ = now;
    return;
  }
  HearDestination(now, m.destination, {m.epoch, 0}, {m.epoch, 0}, m.version, out);
  SayHello(now, peer_, out);
}

void StreamSource::On(Instant now, const VersionReport& m, StreamOutbox& out) {
  if (!peer_.known() || m.session != session() || m.version <= version_seen_) return;
  const ByteWriter layout = LayoutOf(m);
  for (const auto& [number, epoch] : epochs_) {
    if (EqualConstantTime(HmacSha256(epoch.stream_key, layout.bytes()), m.mac)) {
      NoteVersion(now, m.version);
      Persist(out);
      return;
    }
  }
  ++counters_.bad_macs;
}

void StreamSource::SayHello(Instant now, Incarnation echo, StreamOutbox& out) {
  const auto newest = epochs_.rbegin();
  SourceHello hello{.stream = stream_, .epoch = newest->first, .source = own_, .echo = echo};
  if (echo.known()) {
    hello.mark = mark_;
    hello.version_seen = version_seen_;
  }
  hello.mac = HmacSha256(newest->second.stream_key, LayoutOf(hello).bytes());
  next_hello_ = now + config_.retry;
  out.Send(stream_.destination, hello, last_write_);
}

void StreamSource::BurnAll(Instant now, StreamOutbox& out) {
  OpenSession(Incarnation{});
  DropStock(out);
  if (opening_) in_flight_.erase(*std::exchange(opening_, std::nullopt));
  Persist(out);
  WantEpoch(now);
  next_epoch_at_ = now;
}

bool StreamSource::CheckMac(uint64_t epoch, const ByteWriter& layout, const Mac& mac) {
  const auto it = epochs_.find(epoch);
  if (it != epochs_.end() &&
      EqualConstantTime(HmacSha256(it->second.stream_key, layout.bytes()), mac)) {
    return true;
  }
  ++counters_.bad_macs;
  return false;
}

std::optional<StreamSource::Voice> StreamSource::voice() const {
  if (!session_open() || !heard_us_ || epochs_.empty()) return std::nullopt;
  return Voice{session(), epochs_.rbegin()->first};
}

void StreamSource::OnHeard(Instant now) {
  if (std::exchange(heard_us_, true)) return;
  epoch_backoff_ = kEpochBackoffMin;
  next_epoch_at_ = now + config_.epoch_interval_min;
}

void StreamSource::AskIfSilent(Instant now) {
  if (next_hello_ || now - asked_or_heard_ < config_.silence_max) return;
  asked_or_heard_ = now;
  next_hello_ = now;
}

bool StreamSource::NoteVersion(Instant now, uint64_t version) {
  asked_or_heard_ = now;
  if (version <= version_seen_) return false;
  version_seen_ = version;
  return true;
}

}  // namespace keyhop
