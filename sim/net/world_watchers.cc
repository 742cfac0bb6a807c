// Slaves that watch for keys drawn for them: each reads on from where it got, through every fault.
#include <utility>
#include <variant>

#include "sim/net/world.h"

namespace keyhop::sim {

void World::WatchSoon(size_t sae, Duration wait) {
  At(wait, [this, sae] { AskForNews(sae); });
}

void World::AskForNews(size_t sae) {
  const size_t node = plan_.saes[sae].node;
  Host& host = hosts_[node];
  if (!host.up() || host.gate.full()) return WatchSoon(sae, Duration::Millis(500));
  WatchRequest request{.caller = plan_.saes[sae].id, .seen = watchers_[sae]};
  request.entries_max = 2 + prng_.Below(20);
  const uint64_t token = next_token_++;
  host.watches.emplace(token, sae);
  Feed(node, WatchAsked{token, std::move(request)});
}

void World::OnWatchAnswer(size_t node, WatchAnswered& answer) {
  auto found = hosts_[node].watches.extract(answer.token);
  if (found.empty()) return oracle_.Violate("G2", "an answer that no watcher asked for");
  const size_t sae = found.mapped();
  auto* told = std::get_if<WatchAnswer>(&answer.outcome);
  if (told == nullptr) return WatchSoon(sae, Duration::Seconds(1));
  if (Faulty(Fault::kClientGone, 50)) {  // It did not hear, and asks again.
    Count(Fault::kClientGone);
    return WatchSoon(sae, Duration::Millis(prng_.Between(1, 3000)));
  }
  if (told->entries.empty()) return oracle_.Violate("G7", "a watcher is told nothing");
  saboteur_.OnWatchAnswer(*told);
  for (const WatchEntry& entry : told->entries) hash_.Bytes(entry.key_id);
  oracle_.OnWatched(plan_.saes[sae].id, *told);
  if (watchers_[sae] && hosts_[node].boot > 1) oracle_.Probe("watch_resumed_after_restart");
  watchers_[sae] = told->seen;
  // An application that starts anew knows nothing of where it was.
  if (faults_on_ && prng_.Chance(10)) watchers_[sae].reset();
  WatchSoon(sae, prng_.Between(Duration{}, Duration::Millis(prng_.Chance(100) ? 20'000 : 200)));
}

}  // namespace keyhop::sim
