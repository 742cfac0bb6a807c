// Draws with additional slaves (DESIGN §6): they wait apart from the pairs' own queues until every
// stream that they need has enough, so that a home which cannot be reached stops no other draw.
#include <algorithm>
#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {
namespace {

constexpr size_t kMulticastsWaitingMax = 256;

}  // namespace

void NodeCore::Impl::DrawMulticast(DrawAsked input) {
  if (auto refusal = delivery.RefusalOf(input.request, *this)) {
    AnswerDraw(input.token, input.request, *std::move(refusal), 0);
    return;
  }
  Touch(Machine::kMulticasts, NodeId{});
  auto refusal = multicasts.Begin(now, input.token, input.request, *this);
  if (!refusal) return;
  auto demands = multicasts.Demands(input.request, *this);
  for (const auto& [pair, demand] : demands) {
    if (auto too_few = TooFewPaths(pair)) {
      AnswerDraw(input.token, input.request, *std::move(too_few), 0);
      return;
    }
  }
  const bool may_wait =
      refusal->kind == Refusal::Kind::kUnavailable && config.delivery.draw_wait > Duration{} &&
      multicasts_waiting.size() < kMulticastsWaitingMax && MayWaitInNode(input.request.caller);
  if (!may_wait) {
    AnswerDraw(input.token, input.request, *std::move(refusal), 0);
    return;
  }
  for (const auto& [pair, demand] : demands) Touch(Machine::kSource, pair);
  BeginsToWait(input.request.caller);
  multicasts_waiting.push_back(
      {input.token, std::move(input.request), std::move(demands), now + config.delivery.draw_wait});
}

void NodeCore::Impl::TakeSupplyResults(const PairWith& pair, SourceEntry& entry) {
  for (const StreamSource::SupplyResult& result : entry.end->TakeSupplyResults()) {
    multicasts.OnResult(now, pair, result, *this);
    Touch(Machine::kMulticasts, NodeId{});
  }
}

void NodeCore::Impl::ServeMulticasts() {
  for (auto it = multicasts_waiting.begin(); it != multicasts_waiting.end();) {
    // The directory may have changed; a waiting draw is looked at anew.
    auto refusal = delivery.RefusalOf(it->request, *this);
    bool later = false;
    if (!refusal) {
      refusal = multicasts.Begin(now, it->token, it->request, *this);
      later = refusal && refusal->kind == Refusal::Kind::kUnavailable && now < it->until;
    }
    if (later) {
      ++it;
      continue;
    }
    if (refusal) AnswerDraw(it->token, it->request, *std::move(refusal), 0);
    StopsToWait(it->request.caller);
    it = multicasts_waiting.erase(it);
  }
  AnswerMulticasts();
}

void NodeCore::Impl::AnswerMulticasts() {
  for (Multicasts::Answer& answer : multicasts.TakeAnswers()) {
    if (TookDraw(answer)) continue;
    const bool delivered = std::holds_alternative<KeyContainer>(answer.outcome);
    ++counters[delivered ? "multicasts_delivered" : "multicasts_given_up"];
    AnswerDraw(answer.token, answer.request, std::move(answer.outcome), answer.after);
  }
}

StreamDemand NodeCore::Impl::MulticastDemand(const PairWith& pair) const {
  StreamDemand most;
  for (const WaitingMulticast& draw : multicasts_waiting) {
    const auto it = draw.demands.find(pair);
    if (it != draw.demands.end()) most = Larger(most, it->second);
  }
  return most;
}

std::optional<Instant> NodeCore::Impl::MulticastDeadline() const {
  std::optional<Instant> next = multicasts.NextDeadline();
  for (const WaitingMulticast& draw : multicasts_waiting) {
    if (!next || draw.until < *next) next = draw.until;
  }
  return next;
}

}  // namespace keyhop
