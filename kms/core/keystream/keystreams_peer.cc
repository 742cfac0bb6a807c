// Key streams: what the two KMEs tell each other, and what is drawn for them.
#include <algorithm>
#include <tuple>
#include <utility>

#include "kms/core/keystream/admission.h"
#include "kms/core/keystream/keystreams.h"
#include "kms/core/stream/word.h"

namespace keyhop {
namespace {

constexpr uint32_t kChunksPerDraw = 16;
constexpr uint64_t kNoticeHeadBytes = 32;  // Of the notice to this KME's own SAE.
constexpr Duration kDrawAgain = Duration::Millis(100);
constexpr uint32_t kDrawsFailedMax = 5;

uint64_t BitsOf(const KeystreamQos& qos) { return uint64_t{qos.chunk_bytes} * 8; }

}  // namespace

// ---- Streams come and go.

Keystreams::Stream* Keystreams::Make(Instant now, const KeyId& id, const std::array<SaeId, 2>& saes,
                                     const KeystreamQos& qos, const KeystreamContext& context) {
  if (streams_.size() >= config_.streams_max) return nullptr;
  Stream& stream = streams_[id];
  stream.id = id;
  stream.qos = qos;
  for (size_t i = 0; i < 2; ++i) {
    Side& side = stream.sides[i];
    side.sae = saes[i];
    side.home = context.HomeOf(saes[i]).value_or(NodeId{});
    side.local = side.home == context.Self();
  }
  stream.allocator = stream.sides[0].local;
  stream.peer = stream.sides[0].local ? stream.sides[1].home : stream.sides[0].home;
  if (!stream.at_home()) ++peers_[stream.peer];
  stream.last_call = now;
  stream.closes_at = now + config_.pending;
  SetPacers(stream);
  return &stream;
}

std::optional<KeystreamGone> Keystreams::WhyNot(const NodeId& from, const KeystreamNote& note,
                                                const KeystreamContext& context) const {
  const auto first = context.HomeOf(note.first);
  const auto second = context.HomeOf(note.second);
  const NodeId& self = context.Self();
  const bool ours = first && second && note.first < note.second &&
                    ((*first == self && *second == from) || (*first == from && *second == self));
  if (!ours || note.qos.chunk_bytes == 0) return KeystreamGone::kRefused;
  if (!note.opened || note.closed) return KeystreamGone::kUnknown;
  const SaeId& opener = *first == from ? note.first : note.second;
  if (OpenedBy(opener) >= config_.streams_per_sae_max) return KeystreamGone::kLimit;
  if (!Admit(note.qos, config_, AvailableTo(from, context)).met) return KeystreamGone::kQos;
  return std::nullopt;
}

void Keystreams::OnGone(Stream& stream, const KeystreamNote& note, KeystreamContext& context) {
  const KeystreamGone why = *note.gone;
  for (const WaitingOpen& open : std::exchange(stream.opens, {})) {
    --waiting_;
    ++counters_.refused;
    if (why == KeystreamGone::kLimit) {
      context.Answer(open.token,
                     Refusal{Refusal::Kind::kExhausted,
                             "too many key streams at the other KME; retry",
                             {},
                             Duration::Seconds(1)},
                     0);
      continue;
    }
    KeystreamAnswer answer;
    answer.status = why == KeystreamGone::kIdInUse ? KeystreamStatus::kIdInUse
                    : why == KeystreamGone::kQos   ? KeystreamStatus::kQosNotMet
                                                   : KeystreamStatus::kNoConnection;
    answer.id = stream.id;
    answer.qos = why == KeystreamGone::kQos ? note.qos : stream.qos;
    context.Answer(open.token, std::move(answer), 0);
  }
  Erase(streams_.find(stream.id), context);
}

// ---- Notes.

bool Keystreams::OtherHas(const Stream& stream, uint64_t index) const {
  return stream.at_home() || !stream.allocator || index < stream.confirmed_below;
}

bool Keystreams::Unconfirmed(const Stream& stream) const {
  return stream.allocator && !stream.at_home() && !stream.chunks.empty() &&
         stream.chunks.rbegin()->first >= stream.confirmed_below;
}

uint64_t Keystreams::LimitBelow(const Stream& stream) const {
  uint32_t live = 0;
  for (const auto& [index, chunk] : stream.chunks) {
    for (size_t i = 0; i < 2; ++i) live += stream.sides[i].local && !chunk.taken[i] ? 1 : 0;
  }
  return stream.next_index + config_.chunks_max - std::min(live, config_.chunks_max);
}

KeystreamNote Keystreams::NoteOf(Stream& stream, const KeystreamContext& context) {
  KeystreamNote note;
  const Side& mine = stream.sides[stream.allocator ? 0 : 1];
  note.number = ++last_number_;
  note.stream = {context.Self(), stream.peer};
  note.id = stream.id;
  note.first = stream.sides[0].sae;
  note.second = stream.sides[1].sae;
  note.qos = stream.qos;
  note.opened = mine.opened;
  note.closed = mine.closed;
  note.next_index = stream.next_index;
  note.settled_below = stream.settled_below;
  note.want_below = stream.want_said = stream.want_below;
  note.limit_below = stream.limit_said = LimitBelow(stream);
  if (!stream.allocator) return note;
  for (auto it = stream.chunks.lower_bound(stream.confirmed_below);
       it != stream.chunks.end() && note.chunks.size() < kKeystreamChunksPerNote; ++it) {
    note.chunks.push_back({it->first, it->second.key_id, it->second.hops});
  }
  return note;
}

void Keystreams::Tell(Instant now, Stream& stream) {
  if (stream.at_home()) return;
  stream.unsaid = true;
  stream.tries = 0;
  stream.say_at = now;
}

void Keystreams::Speak(Instant now, Stream& stream, KeystreamContext& context) {
  KeystreamNote note = NoteOf(stream, context);
  note.ask = true;
  if (std::exchange(stream.unsaid, false) || stream.asked == 0) stream.asked = note.number;
  stream.say_at = now + config_.retry * (1 + std::min(stream.tries, 8));
  ++stream.tries;
  context.Say(stream.peer, std::move(note), stream.after);
}

void Keystreams::SayGone(const NodeId& to, const KeystreamNote& asked, KeystreamGone why,
                         KeystreamContext& context) {
  KeystreamNote note;
  note.number = ++last_number_;
  note.reply_to = asked.number;
  note.stream = {context.Self(), to};
  note.id = asked.id;
  note.first = asked.first;
  note.second = asked.second;
  note.qos = asked.qos;
  if (why == KeystreamGone::kQos) {
    note.qos = Admit(asked.qos, config_, AvailableTo(to, context)).granted;
  }
  note.gone = why;
  context.Say(to, std::move(note), 0);
}

void Keystreams::OnNote(Instant now, const NodeId& from, const KeystreamNote& note,
                        KeystreamContext& context) {
  auto it = streams_.find(note.id);
  if (it == streams_.end()) {
    if (note.gone || !note.ask) return;
    auto why = WhyNot(from, note, context);
    if (!why && Make(now, note.id, {note.first, note.second}, note.qos, context) == nullptr) {
      why = KeystreamGone::kLimit;
    }
    if (why) return SayGone(from, note, *why, context);
    it = streams_.find(note.id);
    // An allocator that forgot the stream goes on above what the other has.
    if (it->second.allocator) {
      it->second.next_index = it->second.confirmed_below = note.next_index;
    }
    Persist(it->second, context);
  }
  Stream& stream = it->second;
  const bool same = stream.peer == from && stream.sides[0].sae == note.first &&
                    stream.sides[1].sae == note.second;
  if (!same) {
    if (!note.gone && note.ask) SayGone(from, note, KeystreamGone::kIdInUse, context);
    return;
  }
  // What is believed is of the sender's present start; a restored one counts its starts anew.
  const Incarnation& start = note.session.first;
  if (stream.heard.first == start && note.number <= stream.heard.second) return;
  stream.heard = {start, note.number};
  const bool answers = note.reply_to != 0 && stream.asked != 0 && note.reply_to >= stream.asked;
  if (note.gone) {
    if (answers) OnGone(stream, note, context);
    return;
  }
  stream.peer_heard = true;
  if (answers && !stream.unsaid) {
    stream.asked = 0;
    stream.tries = 0;
    stream.say_at.reset();
  }
  MergeNote(now, stream, note, context);
  Touch(now, note.id, context);
  DrawFor(now, context);
}

void Keystreams::MergeNote(Instant now, Stream& stream, const KeystreamNote& note,
                           KeystreamContext& context) {
  Side& theirs = stream.sides[stream.allocator ? 1 : 0];
  const bool news = theirs.opened != note.opened || (note.closed && !theirs.closed) ||
                    (!stream.allocator && stream.qos != note.qos);
  if (note.closed && !theirs.closed) stream.closes_at = now + Duration::Seconds(stream.qos.ttl_s);
  if (theirs.opened && !note.opened && !stream.closes_at) stream.closes_at = now + config_.pending;
  theirs.opened = note.opened;
  theirs.closed |= note.closed;
  NoteWant(now, stream, stream.peer_want_below, note.want_below);
  stream.peer_limit_below = note.limit_below;
  if (!stream.allocator && stream.qos != note.qos && note.qos.chunk_bytes != 0) {
    stream.qos = note.qos;  // Both ends opened it at once: the allocator's QoS holds.
    SetPacers(stream);
  }
  if (news) Persist(stream, context);
  bool conflict = false;
  if (stream.allocator) {
    MergeAtAllocator(stream, note, context);
  } else {
    const uint64_t before = stream.next_index;
    conflict = !TakeChunks(now, stream, note, context);
    // Nothing is given at the allocator before it hears of it.
    if (!note.ask && before < stream.next_index) Tell(now, stream);
  }
  if (!note.ask) return;
  KeystreamNote reply = NoteOf(stream, context);
  reply.reply_to = note.number;
  reply.conflict = conflict;
  context.Say(stream.peer, std::move(reply), stream.after);
}

void Keystreams::MergeAtAllocator(Stream& stream, const KeystreamNote& note,
                                  KeystreamContext& context) {
  const bool older_than_told = note.conflict || note.settled_below > stream.settled_below ||
                               note.next_index > stream.next_index;
  if (!older_than_told) {
    stream.confirmed_below = note.next_index;
    return;
  }
  // This end was further once: what it drew since for indices that the other has is void.
  for (auto it = stream.chunks.lower_bound(std::min(stream.confirmed_below, note.next_index));
       it != stream.chunks.end();) {
    const auto next = std::next(it);
    if (!it->second.taken[0]) Burn(stream, it->first, it->second, 0, context);
    Forget(stream, it, context);
    it = next;
  }
  stream.next_index = std::max(stream.next_index, note.next_index);
  stream.confirmed_below = stream.next_index;
  Persist(stream, context);
}

bool Keystreams::TakeChunks(Instant now, Stream& stream, const KeystreamNote& note,
                            KeystreamContext& context) {
  bool agrees = true;
  uint64_t limit = LimitBelow(stream);
  const uint64_t before = stream.next_index;
  for (const KeystreamNote::Chunk& told : note.chunks) {
    if (told.index < stream.next_index) {
      const auto it = stream.chunks.find(told.index);
      agrees &= it != stream.chunks.end() && it->second.key_id == told.key_id;
      continue;
    }
    // Where an index is passed over, the limit moves with it.
    limit += told.index - stream.next_index;
    if (told.index >= limit || told.index >= kKeystreamIndices) break;
    Chunk& chunk = stream.chunks[told.index];
    chunk.key_id = told.key_id;
    chunk.hops = told.hops;
    chunk.since = now;
    chunk.life_left = Duration::Seconds(stream.qos.ttl_s);
    chunk.ends = now + chunk.life_left;
    stream.next_index = told.index + 1;
    Persist(stream, told.index, chunk, context);
  }
  if (stream.settled_below < note.settled_below) {
    stream.settled_below = note.settled_below;
    for (auto it = stream.chunks.begin(); it != stream.chunks.end();) {
      const auto next = std::next(it);
      if (Forgettable(stream, it->first, it->second)) Forget(stream, it, context);
      it = next;
    }
    Persist(stream, context);
  } else if (stream.next_index != before) {
    Persist(stream, context);
  }
  return agrees;
}

// ---- What the allocator draws.

uint32_t Keystreams::Ahead(const Stream& stream) const {
  const uint64_t a_second = stream.qos.max_bps / std::max<uint64_t>(1, BitsOf(stream.qos));
  const int64_t half_life = Duration::Seconds(stream.qos.ttl_s).ns / 2;
  const int64_t step = std::max<int64_t>(1, stream.ask_step.ns);
  return static_cast<uint32_t>(
      std::min({std::max<uint64_t>(1, a_second), static_cast<uint64_t>(half_life / step),
                uint64_t{config_.ahead_max}}));
}

void Keystreams::NoteWant(Instant now, Stream& stream, uint64_t& want, uint64_t below) const {
  const uint64_t before = std::max(stream.want_below, stream.peer_want_below);
  if (below > before) {
    stream.ask_step = (now - stream.asked_at) / static_cast<int64_t>(below - before);
    stream.asked_at = now;
  }
  want = std::max(want, below);
}

uint32_t Keystreams::ChunksToDraw(const Stream& stream) const {
  if (!stream.allocator || !stream.established() || stream.closing()) return 0;
  if (stream.drawing != 0) return 0;
  const uint64_t want = std::max(stream.want_below, stream.peer_want_below);
  const uint32_t ahead = Ahead(stream);
  // Not for every chunk that is read: several share a notice.
  if (want == 0 || stream.next_index >= want + (ahead + 1) / 2) return 0;
  uint64_t below = std::min({want + ahead, LimitBelow(stream), kKeystreamIndices});
  if (!stream.at_home()) below = std::min(below, stream.peer_limit_below);
  if (below <= stream.next_index) return 0;
  const uint64_t most = std::max<uint64_t>(1, kChunksPerDraw >> stream.draws_failed);
  return static_cast<uint32_t>(std::min(below - stream.next_index, most));
}

StreamDemand Keystreams::Demand(const NodeId& home) const {
  StreamDemand most;
  for (const KeyId& id : hungry_) {
    const Stream& stream = streams_.at(id);
    const uint64_t size = RoundUpToWord(stream.qos.chunk_bytes);
    const uint64_t bytes = ChunksToDraw(stream) * size;
    if (bytes == 0) continue;
    StreamDemand here;
    if (stream.peer == home) here = {bytes, size};
    if (stream.sides[0].home == home) {
      here = {here.bytes + bytes + kNoticeHeadBytes, std::max(size, kNoticeHeadBytes)};
    }
    most = Larger(most, here);
  }
  return most;
}

void Keystreams::DrawFor(Instant now, KeystreamContext& context) {
  using Order = std::tuple<bool, uint32_t, Instant, KeyId>;
  std::vector<Order> order;
  for (const KeyId& id : hungry_) {
    const Stream& stream = streams_.at(id);
    if (ChunksToDraw(stream) == 0 || now < stream.draw_not_before) continue;
    const bool on_time = stream.qos.min_bps == 0 || now < stream.due_by_min;
    order.emplace_back(on_time, UINT32_MAX - stream.qos.priority, stream.drew_at, id);
  }
  std::sort(order.begin(), order.end());
  std::set<NodeId> dry;
  for (const auto& [on_time, rank, drew_at, id] : order) {
    Stream& stream = streams_.at(id);
    // Who comes later gets nothing of what who comes first waits for.
    if (dry.contains(stream.peer)) continue;
    const auto draw = [&](uint32_t number) {
      return context.BeginDraw(last_ticket_ + 1, stream.sides[0].sae, stream.sides[1].sae, number,
                               stream.qos.chunk_bytes);
    };
    const uint32_t number = ChunksToDraw(stream);
    uint32_t drawn = draw(number) ? number : 0;
    if (drawn == 0 && number > 1 && draw(1)) drawn = 1;
    if (drawn == 0) {
      dry.insert(stream.peer);
      continue;
    }
    stream.drawing = ++last_ticket_;
    draws_[stream.drawing] = id;
    stream.drew_at = now;
    if (stream.qos.min_bps > 0) {
      const uint64_t step = drawn * BitsOf(stream.qos) * 1'000'000'000 / stream.qos.min_bps;
      stream.due_by_min = std::max(now, stream.due_by_min) + Duration{static_cast<int64_t>(step)};
    }
  }
}

void Keystreams::OnDrawn(Instant now, uint64_t ticket, const std::vector<KeyId>& key_ids,
                         WriteSeq after, KeystreamContext& context) {
  const auto draw = draws_.find(ticket);
  if (draw == draws_.end()) return;
  const KeyId id = draw->second;
  draws_.erase(draw);
  const auto it = streams_.find(id);
  // Closed meanwhile: nobody learns these key_IDs.
  if (it == streams_.end() || it->second.drawing != ticket) return;
  Stream& stream = it->second;
  stream.drawing = 0;
  if (key_ids.empty()) {
    // What it took is burnt: the next one is smaller, and comes later.
    stream.draws_failed = std::min(stream.draws_failed + 1, kDrawsFailedMax);
    stream.draw_not_before = now + kDrawAgain * (int64_t{1} << stream.draws_failed);
  } else {
    stream.draws_failed = 0;
    const uint32_t hops = stream.at_home() ? 0 : context.HopsTo(stream.peer);
    // What the peer confirmed by now is settled: the record says so before the peer hears it.
    stream.settled_below = std::max(stream.settled_below, stream.confirmed_below);
    for (const KeyId& key_id : key_ids) {
      const uint64_t index = stream.next_index++;
      Chunk& chunk = stream.chunks[index];
      chunk.key_id = key_id;
      chunk.hops = hops;
      chunk.since = now;
      chunk.life_left = Duration::Seconds(stream.qos.ttl_s);
      chunk.ends = now + chunk.life_left;
      Persist(stream, index, chunk, context);
      ++counters_.allocated;
    }
    Persist(stream, context);
    stream.after = std::max(stream.after, after);
    Tell(now, stream);
  }
  Touch(now, id, context);
  DrawFor(now, context);
}

void Keystreams::OnKey(Instant now, KeystreamContext& context) {
  if (!hungry_.empty()) DrawFor(now, context);
}

}  // namespace keyhop
