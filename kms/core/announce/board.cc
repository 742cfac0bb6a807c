#include "kms/core/announce/board.h"

#include <algorithm>
#include <utility>

#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "kms/core/stream/layout.h"

namespace keyhop {
namespace {

constexpr int64_t kSlowestRetry = 32;  // Times AnnounceConfig::retry.
constexpr uint64_t kEntriesMax = 256;  // In one answer and in one record.
constexpr uint64_t kEntriesMin = 2;    // In one answer: with a gap goes what comes after it.

WatchEntry GapAt(NodeId source) {
  WatchEntry entry;
  entry.gap_at = std::move(source);
  return entry;
}

Refusal Exhausted(const char* message) {
  return {Refusal::Kind::kExhausted, message, {}, Duration::Seconds(1)};
}

}  // namespace

Board::Board(AnnounceConfig config, NodeId self, std::vector<AnnounceRecord> recovered)
    : config_(config), self_(std::move(self)) {
  std::map<SaeId, std::map<uint64_t, Chunk>> chunks;
  for (AnnounceRecord& record : recovered) {
    std::visit(Overload{
                   [&](WatchRecord& r) {
                     if (!r.erased) lists_[r.sae].complete = std::move(r.complete);
                   },
                   [&](WatchChunkRecord& r) {
                     if (r.erased) return;
                     chunks[r.sae][r.first] = {r.first, r.life, std::move(r.entries)};
                   },
                   [&](AnnouncedRecord& r) {
                     sources_[r.source].life = r.life;
                     sources_[r.source].taken = r.taken;
                   },
               },
               record);
  }
  for (auto& [sae, list] : lists_) {
    for (auto& [first, chunk] : chunks[sae]) {
      list.kept += chunk.entries.size();
      list.next = chunk.end();
      list.chunks.push_back(std::move(chunk));
    }
  }
  if (!lists_.empty()) interest_ = 1;
}

std::optional<uint64_t> Board::LifeOf(const List& list, uint64_t number) {
  const auto chunk = std::find_if(list.chunks.begin(), list.chunks.end(), [&](const Chunk& c) {
    return c.first <= number && number < c.end();
  });
  if (chunk == list.chunks.end()) return std::nullopt;
  return chunk->life;
}

void Board::Watch(Instant now, uint64_t token, WatchRequest request, BoardOutbox& out) {
  auto it = lists_.find(request.caller);
  if (it == lists_.end()) {
    if (lists_.size() >= config_.saes_max) {
      return out.Answer(token, Exhausted("too many SAEs watch at this KME"), 0);
    }
    it = lists_.try_emplace(request.caller).first;
    it->second.life = out.Random();
    it->second.after = out.Write(WatchRecord{.sae = request.caller});
    ++interest_;
    wake_at_ = now;
  }
  List& list = it->second;
  // An entry is told apart from one of the same number that an older disk image had, by its life.
  const bool from_start = request.seen && request.seen->number == 0;
  const bool known = from_start
                         ? list.first() == 1
                         : request.seen && LifeOf(list, request.seen->number) == request.seen->life;
  const uint64_t next = known ? request.seen->number + 1 : list.first();
  const uint64_t entries_max = std::clamp(request.entries_max, kEntriesMin, kEntriesMax);
  if (!known) {
    WatchAnswer answer = Read(list, next, entries_max - 1);
    answer.entries.insert(answer.entries.begin(), GapAt(NodeId()));
    out.Answer(token, std::move(answer), list.after);
  } else if (next < list.next) {
    out.Answer(token, Read(list, next, entries_max), list.after);
  } else if (list.watchers.size() >= kWatchersPerSaeMax) {
    out.Answer(token, Exhausted("too many calls of this SAE watch at the same time"), 0);
    return;
  } else {
    list.watchers.push_back({token, request.call, next, entries_max});
  }
  list.forget_at = now + config_.watch_life;
}

// As many entries from `next` on as there are, none is fine.
WatchAnswer Board::Read(const List& list, uint64_t next, uint64_t entries_max) const {
  WatchAnswer answer;
  answer.seen = {LifeOf(list, next - 1).value_or(list.life), next - 1};
  for (const Chunk& chunk : list.chunks) {
    for (; next < chunk.end() && answer.entries.size() < entries_max; ++next) {
      answer.entries.push_back(chunk.entries[next - chunk.first]);
      answer.seen = {chunk.life, next};
    }
  }
  return answer;
}

void Board::Cancel(uint64_t call, BoardOutbox& out) {
  for (auto& [sae, list] : lists_) {
    std::erase_if(list.watchers, [&](const Watcher& watcher) {
      if (watcher.call != call) return false;
      out.Answer(watcher.token,
                 Refusal{Refusal::Kind::kUnavailable, "the call was cancelled", {}, std::nullopt},
                 0);
      return true;
    });
  }
}

void Board::Dismiss(const SaeId& sae, BoardOutbox& out) {
  const auto list = lists_.find(sae);
  if (list == lists_.end()) return;
  for (const Watcher& watcher : std::exchange(list->second.watchers, {})) {
    out.Answer(watcher.token,
               Refusal{Refusal::Kind::kUnauthorized, "Unauthorized", {}, std::nullopt}, 0);
  }
}

void Board::Serve(List& list, BoardOutbox& out) {
  std::erase_if(list.watchers, [&](const Watcher& watcher) {
    if (watcher.next >= list.next) return false;
    // Short of memory, an entry that somebody waited for may be gone already.
    const bool missed = watcher.next < list.first();
    WatchAnswer answer =
        Read(list, std::max(watcher.next, list.first()), watcher.entries_max - (missed ? 1 : 0));
    if (missed) answer.entries.insert(answer.entries.begin(), GapAt(NodeId()));
    out.Answer(watcher.token, std::move(answer), list.after);
    return true;
  });
}

void Board::Append(const SaeId& sae, List& list, std::vector<WatchEntry> entries,
                   BoardOutbox& out) {
  if (entries.empty()) return;
  // What would be dropped at once is not entered, but counted.
  const uint64_t most = std::min<uint64_t>(config_.kept_per_sae_max, kEntriesMax);
  if (entries.size() > most) {
    const uint64_t dropped = entries.size() - most;
    list.next += dropped;
    entries.erase(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(dropped));
    // Numbers in a list have no holes: what is older goes too.
    for (; !list.chunks.empty(); list.chunks.pop_front()) {
      out.Write(WatchChunkRecord{.sae = sae, .first = list.chunks.front().first, .erased = true});
    }
    list.kept = 0;
  }
  Chunk chunk{list.next, list.life, std::move(entries)};
  list.after = out.Write(WatchChunkRecord{sae, chunk.first, false, chunk.life, chunk.entries});
  list.next = chunk.end();
  list.kept += chunk.entries.size();
  list.chunks.push_back(std::move(chunk));
  while (list.kept > config_.kept_per_sae_max && list.chunks.size() > 1) {
    const Chunk& oldest = list.chunks.front();
    out.Write(WatchChunkRecord{.sae = sae, .first = oldest.first, .erased = true});
    list.kept -= oldest.entries.size();
    list.chunks.pop_front();
  }
  Serve(list, out);
}

void Board::On(const Announcements& m, const StreamDestination& end, const DeliveryContext& context,
               BoardOutbox& out) {
  if (!end.serving() || end.session() != m.session || !end.Vouches(m.epoch, LayoutOf(m), m.mac) ||
      m.first == 0) {
    return;
  }
  const NodeId& node = m.stream.source;
  Source& source = sources_[node];
  std::map<SaeId, std::vector<WatchEntry>> news;
  bool changed = false;
  if (source.life != m.session.first) {  // Who is complete for the life before is not for this one.
    source.life = m.session.first;
    source.taken = 0;
    changed = true;
  }
  const WatchEntry gap = GapAt(node);
  if (m.interest == interest_) {
    source.session = m.session;
    source.told = interest_;
    for (auto& [sae, list] : lists_) {
      Incarnation& complete = list.complete[node];
      if (complete == m.session.first) continue;
      complete = m.session.first;
      news[sae].push_back(gap);
      list.after = out.Write(WatchRecord{sae, false, list.complete});
    }
  }
  if (m.first > source.taken + 1) {
    for (const auto& [sae, list] : lists_) {
      if (!news.contains(sae)) news[sae].push_back(gap);
    }
    source.taken = m.first - 1;
    changed = true;
  }
  for (size_t i = 0; i < m.items.size(); ++i) {
    if (m.first + i <= source.taken) continue;
    source.taken = m.first + i;
    changed = true;
    const Announcement& item = m.items[i];
    const std::optional<SaeId> slave = context.LocalSae(item.slave_number);
    if (!slave || !lists_.contains(*slave)) continue;
    news[*slave].push_back({std::nullopt, item.id, item.master, uint64_t{item.length_bytes} * 8});
  }
  // In the batch of what it counts.
  if (changed) source.after = out.Write(AnnouncedRecord{node, source.life, source.taken});
  for (auto& [sae, entries] : news) Append(sae, lists_.at(sae), std::move(entries), out);
  if (m.items.empty()) return;
  AnnouncementsTaken taken{
      .stream = m.stream, .session = m.session, .epoch = m.epoch, .taken = source.taken};
  taken.mac = end.Vouch(taken.epoch, LayoutOf(taken));
  out.Send(node, std::move(taken), source.after);
}

void Board::Forget(const SaeId& sae, const List& list, BoardOutbox& out) {
  for (const Chunk& chunk : list.chunks) {
    out.Write(WatchChunkRecord{.sae = sae, .first = chunk.first, .erased = true});
  }
  out.Write(WatchRecord{.sae = sae, .erased = true});
  ++interest_;
}

void Board::Report(Instant now, const NodeId& node, Source& source, const StreamDestination& end,
                   const DeliveryContext& context, BoardOutbox& out) {
  InterestReport report{.stream = {node, self_},
                        .session = end.session(),
                        .epoch = end.Epochs().front(),
                        .number = interest_,
                        .taken_of = source.life,
                        .taken = source.taken};
  for (const auto& [sae, list] : lists_) {
    const auto entry = context.FindSae(sae);
    if (entry && entry->home == self_) report.slaves.push_back(entry->number);
  }
  std::sort(report.slaves.begin(), report.slaves.end());
  report.mac = end.Vouch(report.epoch, LayoutOf(report));
  // The records of the lists and of what was taken come first.
  WriteSeq after = source.after;
  for (const auto& [sae, list] : lists_) after = std::max(after, list.after);
  out.Send(node, std::move(report), after);
  source.ask_at = now + config_.retry * std::min<int64_t>(1 + source.tries++, kSlowestRetry);
}

void Board::OnTick(Instant now, const Destinations& ends, const DeliveryContext& context,
                   BoardOutbox& out) {
  if (!started_) {
    started_ = true;
    for (auto& [sae, list] : lists_) {
      list.life = out.Random();
      list.forget_at = now + config_.watch_life;
    }
  }
  wake_at_.reset();
  const auto wake = [&](Instant at) { wake_at_ = std::min(wake_at_.value_or(at), at); };
  for (auto it = lists_.begin(); it != lists_.end();) {
    List& list = it->second;
    if (!list.watchers.empty()) list.forget_at = now + config_.watch_life;
    if (*list.forget_at <= now) {
      Forget(it->first, list, out);
      it = lists_.erase(it);
      continue;
    }
    wake(*list.forget_at);
    ++it;
  }
  if (interest_ == 0) return;
  for (const auto& [pair, end] : ends) {
    // One stream of a pair is enough to talk by.
    if (pair.paths > 1 || !end->serving() || end->Epochs().empty()) continue;
    const NodeId& node = pair.node;
    Source& source = sources_[node];
    if (source.session != end->session()) {
      source.session = end->session();
      source.told = 0;
      source.tries = 0;
      source.ask_at = now;
    }
    if (source.told == interest_) continue;
    if (source.ask_at <= now) Report(now, node, source, *end, context, out);
    wake(source.ask_at);
  }
}

std::optional<Instant> Board::NextDeadline() const {
  if (!started_) return Instant{0};
  return wake_at_;
}

}  // namespace keyhop
