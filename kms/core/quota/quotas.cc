#include "kms/core/quota/quotas.h"

#include <algorithm>

#include "kms/base/check.h"

namespace keyhop {
namespace {

constexpr uint64_t kMillisOfASecond = 1000;
constexpr size_t kSaeIdBytesMax = 300;

// A burst has at least one token: else nothing would ever pass.
uint64_t BurstOf(uint64_t per_s, Duration burst) {
  const uint64_t ms = static_cast<uint64_t>(std::max<int64_t>(burst.millis(), 0));
  return std::max<uint64_t>(
      1, per_s * (ms / kMillisOfASecond) + per_s * (ms % kMillisOfASecond) / kMillisOfASecond);
}

void Fit(Instant now, uint64_t per_s, Duration burst, std::optional<TokenBucket>& bucket) {
  if (per_s == 0) {
    bucket.reset();
  } else if (bucket) {
    bucket->Set(now, per_s, BurstOf(per_s, burst));
  } else {
    bucket.emplace(now, per_s, BurstOf(per_s, burst));
  }
}

}  // namespace

absl::Status CheckQuota(const QuotaOf& of, const Quota& quota) {
  const auto bad = [](const char* text) { return absl::InvalidArgumentError(text); };
  if (of.sae.empty()) return bad("a quota is of an SAE, or of each one: *");
  if (of.slave == SaeId(kEverySae)) return bad("slave: * stands for no SAE there");
  if (of.sae == of.slave) return bad("slave and master are the same SAE");
  // A record with a longer one could not be read again.
  if (std::max(of.sae.value.size(), of.slave.value.size()) > kSaeIdBytesMax) {
    return bad("an SAE ID has at most 300 bytes");
  }
  if (quota.keys_per_s > TokenBucket::kRateMax || quota.bits_per_s > TokenBucket::kRateMax) {
    return bad("rates are at most 10000000000 a second");
  }
  if (quota.burst < Duration::Millis(1) || quota.burst > kQuotaBurstMax) {
    return bad("a burst is from 1ms to 1h");
  }
  if (quota.share < 1 || quota.share > kShareMax) return bad("a share is from 1 to 1000");
  if (!of.slave.empty() && quota.share != 1) {
    return bad("a share is an SAE's, not a pair's");
  }
  return absl::OkStatus();
}

void Quotas::Set(const QuotaOf& of, const std::optional<Quota>& quota) {
  if (quota) {
    operator_[of] = *quota;
  } else {
    operator_.erase(of);
    // Whoever has no quota any more begins with a full bucket when there is one again.
    std::erase_if(buckets_, [&](const auto& entry) { return InForce(entry.first) == nullptr; });
  }
}

const Quota* Quotas::InForce(const QuotaOf& of) const {
  for (const SaeId& sae : {of.sae, SaeId(kEverySae)}) {
    for (const Table* table : {static_cast<const Table*>(&operator_), &configured_}) {
      const auto it = table->find({sae, of.slave});
      if (it != table->end()) return &it->second;
    }
  }
  return nullptr;
}

Quotas::Buckets* Quotas::BucketsOf(Instant now, const QuotaOf& of) {
  const Quota* quota = InForce(of);
  if (quota == nullptr || !quota->limits()) {
    buckets_.erase(of);
    return nullptr;
  }
  const auto [it, fresh] = buckets_.try_emplace(of);
  Buckets& buckets = it->second;
  if (fresh || buckets.quota != *quota) {
    buckets.quota = *quota;
    Fit(now, quota->keys_per_s, quota->burst, buckets.keys);
    Fit(now, quota->bits_per_s, quota->burst, buckets.bits);
  }
  return &buckets;
}

std::optional<Quotas::Short> Quotas::Take(Instant now, const SaeId& sae, const SaeId& slave,
                                          uint64_t keys, uint64_t bits) {
  const QuotaOf both[] = {{sae, {}}, {sae, slave}};
  Buckets* charged[] = {BucketsOf(now, both[0]), BucketsOf(now, both[1])};
  std::optional<Short> found;
  for (size_t i = 0; i < 2; ++i) {
    if (charged[i] == nullptr) continue;
    const auto look = [&](const std::optional<TokenBucket>& bucket, uint64_t n) {
      if (!bucket || bucket->LevelAt(now) >= n) return;
      const std::optional<Instant> until = bucket->When(now, n);
      // The one that is short for longest is told.
      if (found && (!found->until || (until && *until <= *found->until))) return;
      found = Short{both[i], charged[i]->quota, until};
    };
    look(charged[i]->keys, keys);
    look(charged[i]->bits, bits);
  }
  if (found) return found;
  for (Buckets* buckets : charged) {
    if (buckets == nullptr) continue;
    const bool taken = (!buckets->keys || buckets->keys->Take(now, keys)) &&
                       (!buckets->bits || buckets->bits->Take(now, bits));
    KEYHOP_CHECK(taken, "looked before");
  }
  return std::nullopt;
}

void Quotas::GiveBack(Instant now, const SaeId& sae, const SaeId& slave, uint64_t keys,
                      uint64_t bits) {
  for (const QuotaOf& of : {QuotaOf{sae, {}}, QuotaOf{sae, slave}}) {
    const auto it = buckets_.find(of);
    if (it == buckets_.end()) continue;
    if (it->second.keys) it->second.keys->GiveBack(now, keys);
    if (it->second.bits) it->second.bits->GiveBack(now, bits);
  }
}

uint32_t Quotas::ShareOf(const SaeId& sae) const {
  if (empty()) return 1;
  const Quota* quota = InForce({sae, {}});
  return quota == nullptr ? 1 : quota->share;
}

std::optional<Quotas::Standing> Quotas::StandingOf(Instant now, const QuotaOf& of) const {
  const Quota* quota = empty() ? nullptr : InForce(of);
  if (quota == nullptr) return std::nullopt;
  // As the next draw will find it.
  Buckets buckets;
  if (const auto it = buckets_.find(of); it != buckets_.end()) buckets = it->second;
  Fit(now, quota->keys_per_s, quota->burst, buckets.keys);
  Fit(now, quota->bits_per_s, quota->burst, buckets.bits);
  return Standing{*quota, buckets.keys ? buckets.keys->LevelAt(now) : 0,
                  buckets.bits ? buckets.bits->LevelAt(now) : 0};
}

std::map<QuotaOf, std::pair<Quota, bool>> Quotas::All() const {
  std::map<QuotaOf, std::pair<Quota, bool>> all;
  for (const auto& [of, quota] : operator_) all.emplace(of, std::pair(quota, true));
  for (const auto& [of, quota] : configured_) all.emplace(of, std::pair(quota, false));
  return all;
}

}  // namespace keyhop
