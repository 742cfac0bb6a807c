// Requests under idempotency keys (DESIGN §6): which are repeats.
#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {

bool NodeCore::Impl::AnsweredByKey(uint64_t token, const DrawRequest& request) {
  if (!request.idempotency_key) return false;
  if (auto refusal = delivery.RefusalOf(request, *this)) {
    AnswerDraw(token, request, *std::move(refusal), 0);
    return true;
  }
  const auto slave = FindSae(request.slave);
  const StreamSource* source = FindSourceTo(slave->home);
  const uint64_t key_bytes = request.size_bits.value_or(config.delivery.key_size_bits) / 8;
  return AnsweredByKey(
      token, {.caller = request.caller,
              .key = *request.idempotency_key,
              .hash = HashOf(request),
              .answer_bytes_max = IdempotencyTable::AnswerBytes(request.number, key_bytes),
              .pair_heard = source != nullptr && source->Levels().session_open});
}

bool NodeCore::Impl::AnsweredByKey(uint64_t token, const FetchRequest& request) {
  if (!request.idempotency_key) return false;
  const auto caller = FindSae(request.caller);
  if (!caller || caller->home != config.self ||
      request.key_ids.size() > config.delivery.max_keys_per_request) {
    return false;  // Refused like one without a key.
  }
  const auto master = FindSae(request.master);
  const auto stream = master ? destinations.find(master->home) : destinations.end();
  return AnsweredByKey(token,
                       {.caller = request.caller,
                        .key = *request.idempotency_key,
                        .hash = HashOf(request),
                        .answer_bytes_max = IdempotencyTable::AnswerBytes(
                            request.key_ids.size(), config.delivery.max_key_size_bits / 8),
                        .pair_heard = stream != destinations.end() && stream->second->serving()});
}

bool NodeCore::Impl::AnsweredByKey(uint64_t token, IdempotencyTable::Request request) {
  request.neighbour_heard = neighbour_heard;
  auto verdict = idempotency->Begin(now, token, request, *this);
  Touch(Machine::kIdempotency, NodeId{});
  if (std::holds_alternative<IdempotencyTable::Fresh>(verdict)) return false;
  if (auto* repeated = std::get_if<IdempotencyTable::Repeated>(&verdict)) {
    ++counters["answers_repeated"];
    Emit(KeysAnswered{token, std::move(repeated->keys)}, repeated->after);
  } else if (auto* refusal = std::get_if<Refusal>(&verdict)) {
    ++counters["idempotency_keys_refused"];
    Emit(KeysAnswered{token, std::move(*refusal)}, 0);
  }
  return true;
}

WriteSeq NodeCore::Impl::AnswerKeys(uint64_t token, Outcome<KeyContainer> outcome, WriteSeq after) {
  if (idempotency->UnderWay(token)) {
    const auto waiting = idempotency->End(now, token, outcome, after, *this);
    Touch(Machine::kIdempotency, NodeId{});
    const auto* keys = std::get_if<KeyContainer>(&outcome);
    if (keys != nullptr) {
      RaiseLinkVersions();  // A draw leaves no other trace.
    }
    for (const uint64_t other : waiting) {
      ++counters["answers_repeated"];
      Outcome<KeyContainer> same =
          keys != nullptr ? Outcome<KeyContainer>(CopyOf(*keys)) : std::get<Refusal>(outcome);
      Emit(KeysAnswered{other, std::move(same)}, after);
    }
  }
  Emit(KeysAnswered{token, std::move(outcome)}, after);
  return after;
}

}  // namespace keyhop
