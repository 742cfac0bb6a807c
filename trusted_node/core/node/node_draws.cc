// Draws, and those that wait for their pair to be filled (DESIGN §6).
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/core/delivery/extensions.h"
#include "kms/core/stream/word.h"
#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

// Of one pair: a pair that cannot be filled does not take the room of all.
constexpr size_t kWaitingOfAPairMax = 128;

}  // namespace

StreamDemand NodeCore::Impl::DemandOf(const DrawRequest& request) const {
  const uint64_t bytes = request.size_bits.value_or(config.delivery.key_size_bits) / 8;
  return {request.number * RoundUpToWord(bytes), bytes};
}

bool NodeCore::Impl::MayWait(const SourceEntry& entry, const DrawRequest& request) const {
  return WaitOf(request, config.delivery) > Duration{} &&
         HasPlace(entry.order.WaitingOf(request.caller), entry.waiting.size(),
                  kWaitingOfAPairMax) &&
         MayWaitInNode(request.caller);
}

bool NodeCore::Impl::MayWaitInNode(const SaeId& sae) const {
  const auto own = draws_waiting_of.find(sae);
  return HasPlace(own == draws_waiting_of.end() ? 0 : own->second, draws_waiting,
                  config.delivery.draws_waiting_max);
}

void NodeCore::Impl::BeginsToWait(const SaeId& sae) {
  ++draws_waiting;
  ++draws_waiting_of[sae];
  ++counters["draws_waited"];
}

void NodeCore::Impl::StopsToWait(const SaeId& sae) {
  --draws_waiting;
  const auto own = draws_waiting_of.find(sae);
  if (--own->second == 0) draws_waiting_of.erase(own);
}

void NodeCore::Impl::MakeRoom(const PairWith& pair, SourceEntry& entry, const StreamDemand& asked) {
  entry.asked = entry.asked_until <= now ? asked : Larger(entry.asked, asked);
  entry.asked_until = now + config.pool.in_use;
  Touch(Machine::kSource, pair);
}

void NodeCore::Impl::Wait(const PairWith& pair, SourceEntry& entry, DrawAsked input) {
  const StreamDemand demand = DemandOf(input.request);
  const Instant until = now + WaitOf(input.request, config.delivery);
  BeginsToWait(input.request.caller);
  entry.order.Enter(input.request.caller);
  entry.waiting.push_back({input.token, std::move(input.request), demand, until});
  Touch(Machine::kSource, pair);
}

void NodeCore::Impl::CountRefusal(const char* request, const Refusal& refusal) {
  ++counters[absl::StrCat("refusal_", request, "_", Refusal::NameOf(refusal.kind))];
}

void NodeCore::Impl::AnswerDraw(uint64_t token, const DrawRequest& request,
                                Outcome<KeyContainer> outcome, WriteSeq after) {
  const auto* got = std::get_if<KeyContainer>(&outcome);
  Settle(token, request, /*drawn=*/got != nullptr);
  if (got == nullptr) {
    ++counters["draws_refused"];
    CountRefusal("draw", std::get<Refusal>(outcome));
    AnswerKeys(token, std::move(outcome), after);
    return;
  }
  ++counters["draws_ok"];
  counters["keys_drawn"] += got->keys.size();
  auto news = NewsOf(request, *got);
  Announce(std::move(news), AnswerKeys(token, std::move(outcome), after));
}

void NodeCore::Impl::On(DrawAsked input) {
  if (AnsweredByKey(input.token, input.request)) return;
  if (auto refusal = Charge(input.token, input.request)) {
    return AnswerDraw(input.token, input.request, *std::move(refusal), 0);
  }
  if (!input.request.additional_slaves.empty()) return DrawMulticast(std::move(input));
  const auto slave = routing->FindSae(input.request.slave);
  const PairWith with =
      slave ? PairOf(input.request, config.self, slave->home, config.delivery) : PairWith();
  const auto pair = slave ? sources.find(with) : sources.end();
  if (pair != sources.end() && !pair->second.waiting.empty()) {
    // Who waits is not overtaken by who just came, but by the order of shares.
    if (auto refusal = delivery.RefusalOf(input.request, *this)) {
      AnswerDraw(input.token, input.request, *std::move(refusal), 0);
    } else if (MayWait(pair->second, input.request)) {
      Wait(pair->first, pair->second, std::move(input));
    } else if (WaitOf(input.request, config.delivery) == Duration{}) {
      // What is at hand belongs to those who wait.
      AnswerDraw(input.token, input.request, delivery.NotEnough(now, input.request, *this), 0);
    } else {
      AnswerDraw(input.token, input.request,
                 Refusal{Refusal::Kind::kExhausted,
                         "too many requests wait for keys of this pair; retry",
                         {},
                         config.delivery.retry_after},
                 0);
    }
    return;
  }
  WriteSeq after = 0;
  auto outcome = delivery.Draw(now, input.request, *this, after);
  const auto* refusal = std::get_if<Refusal>(&outcome);
  if (refusal != nullptr && refusal->kind == Refusal::Kind::kUnavailable) {
    if (auto too_few = TooFewPaths(with)) {
      return AnswerDraw(input.token, input.request, *std::move(too_few), 0);
    }
    SourceEntry& entry = sources.at(with);  // The attempt made it, if it was not there.
    MakeRoom(with, entry, DemandOf(input.request));
    if (MayWait(entry, input.request)) {
      Wait(with, entry, std::move(input));
      return;
    }
  }
  AnswerDraw(input.token, input.request, std::move(outcome), after);
}

std::deque<NodeCore::Impl::WaitingDraw>::iterator NodeCore::Impl::NextToServe(SourceEntry& entry) {
  auto next = entry.waiting.end();
  uint64_t next_end = 0;
  std::set<SaeId> seen;  // Of each SAE the first counts.
  for (auto it = entry.waiting.begin(); it != entry.waiting.end(); ++it) {
    const SaeId& sae = it->request.caller;
    if (!seen.insert(sae).second) continue;
    const uint64_t end = entry.order.EndOf(sae, it->demand.bytes, quotas.ShareOf(sae));
    if (next != entry.waiting.end() && next_end <= end) continue;
    next = it;
    next_end = end;
  }
  return next;
}

void NodeCore::Impl::ServeWaiting(SourceEntry& entry) {
  while (!entry.waiting.empty()) {
    const auto next = NextToServe(entry);
    WriteSeq after = 0;
    auto outcome = delivery.Draw(now, next->request, *this, after);
    const auto* refusal = std::get_if<Refusal>(&outcome);
    const bool later = refusal != nullptr && refusal->kind == Refusal::Kind::kUnavailable;
    if (later && now < next->until) break;
    const SaeId sae = next->request.caller;
    if (refusal == nullptr) entry.order.Served(sae, next->demand.bytes, quotas.ShareOf(sae));
    AnswerDraw(next->token, next->request, std::move(outcome), after);
    entry.order.Leave(sae);
    StopsToWait(sae);
    entry.waiting.erase(next);
  }
  // Behind the first there may be callers with less patience.
  std::erase_if(entry.waiting, [&](const WaitingDraw& draw) {
    if (now < draw.until) return false;
    AnswerDraw(draw.token, draw.request, delivery.NotEnough(now, draw.request, *this), 0);
    entry.order.Leave(draw.request.caller);
    StopsToWait(draw.request.caller);
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
  board->Cancel(input.call, board_out);
  for (auto& [pair, entry] : sources) {
    // One with an idempotency key goes on: it may be asked for again.
    const auto draw =
        std::find_if(entry.waiting.begin(), entry.waiting.end(), [&](const WaitingDraw& w) {
          return w.request.call == input.call && !w.request.idempotency_key;
        });
    if (draw == entry.waiting.end()) continue;
    ++counters["draws_cancelled"];
    AnswerDraw(draw->token, draw->request, delivery.NotEnough(now, draw->request, *this), 0);
    entry.order.Leave(draw->request.caller);
    StopsToWait(draw->request.caller);
    entry.waiting.erase(draw);
    Touch(Machine::kSource, pair);
    return;
  }
}

}  // namespace keyhop
