#include "kms/core/keystream/keystreams.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/overload.h"
#include "kms/core/keystream/admission.h"

namespace keyhop {
namespace {

// The longest that metadata of ours get.
constexpr uint32_t kMetadataBytesMax = sizeof(R"({"age":4294967295,"hops":4294967295})") - 1;

Refusal Unauthorized() { return {Refusal::Kind::kUnauthorized, "Unauthorized", {}, std::nullopt}; }
Refusal NotFound() {
  return {Refusal::Kind::kNotFound, "no such key stream is open here", {}, std::nullopt};
}
Refusal Exhausted(std::string message) {
  return {Refusal::Kind::kExhausted, std::move(message), {}, Duration::Seconds(1)};
}

}  // namespace

Keystreams::Keystreams(KeystreamConfig config, std::vector<KeystreamRecord> streams,
                       std::vector<KeystreamChunkRecord> chunks)
    : config_(config), recovered_(std::move(streams)), recovered_chunks_(std::move(chunks)) {}

void Keystreams::OnCall(Instant now, uint64_t token, KeystreamRequest request,
                        KeystreamContext& context) {
  std::visit([&](auto& x) { On(now, token, std::move(x), context); }, request);
  DrawFor(now, context);
}

std::optional<Refusal> Keystreams::CheckCaller(const KeystreamOpen& request,
                                               const KeystreamContext& context) const {
  const auto home = context.HomeOf(request.caller);
  if (!home || *home != context.Self() || !context.MayAct(request.caller)) return Unauthorized();
  if (request.caller != request.source && request.caller != request.destination) {
    return Unauthorized();
  }
  if (request.source == request.destination) {
    return Refusal{
        Refusal::Kind::kBadRequest, "source and destination are the same SAE", {}, std::nullopt};
  }
  return std::nullopt;
}

uint32_t Keystreams::OpenedBy(const SaeId& sae) const {
  uint32_t count = 0;
  for (const auto& [id, stream] : streams_) {
    for (const Side& side : stream.sides) count += side.sae == sae && side.opened ? 1 : 0;
  }
  return count;
}

uint64_t Keystreams::AvailableTo(const NodeId& home, const KeystreamContext& context) const {
  std::map<NodeId, uint64_t> reserved;
  for (const auto& [id, stream] : streams_) {
    if (!stream.closing() && stream.qos.min_bps > 0) reserved[stream.peer] += stream.qos.min_bps;
  }
  return context.FreeRateTo(home, reserved);
}

void Keystreams::On(Instant now, uint64_t token, KeystreamOpen request, KeystreamContext& context) {
  const auto refuse = [&](Refusal refusal) {
    ++counters_.refused;
    context.Answer(token, std::move(refusal), 0);
  };
  const auto say = [&](KeystreamStatus status) {
    ++counters_.refused;
    AnswerStatus(token, status, context);
  };
  if (auto refusal = CheckCaller(request, context)) return refuse(*std::move(refusal));
  std::array<SaeId, 2> saes = {request.source, request.destination};
  std::sort(saes.begin(), saes.end());
  WaitingOpen open{.token = token, .side = saes[0] == request.caller ? size_t{0} : size_t{1}};
  const auto peer = context.HomeOf(saes[1 - open.side]);
  if (!peer) return say(KeystreamStatus::kNoConnection);
  if (waiting_ >= config_.calls_waiting_max) {
    return refuse(Exhausted("too many calls wait for key streams; retry"));
  }
  if (request.id) {
    const auto found = streams_.find(*request.id);
    if (found != streams_.end()) {
      Stream& stream = found->second;
      const bool theirs = stream.sides[0].sae == saes[0] && stream.sides[1].sae == saes[1];
      if (!theirs || stream.sides[open.side].closed) return say(KeystreamStatus::kIdInUse);
      return Join(now, token, stream, open, context);
    }
  }
  if (!context.Reachable(*peer)) return say(KeystreamStatus::kNoConnection);
  if (OpenedBy(request.caller) >= config_.streams_per_sae_max) {
    return refuse(Exhausted(absl::StrCat("an SAE may have at most ", config_.streams_per_sae_max,
                                         " key streams; close one")));
  }
  const Admission admission = Admit(request.qos, config_, AvailableTo(*peer, context));
  if (!admission.met && !request.take_counter_offer) {
    ++counters_.refused;
    KeystreamAnswer answer;
    answer.status = KeystreamStatus::kQosNotMet;
    answer.qos = admission.granted;
    if (request.id) answer.id = *request.id;
    return context.Answer(token, std::move(answer), 0);
  }
  const KeyId id = request.id.value_or(context.NewId());
  Stream* stream = Make(now, id, saes, admission.granted, context);
  if (stream == nullptr) return refuse(Exhausted("too many key streams at this KME; retry"));
  open.made_id = !request.id.has_value();
  open.lowered = !admission.met;
  open.undo = true;
  Join(now, token, *stream, open, context);
}

void Keystreams::Join(Instant now, uint64_t token, Stream& stream, WaitingOpen open,
                      KeystreamContext& context) {
  Side& side = stream.sides[open.side];
  stream.last_call = now;
  if (!side.opened) {
    side.opened = true;
    Persist(stream, context);
    Tell(now, stream);
  }
  open.token = token;
  open.until = now + Duration::Millis(stream.qos.timeout_ms);
  stream.opens.push_back(open);
  ++waiting_;
  Touch(now, stream.id, context);
}

void Keystreams::AnswerOpen(const WaitingOpen& open, const Stream& stream,
                            KeystreamContext& context) {
  ++counters_.opened;
  KeystreamAnswer answer;
  answer.status = open.lowered           ? KeystreamStatus::kQosNotMet
                  : stream.established() ? KeystreamStatus::kSuccessful
                                         : KeystreamStatus::kPeerNotConnected;
  answer.id = stream.id;
  answer.qos = stream.qos;
  context.Answer(open.token, std::move(answer), stream.after);
}

void Keystreams::AnswerStatus(uint64_t token, KeystreamStatus status, KeystreamContext& context) {
  KeystreamAnswer answer;
  answer.status = status;
  context.Answer(token, std::move(answer), 0);
}

std::optional<std::pair<Keystreams::Stream*, size_t>> Keystreams::Find(const KeyId& id,
                                                                       const SaeId& caller) {
  const auto it = streams_.find(id);
  if (it == streams_.end()) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    const Side& side = it->second.sides[i];
    if (side.sae == caller && side.local && side.opened && !side.closed) {
      return std::pair(&it->second, i);
    }
  }
  return std::nullopt;
}

void Keystreams::On(Instant now, uint64_t token, KeystreamGet request, KeystreamContext& context) {
  if (!context.MayAct(request.caller)) return context.Answer(token, Unauthorized(), 0);
  const auto found = Find(request.id, request.caller);
  if (!found) return context.Answer(token, NotFound(), 0);
  if (waiting_ >= config_.calls_waiting_max) {
    return context.Answer(token, Exhausted("too many calls wait for key streams; retry"), 0);
  }
  const auto& [stream, side] = *found;
  stream->last_call = now;
  if (request.index < stream->next_index + config_.chunks_max) {
    NoteWant(now, *stream, stream->want_below, uint64_t{request.index} + 1);
  }
  const Instant until = now + Duration::Millis(stream->qos.timeout_ms);
  stream->gets.push_back({token, std::move(request), side, until});
  ++waiting_;
  Touch(now, stream->id, context);
}

std::optional<KeystreamAnswer> Keystreams::TryGet(Instant now, Stream& stream,
                                                  const WaitingGet& get, WriteSeq& after,
                                                  KeystreamContext& context) {
  KeystreamAnswer answer;
  answer.id = stream.id;
  answer.index = get.request.index;
  answer.next_index = stream.next_index;
  const auto with = [&answer](KeystreamStatus status) {
    answer.status = status;
    return std::optional(std::move(answer));
  };
  if (!stream.established()) return with(KeystreamStatus::kPeerNotYetConnected);
  const uint64_t index = get.request.index;
  if (index >= stream.next_index) {
    const bool never = stream.closing() || index - stream.next_index >= config_.chunks_max ||
                       stream.next_index >= kKeystreamIndices;
    return never ? with(KeystreamStatus::kInsufficientKey) : std::nullopt;
  }
  const auto it = stream.chunks.find(index);
  if (it == stream.chunks.end() || it->second.taken[get.side]) {
    return with(KeystreamStatus::kInsufficientKey);
  }
  Chunk& chunk = it->second;
  Side& side = stream.sides[get.side];
  if (!OtherHas(stream, index) || now < side.pacer.FreeAt()) return std::nullopt;
  if (get.request.metadata_bytes_max != 0 && !stream.qos.metadata_mimetype.empty()) {
    const int64_t age = std::clamp<int64_t>((now - chunk.since).millis(), 0, UINT32_MAX);
    answer.metadata = absl::StrCat("{\"age\":", age, ",\"hops\":", chunk.hops, "}");
    if (answer.metadata.size() > get.request.metadata_bytes_max) {
      answer.metadata.clear();
      answer.metadata_bytes_needed = kMetadataBytesMax;
      return with(KeystreamStatus::kMetadataTooSmall);
    }
  }
  auto taken = context.Take(side.sae, stream.sides[0].sae, chunk.key_id, after);
  if (const auto* refusal = std::get_if<Refusal>(&taken)) {
    if (refusal->kind != Refusal::Kind::kNotFound) return std::nullopt;
    // Burnt with its lease, or by a rollback: gone for this side.
    answer.metadata.clear();
    answer.status = KeystreamStatus::kInsufficientKey;
    ++counters_.expired;
  } else {
    answer.key = std::move(std::get<SecretBytes>(taken));
    side.pacer.Spend(now);
    ++counters_.delivered;
  }
  chunk.taken[get.side] = true;
  if (Forgettable(stream, index, chunk)) {
    Forget(stream, it, context);
  } else {
    Persist(stream, index, chunk, context);
  }
  after = std::max(after, stream.after);
  return answer;
}

KeystreamStatus Keystreams::LateGet(const Stream& stream, const WaitingGet& get,
                                    const KeystreamContext& context) const {
  if (!stream.at_home() && !context.Reachable(stream.peer)) return KeystreamStatus::kNoConnection;
  return get.request.index < stream.next_index ? KeystreamStatus::kTimeout
                                               : KeystreamStatus::kInsufficientKey;
}

void Keystreams::On(Instant now, uint64_t token, KeystreamClose request,
                    KeystreamContext& context) {
  if (!context.MayAct(request.caller)) return context.Answer(token, Unauthorized(), 0);
  const auto found = Find(request.id, request.caller);
  if (!found) return context.Answer(token, NotFound(), 0);
  const auto& [stream, side] = *found;
  stream->sides[side].closed = true;
  stream->closes_at = now + Duration::Seconds(stream->qos.ttl_s);
  Persist(*stream, context);
  Tell(now, *stream);
  KeystreamAnswer answer;
  answer.id = request.id;
  context.Answer(token, std::move(answer), stream->after);
  Touch(now, request.id, context);
}

}  // namespace keyhop
