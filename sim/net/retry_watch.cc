#include "sim/net/retry_watch.h"

#include <utility>

namespace keyhop::sim {
namespace {

// A start forgets at most this part of a window of the run time before it.
constexpr int64_t kForgottenPart = 6;

}  // namespace

void RetryWatch::OnStarted(Instant now, size_t node) {
  Life& life = lives_[node];
  ++life.starts;
  life.up = true;
  life.since = now;
}

void RetryWatch::OnCrashed(Instant now, size_t node) {
  Life& life = lives_[node];
  life.before = RanAt(now, life);
  life.up = false;
}

void RetryWatch::OnImageRestored(size_t node, bool known) {
  if (!known) uncertain_.insert(node);
}

Duration RetryWatch::RanAt(Instant now, const Life& life) const {
  return life.up ? life.before + (now - life.since) : life.before;
}

void RetryWatch::OnAsked(Instant now, size_t node, const SaeId& sae, const std::string& key) {
  asked_[{node, sae, key}].push_back(RanAt(now, lives_[node]));
}

Duration RetryWatch::AskedFirst(const Name& name, Duration ran) {
  Duration first = ran;
  for (const Duration asked : std::exchange(asked_[name], {})) {
    // What is older was forgotten by now.
    if (ran - asked <= window_ + late_) first = std::min(first, asked);
  }
  return first;
}

RetryWatch::Finding RetryWatch::OnAnswer(Instant now, size_t node, const SaeId& sae,
                                         const std::string& key, std::vector<KeyId> ids) {
  const Life& life = lives_[node];
  const Duration ran = RanAt(now, life);
  const Name place = {node, sae, key};
  const auto [it, fresh] = answers_.try_emplace(place, Answer{ids, ran, ran, life.starts});
  Answer& answer = it->second;
  if (fresh) {
    answer.asked = AskedFirst(place, ran);
    return {};
  }
  const std::string name = "the answer to " + sae.value + " under idempotency key " + key;
  if (ids == answer.ids) {
    const Duration kept =
        window_ + (window_ / kForgottenPart) * static_cast<int64_t>(life.starts - answer.starts);
    if (ran - answer.ran > kept) {
      return {Kind::kRepeated, name + " is repeated after its window"};
    }
    return {life.starts == answer.starts ? Kind::kRepeated : Kind::kRepeatedAfterStart, {}};
  }
  if (uncertain_.contains(node)) return {Kind::kUncertain, {}};
  if (ran - answer.asked + late_ < window_) {
    return {Kind::kFirst, name + " is another one than before"};
  }
  answer = {std::move(ids), ran, AskedFirst(place, ran), life.starts};
  return {};
}

}  // namespace keyhop::sim
