#include "kms/core/delivery/delivery.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/core/delivery/extensions.h"
#include "kms/core/stream/word.h"

namespace keyhop {
namespace {

Refusal BadRequest(std::string message, std::map<std::string, std::string> details = {}) {
  return {Refusal::Kind::kBadRequest, std::move(message), std::move(details), std::nullopt};
}

Refusal Unauthorized() { return {Refusal::Kind::kUnauthorized, "Unauthorized", {}, std::nullopt}; }

Refusal NotFound() { return {Refusal::Kind::kNotFound, kKeysNotFound, {}, std::nullopt}; }

}  // namespace

const char* Refusal::NameOf(Kind kind) {
  switch (kind) {
    case Kind::kBadRequest:
      return "bad_request";
    case Kind::kNotFound:
      return "not_found";
    case Kind::kUnauthorized:
      return "unauthorized";
    case Kind::kOtherRequest:
      return "other_request";
    case Kind::kUnavailable:
      return "unavailable";
    case Kind::kExhausted:
      return "exhausted";
    case Kind::kInternal:
      break;
  }
  return "internal";
}

Refusal Delivery::Unavailable(std::string message) const {
  return {Refusal::Kind::kUnavailable, std::move(message), {}, config_.retry_after};
}

Outcome<PairStatus> Delivery::Status(Instant now, const StatusRequest& request,
                                     const DeliveryContext& context) const {
  const auto caller = context.FindSae(request.caller);
  if (!caller || caller->home != context.Self()) return Unauthorized();
  const auto slave = context.FindSae(request.slave);
  if (!slave) return BadRequest("slave_SAE_ID is not known in this network");
  if (request.slave == request.caller) return BadRequest("slave and master are the same SAE");
  PairStatus status;
  status.source_kme = context.Self();
  status.target_kme = slave->home;
  status.master = request.caller;
  status.slave = request.slave;
  status.key_size_bits = config_.key_size_bits;
  status.max_key_per_request = KeysPerRequestMax();
  status.max_key_size_bits = config_.max_key_size_bits;
  status.min_key_size_bits = config_.min_key_size_bits;
  status.max_sae_id_count = config_.max_sae_id_count;
  const uint32_t key_bytes = static_cast<uint32_t>(config_.key_size_bits / 8);
  const PairWith pair = PairOf({}, context.Self(), slave->home, config_);
  const StreamSource* source = context.FindSourceTo(pair);
  status.stored_key_count = source ? source->Drawable(now, key_bytes) : 0;
  status.max_key_count =
      std::max<uint64_t>(status.stored_key_count, context.PoolTargetBytes() / key_bytes);
  // A segment more than the target may be there.
  status.max_key_count = std::min(status.max_key_count, config_.max_key_count);
  status.stored_key_count = std::min(status.stored_key_count, status.max_key_count);
  TellFacts(now, pair, context, status);
  return status;
}

void Delivery::TellFacts(Instant now, const PairWith& pair, const DeliveryContext& context,
                         PairStatus& status) const {
  const auto millis = [](Duration d) {
    return static_cast<uint64_t>(std::max<int64_t>(0, d.millis()));
  };
  std::map<std::string, Fact>& facts = status.extension;
  facts["keyhop_key_origin"] = pair.node == context.Self()
                                   ? "local random: master and slave share a home node"
                                   : "QKD, relayed by trusted nodes";
  const StreamSource* source = context.FindSourceTo(pair);
  const uint64_t stored = source ? source->Drawable(now, kWordBytes) * kWordBytes : 0;
  const uint64_t target = context.PoolTargetBytes();
  const uint64_t rate = context.RefillBytesPerSecond(now, pair);
  facts["keyhop_stored_bits"] = stored * 8;
  facts["keyhop_pool_bits"] = target * 8;
  facts["keyhop_refill_bits_per_s"] = rate * 8;
  const uint64_t missing = target > stored ? target - stored : 0;
  if (missing == 0 || rate > 0) {
    facts["keyhop_refill_ms"] = missing == 0 ? 0 : missing * 1000 / rate;
  }
  facts["keyhop_paths_min"] = uint64_t{pair.paths};
  facts["keyhop_draw_wait_ms"] = millis(config_.draw_wait);
  facts["keyhop_deadline_ms_max"] = millis(config_.deadline_max);
  facts["keyhop_fetch_life_ms"] = millis(config_.fetch_life);
  facts["keyhop_failed_fetches_max"] = config_.failed_fetches_burst;
  facts["keyhop_extensions"] = ExtensionStates();
}

// No request can have more keys than there may ever be.
uint64_t Delivery::KeysPerRequestMax() const {
  return std::min(config_.max_keys_per_request, config_.max_key_count);
}

std::optional<Refusal> Delivery::CheckSize(const std::optional<uint64_t>& size_bits) const {
  if (!size_bits) return std::nullopt;
  if (*size_bits % 8 != 0) return BadRequest(kSizeNotMultipleOf8);
  if (*size_bits < config_.min_key_size_bits || *size_bits > config_.max_key_size_bits) {
    return BadRequest(absl::StrCat("size shall be from ", config_.min_key_size_bits, " to ",
                                   config_.max_key_size_bits, " bits"));
  }
  return std::nullopt;
}

std::optional<Refusal> Delivery::CheckAdditionalSlaves(const DrawRequest& request,
                                                       const DeliveryContext& context) const {
  const std::vector<SaeId>& saes = request.additional_slaves;
  if (saes.empty()) return std::nullopt;
  if (saes.size() > config_.max_sae_id_count) {
    return BadRequest(absl::StrCat("additional_slave_SAE_IDs shall name at most ",
                                   config_.max_sae_id_count, " SAEs (max_SAE_ID_count)"));
  }
  std::set<SaeId> seen = {request.caller, request.slave};
  for (const SaeId& sae : saes) {
    if (!seen.insert(sae).second) {
      return BadRequest(
          "additional_slave_SAE_IDs shall name no SAE twice, nor the master or the slave");
    }
    if (!context.FindSae(sae)) {
      return BadRequest("one of additional_slave_SAE_IDs is not known in this network");
    }
  }
  const uint64_t bytes = request.size_bits.value_or(config_.key_size_bits) / 8;
  if (request.number * bytes > kSupplyBytesMax) {
    return BadRequest(absl::StrCat("number times size shall be at most ", kSupplyBytesMax * 8,
                                   " bits where additional_slave_SAE_IDs is given"));
  }
  return std::nullopt;
}

std::optional<Refusal> Delivery::CheckDraw(const DrawRequest& request,
                                           const DeliveryContext& context) const {
  if (!context.FindSae(request.slave)) {
    return BadRequest("slave_SAE_ID is not known in this network");
  }
  if (request.slave == request.caller) return BadRequest("slave and master are the same SAE");
  if (request.number < 1 || request.number > KeysPerRequestMax()) {
    return BadRequest(absl::StrCat("number shall be from 1 to ", KeysPerRequestMax()));
  }
  if (auto refusal = CheckSize(request.size_bits)) return refusal;
  if (auto refusal = CheckAdditionalSlaves(request, context)) return refusal;
  return CheckExtensions(request, config_);
}

Refusal Delivery::NotEnough(Instant now, const DrawRequest& request,
                            const DeliveryContext& context) const {
  Refusal refusal = Unavailable("not enough key at hand for this pair; retry");
  const uint64_t size_bits = request.size_bits.value_or(config_.key_size_bits);
  const auto slave = context.FindSae(request.slave);
  const StreamSource* source =
      slave ? context.FindSourceTo(PairOf(request, context.Self(), slave->home, config_)) : nullptr;
  const uint32_t bytes = static_cast<uint32_t>(size_bits / 8);
  const uint64_t at_hand = source ? source->Drawable(now, bytes) * size_bits : 0;
  refusal.details["bits_asked"] = absl::StrCat(request.number * size_bits);
  refusal.details["bits_at_hand"] = absl::StrCat(at_hand);
  return refusal;
}

std::optional<Refusal> Delivery::RefusalOf(const DrawRequest& request,
                                           const DeliveryContext& context) const {
  const auto caller = context.FindSae(request.caller);
  if (!caller || caller->home != context.Self()) return Unauthorized();
  return CheckDraw(request, context);
}

DeliveredKey NameKey(const StreamSource& source, const StreamId& stream, const DrawRequest& request,
                     uint32_t slave_number, StreamSource::Drawn drawn) {
  const KeyIdBinding binding{stream, drawn.epoch, request.caller, request.slave};
  const KeyLocation at{drawn.offset, static_cast<uint32_t>(drawn.key.size()), slave_number};
  return {MakeKeyId(source.IdKey(drawn.epoch), binding, at), std::move(drawn.key)};
}

Outcome<KeyContainer> Delivery::Draw(Instant now, const DrawRequest& request,
                                     DeliveryContext& context, WriteSeq& after) {
  if (auto refusal = RefusalOf(request, context)) return *std::move(refusal);
  const auto slave = context.FindSae(request.slave);
  const PairWith pair = PairOf(request, context.Self(), slave->home, config_);
  StreamSource* source = context.SourceTo(pair);
  if (source == nullptr) {
    return Refusal{
        Refusal::Kind::kExhausted, "too many pairs in use at this KME", {}, config_.retry_after};
  }
  const uint64_t size_bits = request.size_bits.value_or(config_.key_size_bits);
  const uint32_t bytes = static_cast<uint32_t>(size_bits / 8);
  auto draft = source->Draw(now, request.number, bytes);
  if (!draft.ok()) return NotEnough(now, request, context);
  KeyContainer container;
  container.keys.reserve(draft->keys.size());
  for (StreamSource::Drawn& drawn : draft->keys) {
    container.keys.push_back(NameKey(*source, {context.Self(), pair.node, pair.paths}, request,
                                     slave->number, std::move(drawn)));
  }
  after = draft->after;
  return container;
}

Delivery::Bucket& Delivery::BucketOf(Instant now, const SaeId& sae) {
  const auto [it, fresh] = buckets_.try_emplace(sae, Bucket{config_.failed_fetches_burst, now});
  Bucket& bucket = it->second;
  const int64_t grown = (now - bucket.refilled).ns / config_.failed_fetch_refill.ns;
  if (grown > 0) {
    const int64_t full = config_.failed_fetches_burst;
    bucket.tokens = static_cast<uint32_t>(std::min<int64_t>(full, bucket.tokens + grown));
    bucket.refilled = bucket.refilled + config_.failed_fetch_refill * grown;
  }
  return bucket;
}

Outcome<KeyContainer> Delivery::Fetch(Instant now, const FetchRequest& request,
                                      DeliveryContext& context, WriteSeq& after) {
  const auto caller = context.FindSae(request.caller);
  if (!caller || caller->home != context.Self()) return Unauthorized();
  if (request.key_ids.empty()) return BadRequest("key_IDs shall name at least one key");
  if (request.key_ids.size() > config_.max_keys_per_request) {
    return BadRequest(
        absl::StrCat("key_IDs shall name at most ", config_.max_keys_per_request, " keys"));
  }
  Bucket& bucket = BucketOf(now, request.caller);
  if (bucket.tokens == 0) {
    return Refusal{
        Refusal::Kind::kExhausted, "too many failed fetches; retry later", {}, config_.retry_after};
  }
  const auto fail = [&bucket](Refusal refusal) {
    --bucket.tokens;
    return refusal;
  };
  const auto master = context.FindSae(request.master);
  if (!master) return fail(NotFound());
  // Which of the pair's streams a key_ID belongs to does not show: all are tried.
  struct Part {
    StreamDestination* stream = nullptr;
    std::vector<StreamDestination::WantedKey> wanted;
    std::vector<size_t> places;  // Of these in the request.
  };
  std::vector<Part> parts;
  for (uint8_t paths = 1; paths <= kPathsMax; ++paths) {
    StreamDestination* const stream = context.DestinationFrom({master->home, paths});
    if (stream != nullptr) parts.push_back({.stream = stream, .wanted = {}, .places = {}});
  }
  bool foreign = false;
  bool unknown = false;
  for (size_t i = 0; i < request.key_ids.size(); ++i) {
    const KeyId& id = request.key_ids[i];
    bool opened = false;
    bool of_others = false;
    bool used = false;
    for (Part& part : parts) {
      const SupplyState supplied = part.stream->SupplyFor(id, request.master, request.caller);
      of_others |= supplied == SupplyState::kForeign;
      used |= supplied == SupplyState::kUsed;
      if (supplied == SupplyState::kReady) {
        part.wanted.push_back(StreamDestination::WantedSupply{id, request.caller});
        part.places.push_back(i);
        opened = true;
      }
      if (supplied == SupplyState::kReady || supplied == SupplyState::kUsed) continue;
      for (const uint64_t epoch : part.stream->Epochs()) {
        const SecretBytes& id_key = part.stream->IdKey(epoch);
        const KeyLocation at = PeekLocation(id_key, id);
        const SaeId slave = context.LocalSae(at.slave_number).value_or(SaeId{});
        const KeyIdBinding binding{{master->home, context.Self()}, epoch, request.master, slave};
        if (opened || !VerifyKeyId(id_key, binding, at, id) || slave.empty()) continue;
        opened = true;
        foreign |= slave != request.caller;
        part.wanted.push_back(StreamDestination::Wanted{epoch, at});
        part.places.push_back(i);
      }
    }
    if (opened && !used) continue;
    foreign |= of_others && !used;
    unknown |= used || !of_others;
  }
  if (foreign) return fail(Unauthorized());
  if (unknown) return fail(NotFound());
  std::erase_if(parts, [](const Part& part) { return part.wanted.empty(); });
  const auto refused = [&](const absl::Status& status) {
    return absl::IsUnavailable(status)
               ? Unavailable("the master's KME was not heard since this KME started; retry")
               : fail(NotFound());
  };
  // All or nothing: of several streams each says beforehand whether it can. One says it as it does.
  const bool alone = parts.size() == 1;
  for (size_t p = 0; p < parts.size() && !alone; ++p) {
    const absl::Status fits = parts[p].stream->CheckFetch(parts[p].wanted);
    if (!fits.ok()) return refused(fits);
  }
  KeyContainer container;
  container.keys.resize(request.key_ids.size());
  size_t found = 0;
  for (Part& part : parts) {
    auto fetched = part.stream->Fetch(part.wanted, context.OutboxFor(master->home, context.Self()));
    if (alone && !fetched.ok()) return refused(fetched.status());
    KEYHOP_CHECK(fetched.ok(), "CheckFetch said so");
    after = std::max(after, fetched->after);
    for (size_t k = 0; k < part.places.size(); ++k, ++found) {
      container.keys.at(part.places[k]) = {request.key_ids[part.places[k]],
                                           std::move(fetched->keys[k])};
    }
  }
  KEYHOP_CHECK(found == request.key_ids.size(), "one key for each key_ID");
  return container;
}

}  // namespace keyhop
