#include "sim/net/sabotage.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "kms/base/overload.h"
#include "kms/core/stream/layout.h"
#include "kms/crypto/mac.h"
#include "sim/net/frame_pads.h"
#include "trusted_node/core/link/layout.h"
#include "trusted_node/core/node/layout.h"

namespace keyhop::sim {
namespace {

// Of a receive window that tells new frames from old ones by the number of their lease.
constexpr uint64_t kWindowLeases = 2;

constexpr std::array<BugInfo, kBugCount> kBugs = {{
    {"release_before_sync", "the gate lets outputs go before their writes are durable"},
    {"disk_loses_batches", "the disk says durable and keeps the last batch in its cache"},
    {"torn_batch", "a crash leaves the first half of a batch on the disk"},
    {"offset_not_durable", "the store drops the offsets that a source reserves"},
    {"marks_not_durable", "the store drops marks of pads and erases nothing that a lease took"},
    {"own_mark_only", "marks of hellos and refusals of leases do not reach the other end"},
    {"consumption_not_durable", "the store drops what says that a key was fetched"},
    {"lease_not_durable", "the store drops what says that a unit is leased"},
    {"incarnation_repeats", "every start of a node has the same incarnation"},
    {"draw_answer_repeated", "the front end gives an answer to a second caller"},
    {"caller_from_body", "the front end believes a fetch that names its slave itself"},
    {"answer_forgotten", "the gate drops answers that wait for a slow disk"},
    {"tag_not_checked", "frames changed on a middle hop pass the hop's MAC verifier"},
    {"end_check_not_checked", "segments changed on the last hop pass both MAC verifiers"},
    {"fetch_before_hello", "a restarted destination believes that it heard its source"},
    {"version_hidden", "a node with an old disk is never told that it was further"},
    {"stream_lease_unconfirmed", "a stream lease is used before its destination has it"},
    {"link_lease_unconfirmed", "a pad lease is used before the other end has it"},
    {"frame_sent_again", "the transport sends a frame a second time after a while, as its own"},
    {"payload_sent_again", "a payload is sent again under other pads"},
    {"ciphertext_clear", "a frame leaves before its payload is encrypted"},
    {"key_in_link_state", "key bytes get into the text of a flooded record"},
    {"module_repeats_run", "a QKD module delivers an old run's bytes as a new run"},
    {"hello_lost", "hellos of stream sources never arrive"},
    {"window_kept_over_restart", "what a receiver saw of a sender lasts over the sender's restart"},
    {"lease_tagged_by_its_pads", "requests for leases are tagged with the pads that they open"},
    {"announced_to_other", "announcements name another slave and pass the MAC verifier"},
    {"gap_not_told", "the front end leaves gaps out of what it tells a watcher"},
    {"supply_answered_early", "the answer to a supply notice leaves before the notice is durable"},
    {"supply_fetch_not_durable", "the store drops which slaves fetched a supplied key"},
    {"supply_unconfirmed", "a master gets keys whose supply notices never arrive"},
    {"answer_not_recorded", "the store drops what was answered under idempotency keys"},
    {"answer_before_record", "the gate lets keys go before their writes are durable"},
    {"idempotency_key_dropped", "the front end loses the idempotency keys of some requests"},
    {"chunk_misfiled", "the store puts key_IDs of a key stream's chunks under other indices"},
    {"paths_not_asked", "the front end loses over how many paths a draw wants its keys"},
    {"shares_meet", "a second share of a segment takes a node that saw the first one"},
}};

}  // namespace

const BugInfo& InfoOf(Bug bug) { return kBugs[static_cast<size_t>(bug)]; }

std::optional<Bug> FindBug(absl::string_view name) {
  for (size_t i = 0; i < kBugCount; ++i) {
    if (name == kBugs[i].name) return static_cast<Bug>(i);
  }
  return std::nullopt;
}

// ---- In the shell: gate, disk, front end.

void Saboteur::OnEffects(size_t, Effects& effects) {
  if (Is(Bug::kReleaseBeforeSync)) {
    for (auto& held : effects.outputs) held.after = 0;
  }
  if (Is(Bug::kSupplyAnsweredEarly)) {
    for (auto& held : effects.outputs) {
      const auto* send = std::get_if<SendToPeer>(&held.output);
      const auto* control = send ? std::get_if<RoutedControl>(&send->message) : nullptr;
      const auto* stream = control ? std::get_if<StreamMessage>(&control->body) : nullptr;
      if (stream && std::holds_alternative<SupplyAnswer>(*stream)) held.after = 0;
    }
  }
  if (Is(Bug::kAnswerBeforeRecord)) {
    for (auto& held : effects.outputs) {
      if (std::holds_alternative<KeysAnswered>(held.output)) held.after = 0;
    }
  }
  if (Is(Bug::kAnswerForgotten)) {
    std::erase_if(effects.outputs, [&](const Effects::Held& held) {
      return held.after != 0 && std::holds_alternative<KeysAnswered>(held.output) &&
             ++count_ % 16 == 0;
    });
  }
}

void Saboteur::WatchKeys(const Record& record) {
  const auto* stream = std::get_if<StreamRecord>(&record);
  const auto* epoch = stream ? std::get_if<EpochRecord>(stream) : nullptr;
  if (epoch == nullptr || !epoch->keys) return;
  const auto bytes = epoch->keys->Expose(SecretAccess::ForSimulation());
  stream_keys_[{epoch->stream, epoch->number}].assign(bytes.begin(), bytes.begin() + 32);
}

void Saboteur::OnBatch(size_t node, std::vector<Record>& batch) {
  if (!bug_) return;
  for (const Record& record : batch) WatchKeys(record);
  if (Is(Bug::kDiskLosesBatches)) std::swap(batch, held_back_[node]);
  std::erase_if(batch, [&](Record& record) {
    return std::visit(Overload{[&](NodeRecord&) { return Is(Bug::kIncarnationRepeats); },
                               [&](IdempotencyRecord&) { return Is(Bug::kAnswerNotRecorded); },
                               [&](KeystreamChunkRecord& chunk) {
                                 if (Is(Bug::kChunkMisfiled) && !chunk.erased) chunk.index ^= 1;
                                 return false;
                               },
                               [&](LinkRecordVariant& link) {
                                 if (!Is(Bug::kMarksNotDurable)) return false;
                                 if (auto* book = std::get_if<BookRecord>(&link)) book->mark = 0;
                                 const auto* pad = std::get_if<PadRecord>(&link);
                                 return pad != nullptr && !pad->bytes;
                               },
                               [&](StreamRecord& stream) {
                                 if (auto* source = std::get_if<SourceRecord>(&stream);
                                     source && Is(Bug::kOffsetNotDurable)) {
                                   source->reserved.offset = 0;
                                 }
                                 if (Is(Bug::kSupplyFetchNotDurable)) {
                                   auto* supply = std::get_if<SupplyRecord>(&stream);
                                   if (supply) {
                                     std::fill(supply->fetched.begin(), supply->fetched.end(), 0);
                                   }
                                   const auto* key = std::get_if<SupplyKeyRecord>(&stream);
                                   return key != nullptr && !key->body;
                                 }
                                 auto* state = std::get_if<UnitStateRecord>(&stream);
                                 if (state && Is(Bug::kLeaseNotDurable)) state->leased = false;
                                 if (!Is(Bug::kConsumptionNotDurable)) return false;
                                 if (state) std::fill(state->used.begin(), state->used.end(), 0);
                                 const auto* body = std::get_if<UnitBodyRecord>(&stream);
                                 return (state && state->erased) || (body && !body->body);
                               },
                               [](auto&) { return false; }},
                      record);
  });
}

void Saboteur::OnTornBatch(std::vector<Record>& batch) {
  const size_t kept = Is(Bug::kTornBatch) ? batch.size() / 2 : 0;
  batch.erase(batch.begin() + static_cast<std::ptrdiff_t>(kept), batch.end());
}

void Saboteur::OnCrash(size_t node) { held_back_.erase(node); }

void Saboteur::OnDraw(DrawRequest& request) {
  if (Is(Bug::kIdempotencyKeyDropped) && ++count_ % 3 == 0) request.idempotency_key.reset();
  if (Is(Bug::kPathsNotAsked)) request.extension_mandatory.clear();
}

void Saboteur::OnFetch(FetchRequest& request) {
  if (!Is(Bug::kCallerFromBody) || request.key_ids.empty()) return;
  const auto it = slave_of_.find(request.key_ids.front());
  if (it != slave_of_.end()) request.caller = it->second;
}

void Saboteur::OnWatchAnswer(WatchAnswer& answer) {
  if (!Is(Bug::kGapNotTold)) return;
  std::erase_if(answer.entries, [](const WatchEntry& entry) { return entry.gap_at.has_value(); });
}

void Saboteur::OnAnswer(const std::optional<DrawRequest>& draw, KeyContainer& keys) {
  if (!bug_ || !draw || keys.keys.empty()) return;
  for (const DeliveredKey& key : keys.keys) slave_of_[key.id] = draw->slave;
  const auto bytes = keys.keys[0].key.Expose(SecretAccess::ForSimulation());
  if (bytes.size() >= 24) last_key_.assign(bytes.begin(), bytes.end());
  if (!Is(Bug::kDrawAnswerRepeated)) return;
  if (last_answer_ && ++count_ % 50 == 0 && last_answer_->keys.size() == keys.keys.size() &&
      last_answer_->keys[0].key.size() == keys.keys[0].key.size()) {
    keys = *std::exchange(last_answer_, std::nullopt);
    return;
  }
  last_answer_.emplace();
  for (const DeliveredKey& key : keys.keys) {
    last_answer_->keys.push_back({key.id, key.key.Duplicate(SecretAccess::ForSimulation())});
  }
}

// ---- In the network: the accomplice knows pads and keys.

void Saboteur::ChangePayload(size_t link, size_t from, RelayFrame& frame) {
  if (frame.hop == 0 || frame.kind != SegmentKind::kBody) return;
  const bool last = size_t{frame.hop} + 2 == frame.path.size();
  if (last != Is(Bug::kEndCheckNotChecked)) return;
  std::vector<uint8_t> payload = PayloadOf(truth_, link, from, frame);
  if (payload.empty()) return;
  payload[kSegmentHeadBytes + count_++ % frame.body_bytes] ^= 0x20;
  if (last) {
    Segment segment{.stream = frame.stream,
                    .kind = frame.kind,
                    .session = frame.session,
                    .at = frame.at,
                    .path = frame.path,
                    .check = {},
                    .payload = {}};
    const std::span<const uint8_t> bytes(payload);
    frame.check = OneTimeTag(bytes.subspan(0, 16), bytes.subspan(16, 16),
                             CheckLayoutOf(segment, frame.body_bytes).bytes(),
                             bytes.subspan(kSegmentHeadBytes));
  }
  Seal(truth_, leases_, link, from, frame, payload);
}

void Saboteur::LeadAstray(size_t link, size_t from, RelayFrame& share) {
  if (share.hop != 0 || share.stream.paths < 2) return;
  if (share.share == 0) {
    first_share_[from] = share;
    return;
  }
  const auto first = first_share_.find(from);
  if (first == first_share_.end() || first->second.path.size() < 3 ||
      first->second.stream != share.stream || first->second.at != share.at) {
    return;
  }
  const std::vector<uint8_t> payload = PayloadOf(truth_, link, from, share);
  if (payload.empty()) return;
  share.path.insert(share.path.end() - 1, first->second.path[1]);
  Seal(truth_, leases_, link, from, share, payload);
}

void Saboteur::SignLink(size_t link, LinkMessage& message) const {
  SetMac(HmacSha256(plan_.LinkKey(link), LayoutOf(message).bytes()), message);
}

void Saboteur::SignControl(size_t link, RoutedControl& control) const {
  control.mac = HmacSha256(plan_.LinkKey(link),
                           LayoutOfOther(plan_.links[link].id, LayoutOf(control).bytes()).bytes());
}

void Saboteur::TagByPads(size_t link, size_t from, LinkLeaseRequest& request) const {
  if (request.blocks.empty()) return;
  const PadRange first{0, request.book, request.blocks[0].begin, 0, 32};
  std::vector<uint8_t> pads;
  if (!truth_.Append(link, first, truth_.EndOf(link, from), pads)) return;
  const std::span<const uint8_t> key(pads);
  const Tag tag =
      OneTimeTag(key.first(16), key.subspan(16), LayoutOf(LinkMessage(request)).bytes());
  std::copy(tag.begin(), tag.end(), request.mac.begin());
}

template <typename Message>
bool Saboteur::SignStream(Message& message) const {
  const auto key = stream_keys_.find({message.stream, message.epoch});
  if (key == stream_keys_.end()) return false;
  message.mac = HmacSha256(SecretBytes::CopyOf(key->second), LayoutOf(message).bytes());
  return true;
}

bool Saboteur::OnOutgoing(size_t from, size_t to, KxMessage& message,
                          std::vector<KxMessage>& again) {
  if (!bug_) return true;
  const size_t link = *plan_.LinkBetween(from, to);
  if (auto* m = std::get_if<LinkMessage>(&message)) {
    leases_.OnSent(from, *m);
    if (auto* request = std::get_if<LinkLeaseRequest>(m);
        request != nullptr && Is(Bug::kLeaseTaggedByItsPads)) {
      TagByPads(link, from, *request);
    }
    if (Is(Bug::kLinkLeaseUnconfirmed) && std::holds_alternative<LinkLeaseRequest>(*m)) {
      return false;
    }
  }
  if (auto* frame = std::get_if<RelayFrame>(&message)) {
    if (Is(Bug::kSharesMeet)) LeadAstray(link, from, *frame);
    if (Is(Bug::kFrameSentAgain) && ++count_ % 64 == 0) again.push_back(message);
    if (Is(Bug::kCiphertextClear) && frame->hop > 0 && ++count_ % 16 == 0) {
      frame->ciphertext = PayloadOf(truth_, link, from, *frame);
    }
    if (Is(Bug::kPayloadSentAgain) && frame->hop == 0 && frame->kind == SegmentKind::kBody) {
      std::vector<uint8_t>& last = last_payload_[from];
      const std::vector<uint8_t> payload = PayloadOf(truth_, link, from, *frame);
      if (last.size() == payload.size() && ++count_ % 16 == 0) {
        frame->ciphertext.assign(payload.size(), 0);
        Seal(truth_, leases_, link, from, *frame, last);
      }
      last = payload;
    }
  }
  if (auto* state = std::get_if<LinkState>(&message);
      state && Is(Bug::kKeyInLinkState) && !last_key_.empty()) {
    state->signature.append(last_key_.begin(), last_key_.end());
  }
  if (auto* control = std::get_if<RoutedControl>(&message)) {
    const auto* stream = std::get_if<StreamMessage>(&control->body);
    if (stream && Is(Bug::kStreamLeaseUnconfirmed) &&
        std::holds_alternative<StreamLeaseRequest>(*stream)) {
      return false;
    }
    if (stream && Is(Bug::kSupplyUnconfirmed) && std::holds_alternative<SupplyNotice>(*stream)) {
      return false;
    }
    const auto* hello = stream ? std::get_if<SourceHello>(stream) : nullptr;
    if (hello) sources_[hello->stream] = hello->source;
  }
  return true;
}

std::vector<KxMessage> Saboteur::Answers(size_t from, size_t to, const KxMessage& message) {
  if (!bug_) return {};
  const size_t link = *plan_.LinkBetween(from, to);
  if (const auto* m = std::get_if<LinkMessage>(&message); m && Is(Bug::kLinkLeaseUnconfirmed)) {
    const auto* request = std::get_if<LinkLeaseRequest>(m);
    if (request == nullptr) return {};
    LinkMessage answer = LinkLeaseAnswer{.link = request->link,
                                         .session = request->session,
                                         .direction = request->direction,
                                         .number = request->number,
                                         .refused = false,
                                         .book = request->book};
    SignLink(link, answer);
    return {std::move(answer)};
  }
  const auto* control = std::get_if<RoutedControl>(&message);
  const auto* stream = control ? std::get_if<StreamMessage>(&control->body) : nullptr;
  if (stream == nullptr || control->from != plan_.nodes[from]) return {};
  RoutedControl reply{.link_session = control->link_session,
                      .from = control->to,
                      .to = control->from,
                      .hop_limit = control->hop_limit,
                      .body = LacksKey{}};
  if (const auto* request = std::get_if<StreamLeaseRequest>(stream);
      request && Is(Bug::kStreamLeaseUnconfirmed)) {
    StreamLeaseAnswer answer{
        .stream = request->stream, .session = request->session, .number = request->number};
    const auto key = stream_keys_.find({request->stream, request->epoch});
    if (key == stream_keys_.end()) return {};
    answer.mac = HmacSha256(SecretBytes::CopyOf(key->second), LayoutOf(answer).bytes());
    reply.body = answer;
  } else if (const auto* notice = std::get_if<SupplyNotice>(stream);
             notice && Is(Bug::kSupplyUnconfirmed)) {
    SupplyAnswer answer{.stream = notice->stream,
                        .session = notice->session,
                        .number = notice->number,
                        .outcome = SupplyOutcome::kStands};
    const auto key = stream_keys_.find({notice->stream, notice->epoch});
    if (key == stream_keys_.end()) return {};
    answer.mac = HmacSha256(SecretBytes::CopyOf(key->second), LayoutOf(answer).bytes());
    reply.body = answer;
  } else if (const auto* hello = std::get_if<DestinationHello>(stream);
             hello && Is(Bug::kFetchBeforeHello) && !hello->heard) {
    const auto source = sources_.find(hello->stream);
    if (source == sources_.end()) return {};
    SourceHello forged{.stream = hello->stream,
                       .epoch = hello->epoch,
                       .source = source->second,
                       .echo = hello->destination};
    if (!SignStream(forged)) return {};
    reply.body = forged;
  } else {
    return {};
  }
  SignControl(link, reply);
  return {std::move(reply)};
}

bool Saboteur::OnIncoming(size_t from, size_t to, KxMessage& message) {
  if (!bug_) return true;
  const size_t link = *plan_.LinkBetween(from, to);
  if (auto* frame = std::get_if<RelayFrame>(&message)) {
    if (Is(Bug::kTagNotChecked) || Is(Bug::kEndCheckNotChecked)) {
      ChangePayload(link, from, *frame);
    }
    if (Is(Bug::kWindowKeptOverRestart) && !frame->pads.empty()) {
      uint64_t& newest = newest_lease_[{from, to}];
      if (frame->pads[0].lease + kWindowLeases < newest) return false;
      newest = std::max(newest, frame->pads[0].lease);
    }
    return true;
  }
  if (auto* m = std::get_if<LinkMessage>(&message)) {
    if (auto* hello = std::get_if<LinkHello>(m)) {
      if (Is(Bug::kOwnMarkOnly)) {
        for (BookMark& book : hello->books) book.mark = 0;
      }
      if (Is(Bug::kOwnMarkOnly) || Is(Bug::kVersionHidden) || Is(Bug::kFetchBeforeHello)) {
        hello->version_seen = 0;
        SignLink(link, *m);
      }
    } else if (auto* answer = std::get_if<LinkLeaseAnswer>(m);
               answer && answer->refused && Is(Bug::kOwnMarkOnly)) {
      answer->refused = false;
      answer->lacking.clear();
      SignLink(link, *m);
    }
    return true;
  }
  auto* control = std::get_if<RoutedControl>(&message);
  auto* stream = control ? std::get_if<StreamMessage>(&control->body) : nullptr;
  auto* announced = stream ? std::get_if<Announcements>(stream) : nullptr;
  if (announced && Is(Bug::kAnnouncedToOther)) {
    for (Announcement& item : announced->items) item.slave_number ^= 3;  // The first two of a home.
    if (SignStream(*announced)) SignControl(link, *control);
    return true;
  }
  auto* hello = stream ? std::get_if<SourceHello>(stream) : nullptr;
  if (hello == nullptr) return true;
  if (Is(Bug::kHelloLost)) return false;
  if (Is(Bug::kVersionHidden) || Is(Bug::kFetchBeforeHello)) {
    hello->version_seen = 0;
    hello->mark = {};
    if (SignStream(*hello)) SignControl(link, *control);
  }
  return true;
}

}  // namespace keyhop::sim
