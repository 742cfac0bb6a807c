// Supply notices at their source (DESIGN §6; rules as in tests/model/notices.py): said again with
// the same bytes until answered; given up by a cancel, after which no answer counts.
#include <algorithm>
#include <utility>

#include "kms/base/check.h"
#include "kms/core/stream/layout.h"
#include "kms/core/stream/source.h"
#include "kms/core/stream/word.h"
#include "kms/crypto/mac.h"

namespace keyhop {
namespace {

// Then the notice is left to its age at the destination, if it came there at all.
constexpr int kCancelsMax = 10;

}  // namespace

bool StreamSource::CanSupply(Instant now, const std::vector<uint32_t>& lengths_bytes) const {
  if (!session_open() || !heard_us_) return false;
  if (supplies_.size() >= config_.supplies_under_way_max) return false;
  return runs_.HoldsEach(now, lengths_bytes);
}

StreamSource::Draft StreamSource::DrawForSupply(Instant now,
                                                const std::vector<uint32_t>& lengths_bytes) {
  AskIfSilent(now);
  return runs_.TakeEach(now, lengths_bytes);
}

uint64_t StreamSource::SendSupply(Instant now, const Supply& supply, WriteSeq after,
                                  StreamOutbox& out) {
  KEYHOP_CHECK(supply.leased.size() == supply.keys.size() + 1, "a head and bytes for each key");
  const Drawn& head = supply.leased.front();
  SupplyNotice notice{.stream = stream_,
                      .session = session(),
                      .number = ++supply_number_,
                      .epoch = head.epoch,
                      .master = supply.master,
                      .slaves = supply.slaves,
                      .life = supply.life,
                      .head = {head.epoch, head.offset}};
  const size_t length = supply.keys.front().second->size();
  notice.length_bytes = static_cast<uint32_t>(length);
  SecretBytes all(length * supply.keys.size());
  const auto clear = all.ExposeMutable(SecretAccess::ForDelivery());
  notice.ciphertext.resize(all.size());
  for (size_t i = 0; i < supply.keys.size(); ++i) {
    const auto& [id, key] = supply.keys[i];
    const Drawn& hidden_by = supply.leased[i + 1];
    KEYHOP_CHECK(key->size() == length && hidden_by.key.size() == length, "one length for all");
    notice.items.push_back({id, {hidden_by.epoch, hidden_by.offset}});
    const auto pad = hidden_by.key.Expose(SecretAccess::ForDelivery());
    const auto bytes = key->Expose(SecretAccess::ForDelivery());
    for (size_t k = 0; k < length; ++k) {
      clear[i * length + k] = bytes[k];
      notice.ciphertext[i * length + k] = bytes[k] ^ pad[k];
    }
  }
  const auto rs = head.key.Expose(SecretAccess::ForCrypto());
  notice.tag =
      OneTimeTag(rs.subspan(0, 16), rs.subspan(16, 16), TagLayoutOf(notice).bytes(), clear);
  notice.mac = HmacSha256(epochs_.at(notice.epoch).stream_key, LayoutOf(notice).bytes());
  const uint64_t number = notice.number;
  const auto it =
      supplies_.emplace(number, SupplyUnderWay{.notice = std::move(notice), .after = after}).first;
  SaySupply(now, it->second, out);
  return number;
}

void StreamSource::SaySupply(Instant now, SupplyUnderWay& supply, StreamOutbox& out) {
  supply.retry_at = now + config_.retry * (1 + std::min(supply.tries, 8));
  ++supply.tries;
  if (supply.phase == SupplyPhase::kAsked) {
    out.Send(stream_.destination, supply.notice, supply.after);
    return;
  }
  const auto epoch = epochs_.find(supply.notice.epoch);
  if (epoch == epochs_.end()) return;
  SupplyCancel cancel{.stream = stream_,
                      .session = supply.notice.session,
                      .number = supply.notice.number,
                      .epoch = supply.notice.epoch};
  cancel.mac = HmacSha256(epoch->second.stream_key, LayoutOf(cancel).bytes());
  out.Send(stream_.destination, cancel, supply.after);
}

void StreamSource::CancelSupply(Instant now, uint64_t number, StreamOutbox& out) {
  const auto it = supplies_.find(number);
  if (it == supplies_.end()) return;
  SupplyUnderWay& supply = it->second;
  supply.phase = SupplyPhase::kCancelling;
  supply.tries = 0;
  supply.notice.ciphertext.clear();
  supply.notice.items.clear();
  SaySupply(now, supply, out);
}

void StreamSource::RepeatSupplies(Instant now, StreamOutbox& out) {
  for (auto it = supplies_.begin(); it != supplies_.end();) {
    SupplyUnderWay& supply = it->second;
    const bool over = supply.phase == SupplyPhase::kCancelling && supply.tries >= kCancelsMax;
    if (supply.retry_at && *supply.retry_at <= now) {
      if (over) {
        it = supplies_.erase(it);
        continue;
      }
      SaySupply(now, supply, out);
    }
    ++it;
  }
}

void StreamSource::On(Instant now, const SupplyAnswer& m, StreamOutbox& out) {
  if (!peer_.known() || m.session != session()) return;
  const auto it = supplies_.find(m.number);
  if (it == supplies_.end() || !CheckMac(it->second.notice.epoch, LayoutOf(m), m.mac)) return;
  SupplyUnderWay& supply = it->second;
  if (NoteVersion(now, m.version)) Persist(out);
  if (supply.phase == SupplyPhase::kCancelling) {
    if (m.outcome == SupplyOutcome::kCancelled) supplies_.erase(it);
    return;
  }
  if (supply.phase != SupplyPhase::kAsked || m.outcome == SupplyOutcome::kCancelled) return;
  supply.phase = SupplyPhase::kAnswered;
  supply.retry_at.reset();
  supply_results_.push_back({m.number, m.outcome == SupplyOutcome::kStands, last_write_});
}

}  // namespace keyhop
