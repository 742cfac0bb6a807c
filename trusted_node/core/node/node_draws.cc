// Draws, and those that wait for their pair to be filled (DESIGN §6).
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/core/delivery/extensions.h"
#include "kms/core/stream/word.h"
#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

// Of one pair: a pair that cannot be filled does not take the room of all.
constexpr size_t kWaitingOfAPairMax = 64;

}  // namespace

StreamDemand NodeCore::Impl::DemandOf(const DrawRequest& request) const {
  const uint64_t bytes = request.size_bits.value_or(config.delivery.key_size_bits) / 8;
  return {request.number * RoundUpToWord(bytes), bytes};
}

bool NodeCore::Impl::MayWait(const SourceEntry& entry, const DrawRequest& request) const {
  return WaitOf(request, config.delivery) > Duration{} &&
         entry.waiting.size() < kWaitingOfAPairMax &&
         draws_waiting < config.delivery.draws_waiting_max;
}

void NodeCore::Impl::MakeRoom(const NodeId& home, SourceEntry& entry, const StreamDemand& asked) {
  entry.asked = entry.asked_until <= now ? asked : Larger(entry.asked, asked);
  entry.asked_until = now + config.pool.in_use;
  Touch(Machine::kSource, home);
}

void NodeCore::Impl::Wait(const NodeId& home, SourceEntry& entry, DrawAsked input) {
  const StreamDemand demand = DemandOf(input.request);
  const Instant until = now + WaitOf(input.request, config.delivery);
  entry.waiting.push_back({input.token, std::move(input.request), demand, until});
  ++draws_waiting;
  ++counters["draws_waited"];
  Touch(Machine::kSource, home);
}

void NodeCore::Impl::CountRefusal(const char* request, const Refusal& refusal) {
  ++counters[absl::StrCat("refusal_", request, "_", Refusal::NameOf(refusal.kind))];
}

void NodeCore::Impl::AnswerDraw(uint64_t token, const DrawRequest& request,
                                Outcome<KeyContainer> outcome, WriteSeq after) {
  const auto* got = std::get_if<KeyContainer>(&outcome);
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
  if (!input.request.additional_slaves.empty()) return DrawMulticast(std::move(input));
  const auto slave = routing->FindSae(input.request.slave);
  const auto pair = slave ? sources.find(slave->home) : sources.end();
  if (pair != sources.end() && !pair->second.waiting.empty()) {
    // Who came first is served first.
    if (auto refusal = delivery.RefusalOf(input.request, *this)) {
      AnswerDraw(input.token, input.request, *std::move(refusal), 0);
    } else if (MayWait(pair->second, input.request)) {
      Wait(pair->first, pair->second, std::move(input));
    } else if (WaitOf(input.request, config.delivery) == Duration{}) {
      // What is at hand belongs to those who came first.
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
    SourceEntry& entry = sources.at(slave->home);  // The attempt made it, if it was not there.
    MakeRoom(slave->home, entry, DemandOf(input.request));
    if (MayWait(entry, input.request)) {
      Wait(slave->home, entry, std::move(input));
      return;
    }
  }
  AnswerDraw(input.token, input.request, std::move(outcome), after);
}

void NodeCore::Impl::ServeWaiting(SourceEntry& entry) {
  while (!entry.waiting.empty()) {
    const WaitingDraw& first = entry.waiting.front();
    WriteSeq after = 0;
    auto outcome = delivery.Draw(now, first.request, *this, after);
    const auto* refusal = std::get_if<Refusal>(&outcome);
    const bool later = refusal != nullptr && refusal->kind == Refusal::Kind::kUnavailable;
    if (later && now < first.until) break;
    AnswerDraw(first.token, first.request, std::move(outcome), after);
    entry.waiting.pop_front();
    --draws_waiting;
  }
  // Behind the first there may be callers with less patience.
  std::erase_if(entry.waiting, [&](const WaitingDraw& draw) {
    if (now < draw.until) return false;
    AnswerDraw(draw.token, draw.request, delivery.NotEnough(now, draw.request, *this), 0);
    --draws_waiting;
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
  for (auto& [home, entry] : sources) {
    // One with an idempotency key goes on: it may be asked for again.
    const auto draw =
        std::find_if(entry.waiting.begin(), entry.waiting.end(), [&](const WaitingDraw& w) {
          return w.request.call == input.call && !w.request.idempotency_key;
        });
    if (draw == entry.waiting.end()) continue;
    ++counters["draws_cancelled"];
    AnswerDraw(draw->token, draw->request, delivery.NotEnough(now, draw->request, *this), 0);
    entry.waiting.erase(draw);
    --draws_waiting;
    Touch(Machine::kSource, home);
    return;
  }
}

}  // namespace keyhop
