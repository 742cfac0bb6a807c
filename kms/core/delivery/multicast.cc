#include "kms/core/delivery/multicast.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
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

std::map<NodeId, std::vector<SaeId>> Multicasts::FurtherHomes(
    const DrawRequest& request, const DeliveryContext& context) const {
  std::map<NodeId, std::vector<SaeId>> homes;
  for (const SaeId& sae : request.additional_slaves) {
    const auto found = context.FindSae(sae);
    KEYHOP_CHECK(found.has_value(), "RefusalOf looked");
    homes[found->home].push_back(sae);
  }
  return homes;
}

std::map<NodeId, StreamDemand> Multicasts::Demands(const DrawRequest& request,
                                                   const DeliveryContext& context) const {
  const uint64_t key = RoundUpToWord(KeyBytes(request));
  const uint64_t keys = request.number * key;
  std::map<NodeId, StreamDemand> demands;
  for (const auto& [home, saes] : FurtherHomes(request, context)) {
    demands[home] = {keys + kSupplyHeadBytes, std::max<uint64_t>(key, kSupplyHeadBytes)};
  }
  StreamDemand& first = demands[context.FindSae(request.slave)->home];
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
  const auto homes = FurtherHomes(request, context);
  const uint32_t bytes = KeyBytes(request);
  std::map<NodeId, StreamSource*> sources = {{first->home, context.SourceTo(first->home)}};
  for (const auto& [home, saes] : homes) sources[home] = context.SourceTo(home);
  bool can = true;
  for (const auto& [home, source] : sources) {
    if (source == nullptr) {
      return Refused(Refusal::Kind::kExhausted, "too many pairs in use at this KME");
    }
    can &= homes.contains(home)
               ? source->CanSupply(
                     now, LengthsOf(request.number, bytes, home == first->home, /*notice=*/true))
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
  std::map<NodeId, std::vector<StreamSource::Drawn>> leased;
  WriteSeq after = 0;
  for (const auto& [home, source] : sources) {
    const bool keys = home == first->home;
    auto draft =
        source->DrawForSupply(now, LengthsOf(request.number, bytes, keys, homes.contains(home)));
    after = std::max(after, draft.after);
    draw.generations[home] = source->generation();
    auto begin = std::make_move_iterator(draft.keys.begin());
    if (keys) {
      for (uint64_t i = 0; i < request.number; ++i, ++begin) {
        StreamSource::Drawn drawn = *begin;
        draw.keys.keys.push_back(
            NameKey(*source, {context.Self(), home}, request, first->number, std::move(drawn)));
      }
    }
    leased[home] = {begin, std::make_move_iterator(draft.keys.end())};
  }
  draw.after = after;
  for (const auto& [home, saes] : homes) {
    StreamSource::Supply supply;
    supply.master = request.caller;
    supply.slaves = saes;
    supply.leased = std::move(leased[home]);
    supply.life = config_.supply_wait;
    for (const DeliveredKey& key : draw.keys.keys) supply.keys.emplace_back(key.id, &key.key);
    const uint64_t number =
        sources[home]->SendSupply(now, supply, after, context.OutboxFor(context.Self(), home));
    draw.notices[home] = number;
    draw.waits_for.insert(home);
    by_notice_[{home, number}] = next_;
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

void Multicasts::OnResult(Instant now, const NodeId& home, const StreamSource::SupplyResult& result,
                          DeliveryContext& context) {
  const auto number = by_notice_.find({home, result.number});
  if (number == by_notice_.end()) return;
  const auto it = under_way_.find(number->second);
  UnderWay& draw = it->second;
  if (!result.stands) return GiveUp(now, it, context);
  draw.waits_for.erase(home);
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
  for (const auto& [home, number] : draw.notices) {
    context.SourceTo(home)->CancelSupply(now, number, context.OutboxFor(context.Self(), home));
    by_notice_.erase({home, number});
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
