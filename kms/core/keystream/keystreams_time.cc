// Key streams: records, lives, and what each touch of a stream leads to.
#include <algorithm>
#include <utility>

#include "kms/core/keystream/keystreams.h"

namespace keyhop {
namespace {

constexpr Duration kAgain = Duration::Millis(500);
constexpr int kTicksMax = 1024;  // Streams that one tick looks at.

}  // namespace

void Keystreams::SetPacers(Stream& stream) const {
  for (Side& side : stream.sides) {
    side.pacer =
        Pacer(stream.qos.max_bps, stream.qos.jitter_bps, uint64_t{stream.qos.chunk_bytes} * 8);
  }
}

// ---- Records.

void Keystreams::Persist(Stream& stream, KeystreamContext& context) {
  KeystreamRecord record;
  record.id = stream.id;
  for (size_t i = 0; i < 2; ++i) {
    record.saes[i] = stream.sides[i].sae;
    record.opened[i] = stream.sides[i].opened;
    record.closed[i] = stream.sides[i].closed;
  }
  record.qos = stream.qos;
  record.next_index = stream.next_index;
  record.settled_below = stream.settled_below;
  stream.after = context.Write(std::move(record));
}

void Keystreams::Persist(Stream& stream, uint64_t index, const Chunk& chunk,
                         KeystreamContext& context) {
  stream.after = context.Write(KeystreamChunkRecord{.id = stream.id,
                                                    .index = index,
                                                    .erased = false,
                                                    .key_id = chunk.key_id,
                                                    .hops = chunk.hops,
                                                    .taken = chunk.taken,
                                                    .life_left = chunk.life_left});
}

void Keystreams::Start(Instant now, KeystreamContext& context) {
  for (const KeystreamRecord& record : std::exchange(recovered_, {})) {
    if (record.erased) continue;
    Stream* const made = Make(now, record.id, record.saes, record.qos, context);
    if (made == nullptr) {  // The limit was lowered.
      context.Write(KeystreamRecord{.id = record.id, .erased = true});
      continue;
    }
    for (size_t i = 0; i < 2; ++i) {
      made->sides[i].opened = record.opened[i];
      made->sides[i].closed = record.closed[i];
    }
    made->next_index = record.next_index;
    made->settled_below = made->confirmed_below = record.settled_below;
    if (made->closing()) made->closes_at = now + Duration::Seconds(record.qos.ttl_s);
  }
  for (KeystreamChunkRecord& record : std::exchange(recovered_chunks_, {})) {
    const auto it = streams_.find(record.id);
    if (record.erased) continue;
    if (it == streams_.end()) {
      context.Write(KeystreamChunkRecord{.id = record.id, .index = record.index, .erased = true});
      continue;
    }
    it->second.chunks[record.index] = Chunk{.key_id = record.key_id,
                                            .hops = record.hops,
                                            .taken = record.taken,
                                            .since = now,
                                            .ends = now + record.life_left,
                                            .life_left = record.life_left};
  }
  std::vector<KeyId> ids;
  for (auto& [id, stream] : streams_) {
    ids.push_back(id);
    Tell(now, stream);
  }
  for (const KeyId& id : ids) {
    const auto it = streams_.find(id);
    const auto& sides = it->second.sides;
    // An SAE that is not known any more takes its streams with it.
    const bool known = !sides[0].home.empty() && !sides[1].home.empty();
    if (!known || (!sides[0].local && !sides[1].local)) {
      Erase(it, context);
    } else {
      Touch(now, id, context);
    }
  }
}

// ---- Lives.

bool Keystreams::Forgettable(const Stream& stream, uint64_t index, const Chunk& chunk) const {
  for (size_t i = 0; i < 2; ++i) {
    if (stream.sides[i].local && !chunk.taken[i]) return false;
  }
  if (stream.at_home()) return true;
  // The other end may have to be told, or told off, until then.
  return index < (stream.allocator ? stream.confirmed_below : stream.settled_below);
}

void Keystreams::Forget(Stream& stream, std::map<uint64_t, Chunk>::iterator it,
                        KeystreamContext& context) {
  stream.after =
      context.Write(KeystreamChunkRecord{.id = stream.id, .index = it->first, .erased = true});
  stream.chunks.erase(it);
}

bool Keystreams::Burn(Stream& stream, uint64_t, Chunk& chunk, size_t side,
                      KeystreamContext& context) {
  WriteSeq after = 0;
  const auto taken = context.Take(stream.sides[side].sae, stream.sides[0].sae, chunk.key_id, after);
  const auto* refusal = std::get_if<Refusal>(&taken);
  if (refusal != nullptr && (refusal->kind == Refusal::Kind::kUnavailable ||
                             refusal->kind == Refusal::Kind::kExhausted)) {
    return false;
  }
  chunk.taken[side] = true;
  ++counters_.expired;
  return true;
}

void Keystreams::BurnLate(Instant now, Stream& stream, KeystreamContext& context) {
  for (auto it = stream.chunks.begin(); it != stream.chunks.end();) {
    const auto next = std::next(it);
    auto& [index, chunk] = *it;
    bool changed = false;
    for (size_t i = 0; i < 2; ++i) {
      const Side& side = stream.sides[i];
      const bool over = chunk.ends <= now || side.closed;
      if (!side.local || chunk.taken[i] || !over) continue;
      if (Burn(stream, index, chunk, i, context)) {
        changed = true;
      } else {
        chunk.ends = std::max(chunk.ends, now + kAgain);
      }
    }
    if (Forgettable(stream, index, chunk)) {
      Forget(stream, it, context);
    } else if (changed) {
      Persist(stream, index, chunk, context);
    }
    it = next;
  }
}

// ---- Work.

bool Keystreams::ServeOpens(Instant now, Stream& stream, KeystreamContext& context) {
  bool undo = false;
  std::erase_if(stream.opens, [&](const WaitingOpen& open) {
    const bool done =
        stream.established() || (open.made_id && (stream.at_home() || stream.peer_heard));
    if (done) {
      AnswerOpen(open, stream, context);
    } else if (open.until <= now) {
      ++counters_.refused;
      undo |= open.undo;
      AnswerStatus(open.token, KeystreamStatus::kTimeout, context);
    } else {
      return false;
    }
    --waiting_;
    return true;
  });
  if (!undo || !stream.opens.empty()) return true;
  // The other KME forgets it too, or waits for another call here if its own SAE called meanwhile.
  // It is not closed: under the same ID it may be tried again.
  stream.sides[stream.sides[0].local ? 0 : 1].opened = false;
  if (!stream.at_home()) context.Say(stream.peer, NoteOf(stream, context), 0);
  return false;
}

void Keystreams::ServeGets(Instant now, Stream& stream, KeystreamContext& context) {
  std::erase_if(stream.gets, [&](const WaitingGet& get) {
    if (stream.sides[get.side].closed) {
      context.Answer(
          get.token,
          Refusal{Refusal::Kind::kNotFound, "no such key stream is open here", {}, std::nullopt},
          0);
    } else {
      WriteSeq after = 0;
      auto answer = TryGet(now, stream, get, after, context);
      if (!answer && now < get.until) return false;
      if (!answer) {
        answer.emplace();
        answer->status = LateGet(stream, get, context);
        answer->id = stream.id;
        answer->index = get.request.index;
        answer->next_index = stream.next_index;
      }
      context.Answer(get.token, *std::move(answer), after);
    }
    --waiting_;
    return true;
  });
}

bool Keystreams::Work(Instant now, Stream& stream, KeystreamContext& context) {
  const Side& theirs = stream.sides[stream.allocator ? 1 : 0];
  if (stream.closes_at && stream.established() && !stream.closing()) stream.closes_at.reset();
  if (stream.closes_at && *stream.closes_at <= now) return false;
  if (!stream.closes_at && stream.last_call + config_.idle <= now) {
    for (Side& side : stream.sides) side.closed |= side.local;
    stream.closes_at = now + Duration::Seconds(stream.qos.ttl_s);
    Persist(stream, context);
    Tell(now, stream);
  }
  if (!ServeOpens(now, stream, context)) return false;
  ServeGets(now, stream, context);
  BurnLate(now, stream, context);
  if (stream.sides[0].closed && stream.sides[1].closed) {
    // The other KME knows: it said that it closed its side, and this side's end was answered.
    if (stream.at_home() || (!stream.unsaid && stream.asked == 0)) return false;
  }
  if (!stream.at_home() && (theirs.closed || !theirs.opened) &&
      !stream.sides[stream.allocator ? 0 : 1].opened) {
    return false;  // Given up before anybody joined.
  }
  if (ChunksToDraw(stream) > 0) {
    hungry_.insert(stream.id);
  } else {
    hungry_.erase(stream.id);
  }
  if (stream.at_home()) return true;
  const bool wants = !stream.allocator && stream.want_below > stream.want_said &&
                     stream.next_index < stream.want_below + Ahead(stream) / 2 + 1;
  const bool has_room =
      !stream.allocator && LimitBelow(stream) >= stream.limit_said + config_.chunks_max / 2;
  if (wants || has_room) Tell(now, stream);
  if (!stream.say_at && Unconfirmed(stream)) stream.say_at = now + config_.retry * 4;
  if (stream.say_at && *stream.say_at <= now) Speak(now, stream, context);
  return true;
}

void Keystreams::Touch(Instant now, const KeyId& id, KeystreamContext& context) {
  const auto it = streams_.find(id);
  if (it == streams_.end()) return;
  if (Work(now, it->second, context)) {
    Arm(now, it->second);
  } else {
    Erase(it, context);
  }
}

void Keystreams::Erase(Streams::iterator it, KeystreamContext& context) {
  Stream& stream = it->second;
  for (Side& side : stream.sides) side.closed = true;
  for (const WaitingOpen& open : stream.opens) {
    --waiting_;
    AnswerStatus(open.token, KeystreamStatus::kTimeout, context);
  }
  stream.opens.clear();
  ServeGets(Instant{}, stream, context);
  for (auto chunk = stream.chunks.begin(); chunk != stream.chunks.end();) {
    const auto next = std::next(chunk);
    for (size_t i = 0; i < 2; ++i) {
      if (stream.sides[i].local && !chunk->second.taken[i]) {
        Burn(stream, chunk->first, chunk->second, i, context);
      }
    }
    Forget(stream, chunk, context);
    chunk = next;
  }
  context.Write(KeystreamRecord{.id = stream.id, .erased = true});
  if (!stream.at_home()) {
    const auto peer = peers_.find(stream.peer);
    if (--peer->second == 0) peers_.erase(peer);
  }
  const auto armed = armed_.find(stream.id);
  if (armed != armed_.end()) {
    timers_.erase({armed->second, stream.id});
    armed_.erase(armed);
  }
  hungry_.erase(stream.id);
  streams_.erase(it);
}

void Keystreams::DropAll(Instant, KeystreamContext& context) {
  while (!streams_.empty()) Erase(streams_.begin(), context);
}

// ---- Time.

std::optional<Instant> Keystreams::DeadlineOf(Instant now, const Stream& stream) const {
  std::optional<Instant> next = stream.say_at;
  const auto take = [&](Instant t) {
    if (!next || t < *next) next = t;
  };
  take(stream.closes_at.value_or(stream.last_call + config_.idle));
  for (const WaitingOpen& open : stream.opens) take(open.until);
  for (const WaitingGet& get : stream.gets) {
    take(get.until);
    const Instant free = stream.sides[get.side].pacer.FreeAt();
    if (now < free) take(free);
  }
  for (const auto& [index, chunk] : stream.chunks) {
    for (size_t i = 0; i < 2; ++i) {
      if (stream.sides[i].local && !chunk.taken[i]) take(chunk.ends);
    }
  }
  if (hungry_.contains(stream.id)) take(std::max(stream.draw_not_before, now + kAgain));
  // A chunk whose KME was not heard yet is asked for again.
  if (!stream.gets.empty()) take(now + kAgain);
  return next;
}

void Keystreams::Arm(Instant now, const Stream& stream) {
  const auto at = DeadlineOf(now, stream);
  const auto armed = armed_.find(stream.id);
  if (armed != armed_.end()) {
    if (at == armed->second) return;
    timers_.erase({armed->second, stream.id});
    armed_.erase(armed);
  }
  if (!at) return;
  timers_.insert({*at, stream.id});
  armed_.emplace(stream.id, *at);
}

std::optional<Instant> Keystreams::NextDeadline() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

void Keystreams::OnTick(Instant now, KeystreamContext& context) {
  for (int i = 0; i < kTicksMax && !timers_.empty() && timers_.begin()->first <= now; ++i) {
    const KeyId id = timers_.begin()->second;
    timers_.erase(timers_.begin());
    armed_.erase(id);
    Touch(now, id, context);
  }
  DrawFor(now, context);
}

}  // namespace keyhop
