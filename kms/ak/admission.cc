#include "kms/ak/admission.h"

#include <algorithm>

namespace keyhop {
namespace {

// Callers that are gone but for their allowance, before they are looked through.
constexpr size_t kCallersKept = 64;

size_t CountOf(const std::map<std::string, size_t>& counts, const std::string& name) {
  const auto it = counts.find(name);
  return it == counts.end() ? 0 : it->second;
}

}  // namespace

std::optional<std::string> Admission::Enter(const std::string& address, const std::string& caller) {
  MutexLock lock(mu_);
  if (connections_ >= limits_.connections_max) return "too many connections at this KME; retry";
  if (CountOf(addresses_, address) >= limits_.address_connections_max) {
    return "too many connections from this address; retry";
  }
  const auto known = callers_.find(caller);
  if (known != callers_.end() && known->second.connections >= limits_.caller_connections_max) {
    return "too many connections of this SAE; retry";
  }
  ++connections_;
  ++addresses_[address];
  ++callers_[caller].connections;
  return std::nullopt;
}

void Admission::Leave(Instant now, const std::string& address, const std::string& caller) {
  MutexLock lock(mu_);
  --connections_;
  const auto from = addresses_.find(address);
  if (--from->second == 0) addresses_.erase(from);
  --callers_.at(caller).connections;
  const auto gone = [now](const auto& entry) {
    return entry.second.connections == 0 && entry.second.full_at <= now;
  };
  const auto left = callers_.find(caller);
  if (gone(*left)) {
    callers_.erase(left);
  } else if (callers_.size() > 2 * connections_ + kCallersKept) {
    std::erase_if(callers_, gone);
  }
}

std::optional<Duration> Admission::Request(Instant now, const std::string& caller) {
  if (limits_.requests_per_second == 0) return std::nullopt;
  const Duration share = Duration::Seconds(1) / limits_.requests_per_second;
  MutexLock lock(mu_);
  Instant& full_at = callers_.at(caller).full_at;
  const Instant next = std::max(now, full_at) + share;
  const Duration over = next - now - share * std::max(1u, limits_.requests_burst);
  if (over > Duration{}) return over;
  full_at = next;
  return std::nullopt;
}

}  // namespace keyhop
