#include "kms/core/delivery/multicast.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/core/delivery/extensions.h"
#include "kms/core/stream/word.h"

namespace keyhop {
namespace {

constexpr size_t kUnderWayMax = 256;

// What a draw takes from one stream: its keys, then what hides them in the stream's own notice.
std::vector<uint32_t> LengthsOf(uint64_t number, uint32_t bytes, bool keys, bool notice) {
  std::vector<uint32_t> lengths;
  if (keys) lengths.insert(lengths.end(), number, bytes);
  if (notice) {
    lengths.push_back(kSupplyHeadBytes);
    lengths.insert(lengths.end(), number, bytes);
  }
  return lengths;
}

}  // namespace

uint32_t Multicasts::KeyBytes(const DrawRequest& request) const {
  return static_cast<uint32_t>(request.size_bits.value_or(config_.key_size_bits) / 8);
}

Refusal Multicasts::Refused(Refusal::Kind kind, std::string message) const {
  return {kind, std::move(message), {}, config_.retry_after};
}

PairWith Multicasts::PairTo(const DrawRequest& request, const SaeId& slave,
                            const DeliveryContext& context) const {
  const auto found = context.FindSae(slave);
  KEYHOP_CHECK(found.has_value(), "RefusalOf looked");
  return PairOf(request, context.Self(), found->home, config_);
}

std::map<PairWith, std::vector<SaeId>> Multicasts::FurtherPairs(
    const DrawRequest& request, const DeliveryContext& context) const {
  std::map<PairWith, std::vector<SaeId>> pairs;
  for (const SaeId& sae : request.additional_slaves) {
    pairs[PairTo(request, sae, context)].push_back(sae);
  }
  return pairs;
}

std::map<PairWith, StreamDemand> Multicasts::Demands(const DrawRequest& request,
                                                     const DeliveryContext& context) const {
  const uint64_t key = RoundUpToWord(KeyBytes(request));
  const uint64_t keys = request.number * key;
  std::map<PairWith, StreamDemand> demands;
  for (const auto& [pair, saes] : FurtherPairs(request, context)) {
    demands[pair] = {keys + kSupplyHeadBytes, std::max<uint64_t>(key, kSupplyHeadBytes)};
  }
  StreamDemand& first = demands[PairTo(request, request.slave, context)];
  first = {first.bytes + keys, std::max(first.key_bytes, key)};
  return demands;
}

std::optional<Refusal> Multicasts::Begin(Instant now, uint64_t token, const DrawRequest& request,
                                         DeliveryContext& context) {
  if (under_way_.size() >= kUnderWayMax) {
    return Refused(Refusal::Kind::kExhausted,
                   "too many requests with additional slaves are under way; retry");
  }
  const auto first = context.FindSae(request.slave);
  const PairWith first_pair = PairTo(request, request.slave, context);
  const auto further = FurtherPairs(request, context);
  const uint32_t bytes = KeyBytes(request);
  std::map<PairWith, StreamSource*> sources = {{first_pair, context.SourceTo(first_pair)}};
  for (const auto& [pair, saes] : further) sources[pair] = context.SourceTo(pair);
  bool can = true;
  for (const auto& [pair, source] : sources) {
    if (source == nullptr) {
      return Refused(Refusal::Kind::kExhausted, "too many pairs in use at this KME");
    }
    can &= further.contains(pair)
               ? source->CanSupply(
                     now, LengthsOf(request.number, bytes, pair == first_pair, /*notice=*/true))
               : source->Drawable(now, bytes) >= request.number;
  }
  if (!can) {
    Refusal refusal =
        Refused(Refusal::Kind::kUnavailable, "not enough key at hand for all slaves' KMEs; retry");
    refusal.details["bits_asked"] = absl::StrCat(request.number * bytes * 8);
    return refusal;
  }

  UnderWay draw;
  draw.token = token;
  draw.request = request;
  draw.until = now + config_.supply_wait;
  std::map<PairWith, std::vector<StreamSource::Drawn>> leased;
  WriteSeq after = 0;
  for (const auto& [pair, source] : sources) {
    const bool keys = pair == first_pair;
    auto draft =
        source->DrawForSupply(now, LengthsOf(request.number, bytes, keys, further.contains(pair)));
    after = std::max(after, draft.after);
    draw.generations[pair] = source->generation();
    auto begin = std::make_move_iterator(draft.keys.begin());
    if (keys) {
      for (uint64_t i = 0; i < request.number; ++i, ++begin) {
        StreamSource::Drawn drawn = *begin;
        draw.keys.keys.push_back(NameKey(*source, {context.Self(), pair.node, pair.paths}, request,
                                         first->number, std::move(drawn)));
      }
    }
    leased[pair] = {begin, std::make_move_iterator(draft.keys.end())};
  }
  draw.after = after;
  for (const auto& [pair, saes] : further) {
    StreamSource::Supply supply;
    supply.master = request.caller;
    supply.slaves = saes;
    supply.leased = std::move(leased[pair]);
    supply.life = config_.supply_wait;
    for (const DeliveredKey& key : draw.keys.keys) supply.keys.emplace_back(key.id, &key.key);
    const uint64_t number =
        sources[pair]->SendSupply(now, supply, after, context.OutboxFor(context.Self(), pair.node));
    draw.notices[pair] = number;
    draw.waits_for.insert(pair);
    by_notice_[{pair, number}] = next_;
  }
  under_way_.emplace(next_++, std::move(draw));
  return std::nullopt;
}

bool Multicasts::StillGood(const UnderWay& draw, DeliveryContext& context) const {
  return std::all_of(draw.generations.begin(), draw.generations.end(), [&](const auto& item) {
    const StreamSource* source = context.FindSourceTo(item.first);
    return source != nullptr && source->generation() == item.second;
  });
}

void Multicasts::OnResult(Instant now, const PairWith& pair,
                          const StreamSource::SupplyResult& result, DeliveryContext& context) {
  const auto number = by_notice_.find({pair, result.number});
  if (number == by_notice_.end()) return;
  const auto it = under_way_.find(number->second);
  UnderWay& draw = it->second;
  if (!result.stands) return GiveUp(now, it, context);
  draw.waits_for.erase(pair);
  draw.after = std::max(draw.after, result.after);
  if (!draw.waits_for.empty()) return;
  if (!StillGood(draw, context)) return GiveUp(now, it, context);
  for (const auto& [at, n] : draw.notices) {
    context.SourceTo(at)->ReleaseSupply(n);
    by_notice_.erase({at, n});
  }
  answers_.push_back({draw.token, std::move(draw.request), std::move(draw.keys), draw.after});
  under_way_.erase(it);
}

void Multicasts::GiveUp(Instant now, AllUnderWay::iterator it, DeliveryContext& context) {
  UnderWay& draw = it->second;
  for (const auto& [pair, number] : draw.notices) {
    context.SourceTo(pair)->CancelSupply(now, number, context.OutboxFor(context.Self(), pair.node));
    by_notice_.erase({pair, number});
  }
  answers_.push_back({draw.token, std::move(draw.request),
                      Refused(Refusal::Kind::kUnavailable,
                              "not every additional slave's KME could take the key; retry"),
                      0});
  under_way_.erase(it);
}

void Multicasts::OnTick(Instant now, DeliveryContext& context) {
  for (auto it = under_way_.begin(); it != under_way_.end();) {
    const auto next = std::next(it);
    if (it->second.until <= now) GiveUp(now, it, context);
    it = next;
  }
}

std::optional<Instant> Multicasts::NextDeadline() const {
  std::optional<Instant> next;
  for (const auto& [id, draw] : under_way_) {
    if (!next || draw.until < *next) next = draw.until;
  }
  return next;
}

}  // namespace keyhop
