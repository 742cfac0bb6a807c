#include "kms/core/delivery/idempotency.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/byte_writer.h"
#include "kms/base/check.h"
#include "kms/crypto/sha256.h"

namespace keyhop {
namespace {

constexpr size_t kKeyHeadBytes = 18;  // Of an answer's keys: key_ID, length.
// Beside the answer: names, hash, places in the table.
constexpr uint64_t kEntryBytes = 512;
// One SAE gets a part of the room of all.
constexpr uint64_t kShares = 4;
// How much longer than its window an answer may be kept for each restart.
constexpr int64_t kRecordsPerWindow = 6;

void Put(const std::vector<SaeId>& ids, ByteWriter& out) {
  out.U64(ids.size());
  for (const SaeId& id : ids) out.Text(id.value);
}
void Put(const std::vector<ExtensionParameter>& parameters, ByteWriter& out) {
  out.U64(parameters.size());
  for (const auto& [name, number] : parameters) {
    out.Text(name).U8(number ? 1 : 0).U64(number.value_or(0));
  }
}

// An answer as it is kept: for each key its key_ID, its length and its bytes.
SecretBytes Pack(const KeyContainer& container) {
  const auto& [keys] = container;  // A new member must be kept too.
  size_t size = 0;
  for (const DeliveredKey& delivered : keys) size += kKeyHeadBytes + delivered.key.size();
  SecretBytes out(size);
  auto at = out.ExposeMutable(SecretAccess::ForDelivery()).begin();
  for (const DeliveredKey& delivered : keys) {
    const auto& [id, key] = delivered;
    at = std::copy(id.begin(), id.end(), at);
    *at++ = static_cast<uint8_t>(key.size() >> 8);
    *at++ = static_cast<uint8_t>(key.size());
    const auto bytes = key.Expose(SecretAccess::ForDelivery());
    at = std::copy(bytes.begin(), bytes.end(), at);
  }
  return out;
}

// Nothing for bytes that Pack did not make.
std::optional<KeyContainer> Unpack(const SecretBytes& answer) {
  KeyContainer out;
  const auto bytes = answer.Expose(SecretAccess::ForDelivery());
  for (size_t at = 0; at < bytes.size();) {
    if (bytes.size() - at < kKeyHeadBytes) return std::nullopt;
    DeliveredKey& delivered = out.keys.emplace_back();
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), delivered.id.size(),
                delivered.id.begin());
    const size_t size = size_t{bytes[at + 16]} << 8 | bytes[at + 17];
    at += kKeyHeadBytes;
    if (bytes.size() - at < size) return std::nullopt;
    delivered.key = answer.Slice(at, size);
    at += size;
  }
  return out;
}

bool Printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace

std::array<uint8_t, 32> HashOf(const DrawRequest& request) {
  // Named one by one: a new member must be a part of the sum.
  // How long it may wait, and for whom, is no part of what it asks for.
  const auto& [caller, slave, number, size_bits, additional, mandatory, optional, wait, call, key] =
      request;
  ByteWriter out;
  out.Text("draw").Text(slave.value).U64(number).U8(size_bits ? 1 : 0).U64(size_bits.value_or(0));
  Put(additional, out);
  Put(mandatory, out);
  Put(optional, out);
  return Sha256(out.bytes());
}

std::array<uint8_t, 32> HashOf(const FetchRequest& request) {
  const auto& [caller, master, key_ids, key] = request;
  ByteWriter out;
  out.Text("fetch").Text(master.value).U64(key_ids.size());
  for (const KeyId& id : key_ids) out.Bytes(id);
  return Sha256(out.bytes());
}

KeyContainer CopyOf(const KeyContainer& container) {
  const auto& [keys] = container;
  KeyContainer out;
  out.keys.reserve(keys.size());
  for (const auto& [id, key] : keys) {
    out.keys.push_back({id, key.Duplicate(SecretAccess::ForDelivery())});
  }
  return out;
}

IdempotencyTable::IdempotencyTable(const DeliveryConfig& config,
                                   std::vector<IdempotencyRecord> recovered,
                                   std::optional<RunTimeRecord> run_time)
    : window_(config.idempotency_window),
      retry_after_(config.retry_after),
      open_max_(config.idempotency_open_max),
      bytes_max_(config.idempotency_bytes_max) {
  if (run_time) {
    ran_before_ = recorded_ = run_time->ran;
    refused_until_ = run_time->refused_until;
  }
  for (IdempotencyRecord& record : recovered) {
    if (!record.answer) continue;
    const Name name(record.caller, record.key);
    Entry entry;
    entry.hash = record.request_hash;
    entry.bytes = record.answer->size() + kEntryBytes;
    entry.ends = record.ends;
    entry.answer = *std::move(record.answer);
    entry.recovered = true;
    by_end_.emplace(entry.ends, name);
    Count(name.first, entry);
    entries_.emplace(name, std::move(entry));
  }
}

void IdempotencyTable::Start(Instant now) { started_ = now; }

uint64_t IdempotencyTable::AnswerBytes(uint64_t keys, uint64_t key_bytes) {
  return keys * (kKeyHeadBytes + key_bytes) + kEntryBytes;
}

void IdempotencyTable::Count(const SaeId& sae, const Entry& entry) {
  Share& share = shares_[sae];
  ++share.open;
  share.bytes += entry.bytes;
  bytes_ += entry.bytes;
}

void IdempotencyTable::Uncount(const SaeId& sae, const Entry& entry) {
  const auto share = shares_.find(sae);
  bytes_ -= entry.bytes;
  share->second.bytes -= entry.bytes;
  if (--share->second.open == 0) shares_.erase(share);
}

Refusal IdempotencyTable::Unavailable(std::string message, Duration retry_after) const {
  return {Refusal::Kind::kUnavailable, std::move(message), {}, retry_after};
}

std::optional<Refusal> IdempotencyTable::CheckRoom(Instant now, const Request& request) const {
  if (request.answer_bytes_max > bytes_max_ / kShares) {
    return Refusal{Refusal::Kind::kBadRequest,
                   "the answer may be longer than this KME keeps for an idempotency key; ask for "
                   "fewer keys",
                   {},
                   std::nullopt};
  }
  const auto share = shares_.find(request.caller);
  const Share used = share == shares_.end() ? Share{} : share->second;
  const bool room = used.open < open_max_ &&
                    used.bytes + request.answer_bytes_max <= bytes_max_ / kShares &&
                    bytes_ + request.answer_bytes_max <= bytes_max_;
  if (room) return std::nullopt;
  Duration wait = retry_after_;
  if (!by_end_.empty()) wait = std::max(wait, by_end_.begin()->first - RanAt(now));
  return Refusal{Refusal::Kind::kExhausted,
                 absl::StrCat("too many requests with an idempotency key are open (at most ",
                              open_max_, " of one SAE, each for ", window_.millis(),
                              " ms, and their answers need room); retry later"),
                 {},
                 wait};
}

IdempotencyTable::Verdict IdempotencyTable::Begin(Instant now, uint64_t token,
                                                  const Request& request, IdempotencyOutbox& out) {
  if (request.key.empty() || request.key.size() > kKeyBytesMax || !Printable(request.key)) {
    return Refusal{Refusal::Kind::kBadRequest,
                   absl::StrCat("an idempotency key shall have 1 to ", kKeyBytesMax,
                                " printable ASCII characters"),
                   {},
                   std::nullopt};
  }
  OnTick(now, out);
  if (!request.neighbour_heard) {
    return Unavailable(
        "this KME heard no neighbour since it started: whether its memory of idempotency keys is "
        "current is not known yet; retry",
        retry_after_);
  }
  if (RanAt(now) < refused_until_) {
    return Unavailable(
        "this KME's store was an old image: whether this request was answered before is not "
        "known; retry later or ask without an idempotency key",
        std::max(retry_after_, refused_until_ - RanAt(now)));
  }
  const Name name(request.caller, request.key);
  const auto it = entries_.find(name);
  if (it == entries_.end()) {
    if (auto refusal = CheckRoom(now, request)) return *std::move(refusal);
    Entry entry;
    entry.hash = request.hash;
    entry.bytes = request.answer_bytes_max;
    entry.token = token;
    Count(request.caller, entry);
    entries_.emplace(name, std::move(entry));
    under_way_.emplace(token, name);
    return Fresh{};
  }
  Entry& entry = it->second;
  if (entry.recovered && !request.pair_heard) {
    return Unavailable(
        "the other KME of this pair was not heard since this KME started, so the answer cannot be "
        "repeated yet; retry",
        retry_after_);
  }
  if (entry.hash != request.hash) {
    return Refusal{Refusal::Kind::kOtherRequest,
                   "this idempotency key was used for another request",
                   {},
                   std::nullopt};
  }
  if (entry.token) {
    if (entry.waiting.size() < kWaitingMax) {
      entry.waiting.push_back(token);
      return Waits{};
    }
    return Refusal{Refusal::Kind::kExhausted,
                   "too many requests with this idempotency key are under way; retry",
                   {},
                   retry_after_};
  }
  auto keys = Unpack(entry.answer);
  if (!keys) {
    return Refusal{Refusal::Kind::kInternal, "the answer cannot be repeated", {}, std::nullopt};
  }
  return Repeated{*std::move(keys), entry.after};
}

std::vector<uint64_t> IdempotencyTable::End(Instant now, uint64_t token,
                                            Outcome<KeyContainer>& outcome, WriteSeq& after,
                                            IdempotencyOutbox& out) {
  const auto under_way = under_way_.find(token);
  KEYHOP_CHECK(under_way != under_way_.end(), "a request that is under way");
  const Name name = std::move(under_way->second);
  under_way_.erase(under_way);
  const auto it = entries_.find(name);
  Entry& entry = it->second;
  std::vector<uint64_t> waiting = std::move(entry.waiting);
  Uncount(name.first, entry);
  if (entry.forgotten && std::holds_alternative<KeyContainer>(outcome)) {
    outcome = Unavailable("this KME's store was found to be an old image; retry later",
                          std::max(retry_after_, refused_until_ - RanAt(now)));
  }
  const auto* keys = std::get_if<KeyContainer>(&outcome);
  if (keys == nullptr) {
    entries_.erase(it);  // Nothing left: the next try is a new one.
    return waiting;
  }
  entry.token.reset();
  entry.answer = Pack(*keys);
  entry.bytes = entry.answer.size() + kEntryBytes;
  entry.ends = RanAt(now) + window_;
  Count(name.first, entry);
  by_end_.emplace(entry.ends, name);
  WriteRunTime(now, out);
  entry.after = out.Write(IdempotencyRecord{name.first, name.second, entry.hash, entry.ends,
                                            entry.answer.Duplicate(SecretAccess::ForStorage())});
  after = std::max(after, entry.after);
  return waiting;
}

WriteSeq IdempotencyTable::WriteRunTime(Instant now, IdempotencyOutbox& out) {
  recorded_ = RanAt(now);
  return out.Write(RunTimeRecord{recorded_, refused_until_});
}

void IdempotencyTable::OnTick(Instant now, IdempotencyOutbox& out) {
  const Duration ran = RanAt(now);
  while (!by_end_.empty() && by_end_.begin()->first <= ran) {
    const Name name = by_end_.begin()->second;
    by_end_.erase(by_end_.begin());
    const auto it = entries_.find(name);
    Uncount(name.first, it->second);
    entries_.erase(it);
    out.Write(IdempotencyRecord{.caller = name.first, .key = name.second});
  }
  const auto next = NextDeadline();
  if (next && *next <= now) WriteRunTime(now, out);
}

std::optional<Instant> IdempotencyTable::NextDeadline() const {
  // Time is recorded while something depends on it.
  if (by_end_.empty() && refused_until_ <= recorded_) return std::nullopt;
  const Instant record_at = InstantOf(recorded_ + window_ / kRecordsPerWindow);
  return by_end_.empty() ? record_at : std::min(record_at, InstantOf(by_end_.begin()->first));
}

void IdempotencyTable::BurnAll(Instant now, IdempotencyOutbox& out) {
  for (const auto& [end, name] : by_end_) {
    const auto it = entries_.find(name);
    Uncount(name.first, it->second);
    entries_.erase(it);
    out.Write(IdempotencyRecord{.caller = name.first, .key = name.second});
  }
  by_end_.clear();
  for (auto& [name, entry] : entries_) entry.forgotten = true;
  refused_until_ = RanAt(now) + window_;
  WriteRunTime(now, out);
}

}  // namespace keyhop
