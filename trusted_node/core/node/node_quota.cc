// What the SAEs of this node may draw (docs/rest.md, "Quotas").
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

constexpr size_t kOperatorsQuotasMax = 4096;

std::map<std::string, std::string> TextOf(const Quota& quota) {
  std::map<std::string, std::string> text;
  if (quota.keys_per_s > 0) text["keys_per_s"] = absl::StrCat(quota.keys_per_s);
  if (quota.bits_per_s > 0) text["bits_per_s"] = absl::StrCat(quota.bits_per_s);
  text["burst_ms"] = absl::StrCat(quota.burst.millis());
  return text;
}

Refusal OverQuota(Instant now, const Quotas::Short& shortage) {
  Refusal refusal;
  const char* whose = shortage.of.slave.empty() ? "this SAE" : "this pair of SAEs";
  refusal.details = TextOf(shortage.quota);
  refusal.details["quota"] = whose;
  if (!shortage.until) {
    refusal.kind = Refusal::Kind::kBadRequest;
    refusal.message = absl::StrCat("number and size ask for more than the quota of ", whose,
                                   " ever gives at once");
    return refusal;
  }
  refusal.kind = Refusal::Kind::kExhausted;
  refusal.message = absl::StrCat("the quota of ", whose, " is used up; retry");
  refusal.retry_after = *shortage.until - now;
  return refusal;
}

}  // namespace

std::optional<Refusal> NodeCore::Impl::Charge(uint64_t token, const DrawRequest& request) {
  if (quotas.empty()) return std::nullopt;
  // A stranger has no bucket; and what is no request is refused as that, by who draws.
  if (delivery.RefusalOf(request, *this)) return std::nullopt;
  const uint64_t size_bits = request.size_bits.value_or(config.delivery.key_size_bits);
  const auto shortage =
      quotas.Take(now, request.caller, request.slave, request.number, request.number * size_bits);
  if (shortage) {
    ++counters["draws_over_quota"];
    return OverQuota(now, *shortage);
  }
  charged.insert(token);
  return std::nullopt;
}

void NodeCore::Impl::Settle(uint64_t token, const DrawRequest& request, bool drawn) {
  if (charged.empty() || charged.erase(token) == 0 || drawn) return;
  const uint64_t size_bits = request.size_bits.value_or(config.delivery.key_size_bits);
  quotas.GiveBack(now, request.caller, request.slave, request.number, request.number * size_bits);
}

void NodeCore::Impl::TellQuotas(const StatusRequest& request, PairStatus& status) const {
  const auto tell = [&](const char* name, const QuotaOf& of) {
    const auto standing = quotas.StandingOf(now, of);
    if (!standing || !standing->quota.limits()) return;
    std::map<std::string, std::string> text = TextOf(standing->quota);
    if (standing->quota.keys_per_s > 0) text["keys_left"] = absl::StrCat(standing->keys_left);
    if (standing->quota.bits_per_s > 0) text["bits_left"] = absl::StrCat(standing->bits_left);
    status.extension[name] = std::move(text);
  };
  tell("keyhop_quota", {request.caller});
  tell("keyhop_pair_quota", {request.caller, request.slave});
  if (const uint32_t share = quotas.ShareOf(request.caller); share != 1) {
    status.extension["keyhop_share"] = uint64_t{share};
  }
}

void NodeCore::Impl::On(QuotaSet input) {
  const auto refuse = [&](absl::Status status) {
    Emit(SwitchDone{input.token, std::move(status)}, 0);
  };
  const auto all = quotas.All();
  const auto stands = all.find(input.of);
  const bool by_operator = stands != all.end() && stands->second.second;
  WriteSeq after = last_seq;  // Said already: perhaps not durable yet.
  if (!input.quota) {
    if (!by_operator) return refuse(absl::NotFoundError("no operator's quota stands there"));
    quotas.Set(input.of, std::nullopt);
    after = Write(QuotaRecord{input.of, {}, /*erased=*/true});
    return Emit(SwitchDone{input.token, absl::OkStatus()}, after);
  }
  if (absl::Status status = CheckQuota(input.of, *input.quota); !status.ok()) {
    return refuse(std::move(status));
  }
  const auto sae = routing->FindSae(input.of.sae);
  if (input.of.sae != SaeId(kEverySae) && (!sae || sae->home != config.self)) {
    return refuse(
        absl::NotFoundError(absl::StrCat("no SAE ", input.of.sae.value, " at this node")));
  }
  if (!by_operator) {
    const auto operators = static_cast<size_t>(std::count_if(
        all.begin(), all.end(), [](const auto& quota) { return quota.second.second; }));
    if (operators >= kOperatorsQuotasMax) {
      return refuse(absl::ResourceExhaustedError("4096 quotas are set at this node: no more"));
    }
  }
  if (!by_operator || stands->second.first != *input.quota) {
    quotas.Set(input.of, *input.quota);
    after = Write(QuotaRecord{input.of, *input.quota});
  }
  Emit(SwitchDone{input.token, absl::OkStatus()}, after);
}

}  // namespace keyhop
