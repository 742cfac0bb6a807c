// Supply notices at their destination (DESIGN §6; rules as in tests/model/notices.py): taken in the
// batch that consumes their leased bytes, so once; answered when that batch is durable.
#include <utility>

#include "kms/core/stream/destination.h"
#include "kms/core/stream/layout.h"
#include "kms/crypto/mac.h"

namespace keyhop {
namespace {

// Cancels that overtook their notices are remembered up to here.
constexpr size_t kCancelledMax = 256;

bool WellFormed(const SupplyNotice& m) {
  if (m.items.empty() || m.slaves.empty() || m.length_bytes == 0 || m.life <= Duration{}) {
    return false;
  }
  if (m.ciphertext.size() != m.items.size() * m.length_bytes) return false;
  std::set<KeyId> ids;
  for (const SupplyNotice::Item& item : m.items) ids.insert(item.id);
  return ids.size() == m.items.size();
}

}  // namespace

void StreamDestination::On(Instant now, const SupplyNotice& m, StreamOutbox& out) {
  if (!peer_.known() || m.session != Session{peer_, own_} || m.number == 0) return;
  if (!CheckMac(m.epoch, LayoutOf(m), m.mac)) return;
  if (cancelled_.contains(m.number) || !WellFormed(m)) return;
  const bool stands = TakeSupply(now, m, out);
  if (!stands) ++counters_.supplies_refused;
  AnswerSupply(m.number, m.epoch, stands ? SupplyOutcome::kStands : SupplyOutcome::kRefused, out);
}

bool StreamDestination::TakeSupply(Instant now, const SupplyNotice& m, StreamOutbox& out) {
  if (supplies_.Stands(m)) return true;  // The answer was lost.
  if (!supplies_.HasRoom(m.items.size(), config_.supplies_max)) return false;
  const Wanted head{m.head.epoch, {m.head.offset, kSupplyHeadBytes, 0}};
  std::vector<Wanted> leased = {head};
  for (const SupplyNotice::Item& item : m.items) {
    if (supplies_.Knows(item.id)) return false;
    leased.push_back({item.at.epoch, {item.at.offset, m.length_bytes, 0}});
  }
  if (!AllUnused(leased)) return false;
  std::vector<SecretBytes> keys;
  SecretBytes all(m.ciphertext.size());
  const auto clear = all.ExposeMutable(SecretAccess::ForDelivery());
  for (size_t i = 0; i < m.items.size(); ++i) {
    const SecretBytes hidden_by = Read(leased[i + 1]);
    const auto pad = hidden_by.Expose(SecretAccess::ForDelivery());
    const size_t begin = i * m.length_bytes;
    for (size_t k = 0; k < pad.size(); ++k) clear[begin + k] = m.ciphertext[begin + k] ^ pad[k];
    keys.push_back(all.Slice(begin, m.length_bytes));
  }
  const SecretBytes tag_key = Read(head);
  const auto rs = tag_key.Expose(SecretAccess::ForCrypto());
  const Tag tag = OneTimeTag(rs.subspan(0, 16), rs.subspan(16, 16), TagLayoutOf(m).bytes(), clear);
  if (!EqualConstantTime(tag, m.tag)) {
    ++counters_.failed_checks;
    return false;
  }
  Consume(leased, out);
  supplies_.Put(now, m, std::move(keys), m.life + config_.fetch_life, config_.supplies_max, out);
  Persist(out);
  ++counters_.supplies_taken;
  return true;
}

void StreamDestination::On(const SupplyCancel& m, StreamOutbox& out) {
  if (!peer_.known() || m.session != Session{peer_, own_} || m.number == 0) return;
  if (!CheckMac(m.epoch, LayoutOf(m), m.mac)) return;
  cancelled_.insert(m.number);
  if (cancelled_.size() > kCancelledMax) cancelled_.erase(cancelled_.begin());
  if (supplies_.Cancel(m.number, out)) Persist(out);
  AnswerSupply(m.number, m.epoch, SupplyOutcome::kCancelled, out);
}

void StreamDestination::AnswerSupply(uint64_t number, uint64_t epoch, SupplyOutcome outcome,
                                     StreamOutbox& out) {
  SupplyAnswer answer{.stream = stream_,
                      .session = {peer_, own_},
                      .number = number,
                      .outcome = outcome,
                      .version = version_};
  answer.mac = HmacSha256(epochs_.at(epoch).stream_key, LayoutOf(answer).bytes());
  version_told_ = version_;
  out.Send(stream_.source, answer, last_write_);
}

}  // namespace keyhop
