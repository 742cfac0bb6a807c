#ifndef KEYHOP_KMS_CORE_QUOTA_QUOTAS_H_
#define KEYHOP_KMS_CORE_QUOTA_QUOTAS_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "kms/base/instant.h"
#include "kms/core/quota/token_bucket.h"
#include "kms/core/types.h"

namespace keyhop {

// What a master may draw. A rate of 0: no limit of that kind.
struct Quota {
  uint64_t keys_per_s = 0;
  uint64_t bits_per_s = 0;
  // So much of either rate may be drawn at once.
  Duration burst = Duration::Seconds(10);
  // Of scarce key, beside the shares of the other SAEs that wait for it; only of an SAE's quota.
  uint32_t share = 1;
  bool limits() const { return keys_per_s > 0 || bits_per_s > 0; }
  friend bool operator==(const Quota&, const Quota&) = default;
};

// What a quota is for: all that an SAE draws, or what it draws for one slave.
struct QuotaOf {
  SaeId sae;         // kEverySae: each SAE of this node that has none of its own.
  SaeId slave = {};  // Empty: whoever the slave is.
  friend auto operator<=>(const QuotaOf&, const QuotaOf&) = default;
};
inline constexpr char kEverySae[] = "*";

inline constexpr Duration kQuotaBurstMax = Duration::Seconds(3600);
inline constexpr uint32_t kShareMax = 1000;
// INVALID_ARGUMENT, with what is wrong, for what cannot be a quota.
absl::Status CheckQuota(const QuotaOf& of, const Quota& quota);

// The quotas of the SAEs of one node. The configuration gives some; an operator's stand in their
// place while they are there. Buckets are full when the node starts, and are kept for SAEs that
// drew: so there are at most as many as the node has SAEs, and one for each pair that has a quota.
//
// Pure. Not thread-safe.
class Quotas {
 public:
  using Table = std::map<QuotaOf, Quota>;
  Quotas(Table configured, Table by_operator)
      : configured_(std::move(configured)), operator_(std::move(by_operator)) {}

  bool empty() const { return configured_.empty() && operator_.empty(); }

  // By an operator; nothing: as configured.
  void Set(const QuotaOf& of, const std::optional<Quota>& quota);

  // Charges a draw of an SAE of this node to its quotas, or says which one is short.
  struct Short {
    QuotaOf of;
    Quota quota;
    std::optional<Instant> until = {};  // Nothing: more than may ever be drawn at once.
  };
  std::optional<Short> Take(Instant now, const SaeId& sae, const SaeId& slave, uint64_t keys,
                            uint64_t bits);
  // The draw that was charged got nothing.
  void GiveBack(Instant now, const SaeId& sae, const SaeId& slave, uint64_t keys, uint64_t bits);

  uint32_t ShareOf(const SaeId& sae) const;

  // What is in force for this SAE, or this pair of SAEs, and what is left of it now.
  struct Standing {
    Quota quota;
    uint64_t keys_left = 0;
    uint64_t bits_left = 0;
  };
  std::optional<Standing> StandingOf(Instant now, const QuotaOf& of) const;

  // All that are in force, and whether an operator set them.
  std::map<QuotaOf, std::pair<Quota, bool>> All() const;

 private:
  struct Buckets {
    Quota quota;  // As of which they are.
    std::optional<TokenBucket> keys;
    std::optional<TokenBucket> bits;
  };
  const Quota* InForce(const QuotaOf& of) const;
  // Null where there is no quota.
  Buckets* BucketsOf(Instant now, const QuotaOf& of);

  Table configured_;
  Table operator_;
  std::map<QuotaOf, Buckets> buckets_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_QUOTA_QUOTAS_H_
