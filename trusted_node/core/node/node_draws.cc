// Draws, and those that wait for their pair to be filled (DESIGN §6).
#include <algorithm>
#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

// Of one pair: a pair that cannot be filled does not take the room of all.
constexpr size_t kWaitingOfAPairMax = 64;
// Of the places in the whole node one SAE gets this part.
constexpr size_t kSharesOfNode = 4;
constexpr uint64_t kWordBytes = 4;  // Keys are aligned.

Refusal WaitedInVain(const DeliveryConfig& config) {
  return {Refusal::Kind::kUnavailable,
          "not enough key at hand for this pair; retry",
          {},
          config.retry_after};
}

Refusal TooMany(const DeliveryConfig& config) {
  return {Refusal::Kind::kExhausted,
          "too many requests wait for keys of this pair; retry",
          {},
          config.retry_after};
}

}  // namespace

uint64_t NodeCore::Impl::BytesOf(const DrawRequest& request) const {
  const uint64_t bytes = request.size_bits.value_or(config.delivery.key_size_bits) / 8;
  return request.number * ((bytes + kWordBytes - 1) / kWordBytes * kWordBytes);
}

bool NodeCore::Impl::MayWait(const DrawRequest& request) const {
  // More than the pool holds would wait in vain.
  const bool patient = !request.wait_max || *request.wait_max > Duration{};
  return patient && config.delivery.draw_wait > Duration{} &&
         BytesOf(request) <= config.pool.target_bytes;
}

void NodeCore::Impl::Wait(const NodeId& home, SourceEntry& entry, DrawAsked input) {
  const uint64_t need_bytes = BytesOf(input.request);
  const Duration wait = std::min(config.delivery.draw_wait,
                                 input.request.wait_max.value_or(config.delivery.draw_wait));
  const auto weight = config.delivery.weights.find(input.request.caller);
  const uint64_t tag =
      entry.order.Enter(input.request.caller, need_bytes,
                        weight == config.delivery.weights.end() ? 1 : weight->second);
  ++draws_waiting;
  ++draws_waiting_of[input.request.caller];
  const auto behind = std::upper_bound(entry.waiting.begin(), entry.waiting.end(), tag,
                                       [](uint64_t t, const WaitingDraw& w) { return t < w.tag; });
  entry.waiting.insert(behind,
                       {input.token, std::move(input.request), need_bytes, now + wait, tag});
  ++counters["draws_waited"];
  Touch(Machine::kSource, home);
}

bool NodeCore::Impl::MakeRoom(SourceEntry& entry, const SaeId& sae) {
  const auto own = draws_waiting_of.find(sae);
  const size_t node_max = config.delivery.draws_waiting_max;
  if (draws_waiting >= node_max) return false;
  // In the whole node an SAE gets a part, so that a flood of it shuts nobody out.
  if (own != draws_waiting_of.end() &&
      own->second >= std::max<size_t>(node_max / kSharesOfNode, 1)) {
    return false;
  }
  if (entry.waiting.size() < kWaitingOfAPairMax) return true;
  const SaeId longest = *entry.order.Longest();
  if (entry.order.WaitingOf(sae) + 1 >= entry.order.WaitingOf(longest)) return false;
  const auto last = std::find_if(entry.waiting.rbegin(), entry.waiting.rend(),
                                 [&](const auto& w) { return w.request.caller == longest; });
  ++counters["draws_displaced"];
  AnswerDraw(last->token, TooMany(config.delivery), 0);
  StopsWaiting(entry, *last, /*served=*/false);
  entry.waiting.erase(std::next(last).base());
  return true;
}

void NodeCore::Impl::StopsWaiting(SourceEntry& entry, const WaitingDraw& draw, bool served) {
  const SaeId& sae = draw.request.caller;
  entry.order.Leave(sae, draw.tag, served);
  --draws_waiting;
  const auto count = draws_waiting_of.find(sae);
  if (--count->second == 0) draws_waiting_of.erase(count);
}

void NodeCore::Impl::AnswerDraw(uint64_t token, Outcome<KeyContainer> outcome, WriteSeq after) {
  if (const auto* got = std::get_if<KeyContainer>(&outcome)) {
    ++counters["draws_ok"];
    counters["keys_drawn"] += got->keys.size();
  } else {
    ++counters["draws_refused"];
  }
  AnswerKeys(token, std::move(outcome), after);
}

void NodeCore::Impl::On(DrawAsked input) {
  if (AnsweredByKey(input.token, input.request)) return;
  const auto slave = routing->FindSae(input.request.slave);
  const auto pair = slave ? sources.find(slave->home) : sources.end();
  if (pair != sources.end() && !pair->second.waiting.empty()) {
    // Who waits is not overtaken by who just came, only by the order of shares.
    if (auto refusal = delivery.RefusalOf(input.request, *this)) {
      AnswerDraw(input.token, *std::move(refusal), 0);
    } else if (MayWait(input.request) && MakeRoom(pair->second, input.request.caller)) {
      Wait(pair->first, pair->second, std::move(input));
    } else {
      AnswerDraw(input.token, TooMany(config.delivery), 0);
    }
    return;
  }
  WriteSeq after = 0;
  auto outcome = delivery.Draw(now, input.request, *this, after);
  const auto* refusal = std::get_if<Refusal>(&outcome);
  if (refusal != nullptr && refusal->kind == Refusal::Kind::kUnavailable) {
    SourceEntry& entry = sources.at(slave->home);  // The attempt made it, if it was not there.
    if (MayWait(input.request) && MakeRoom(entry, input.request.caller)) {
      Wait(slave->home, entry, std::move(input));
      return;
    }
  }
  AnswerDraw(input.token, std::move(outcome), after);
}

void NodeCore::Impl::ServeWaiting(SourceEntry& entry) {
  while (!entry.waiting.empty()) {
    const WaitingDraw& first = entry.waiting.front();
    WriteSeq after = 0;
    auto outcome = delivery.Draw(now, first.request, *this, after);
    const auto* refusal = std::get_if<Refusal>(&outcome);
    const bool later = refusal != nullptr && refusal->kind == Refusal::Kind::kUnavailable;
    if (later && now < first.until) break;
    StopsWaiting(entry, first, /*served=*/refusal == nullptr);
    AnswerDraw(first.token, std::move(outcome), after);
    entry.waiting.pop_front();
  }
  // Behind the first there may be callers with less patience.
  std::erase_if(entry.waiting, [&](const WaitingDraw& draw) {
    if (now < draw.until) return false;
    AnswerDraw(draw.token, WaitedInVain(config.delivery), 0);
    StopsWaiting(entry, draw, /*served=*/false);
    return true;
  });
}

std::optional<Instant> NodeCore::Impl::FirstWaitEnds(const SourceEntry& entry) const {
  std::optional<Instant> first;
  for (const WaitingDraw& draw : entry.waiting) {
    if (!first || draw.until < *first) first = draw.until;
  }
  return first;
}

void NodeCore::Impl::On(CallCancelled input) {
  for (auto& [home, entry] : sources) {
    // One with an idempotency key goes on: it may be asked for again.
    const auto draw =
        std::find_if(entry.waiting.begin(), entry.waiting.end(), [&](const WaitingDraw& w) {
          return w.request.call == input.call && !w.request.idempotency_key;
        });
    if (draw == entry.waiting.end()) continue;
    ++counters["draws_cancelled"];
    AnswerDraw(draw->token, WaitedInVain(config.delivery), 0);
    StopsWaiting(entry, *draw, /*served=*/false);
    entry.waiting.erase(draw);
    Touch(Machine::kSource, home);
    return;
  }
}

}  // namespace keyhop
