#include "kms/core/stream/supply_table.h"

#include <algorithm>

#include "kms/base/check.h"
#include "kms/core/stream/bits.h"

namespace keyhop {

void SupplyTable::Recover(SupplyKeyRecord record) {
  if (record.body) entries_[record.id].key = std::move(*record.body);
}

void SupplyTable::Recover(SupplyRecord record) {
  Entry& entry = entries_[record.id];
  entry.master = std::move(record.master);
  entry.slaves = std::move(record.slaves);
  entry.fetched = std::move(record.fetched);
  entry.life_left = record.life_left;
}

void SupplyTable::Start(Instant now) {
  by_age_.clear();
  used_up_.clear();
  for (auto& [id, entry] : entries_) {
    entry.burn_at = now + entry.life_left;
    by_age_.emplace(entry.burn_at, id);
    if (entry.used()) used_up_.emplace(entry.burn_at, id);
  }
}

void SupplyTable::OnNewSession() {
  for (auto& [id, entry] : entries_) entry.number = 0;
}

bool SupplyTable::HasRoom(size_t keys, size_t keys_max) const {
  return entries_.size() - used_up_.size() + keys <= keys_max;
}

bool SupplyTable::Stands(const SupplyNotice& notice) const {
  const auto it = entries_.find(notice.items.front().id);
  return it != entries_.end() && it->second.number == notice.number;
}

void SupplyTable::Write(const KeyId& id, const Entry& entry, StreamOutbox& out) const {
  out.Write(SupplyRecord{.stream = stream_,
                         .id = id,
                         .erased = false,
                         .master = entry.master,
                         .slaves = entry.slaves,
                         .fetched = entry.fetched,
                         .life_left = entry.life_left});
}

void SupplyTable::Put(Instant now, const SupplyNotice& notice, std::vector<SecretBytes> keys,
                      Duration life, size_t keys_max, StreamOutbox& out) {
  KEYHOP_CHECK(keys.size() == notice.items.size(), "one key for each item");
  KEYHOP_CHECK(HasRoom(keys.size(), keys_max), "the owner asked for room");
  while (entries_.size() + keys.size() > keys_max) {
    Drop(entries_.find(used_up_.begin()->second), out);
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    const KeyId& id = notice.items[i].id;
    const auto [it, fresh] =
        entries_.emplace(id, Entry{.master = notice.master,
                                   .slaves = notice.slaves,
                                   .fetched = std::vector<uint8_t>((notice.slaves.size() + 7) / 8),
                                   .key = std::move(keys[i]),
                                   .life_left = life,
                                   .burn_at = now + life,
                                   .number = notice.number});
    KEYHOP_CHECK(fresh, "a notice of keys that are not known");
    by_age_.emplace(it->second.burn_at, id);
    out.Write(SupplyKeyRecord{stream_, id, it->second.key.Duplicate(SecretAccess::ForDelivery())});
    Write(id, it->second, out);
  }
}

bool SupplyTable::Cancel(uint64_t number, StreamOutbox& out) {
  bool any = false;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const bool hit = it->second.number == number;
    any |= hit;
    it = hit ? Drop(it, out) : std::next(it);
  }
  return any;
}

SupplyState SupplyTable::StateFor(const KeyId& id, const SaeId& master, const SaeId& slave) const {
  const auto it = entries_.find(id);
  if (it == entries_.end() || it->second.master != master) return SupplyState::kNone;
  const Entry& entry = it->second;
  const auto named = std::find(entry.slaves.begin(), entry.slaves.end(), slave);
  if (named == entry.slaves.end()) return SupplyState::kForeign;
  const bool got = IsSet(entry.fetched, static_cast<size_t>(named - entry.slaves.begin()));
  return got ? SupplyState::kUsed : SupplyState::kReady;
}

SecretBytes SupplyTable::Take(const KeyId& id, const SaeId& slave, StreamOutbox& out) {
  const auto it = entries_.find(id);
  KEYHOP_CHECK(it != entries_.end() && !it->second.used(), "a key that is ready");
  Entry& entry = it->second;
  const auto named = std::find(entry.slaves.begin(), entry.slaves.end(), slave);
  const size_t at = static_cast<size_t>(named - entry.slaves.begin());
  KEYHOP_CHECK(named != entry.slaves.end() && !IsSet(entry.fetched, at), "ready for this slave");
  Set(entry.fetched, at);
  const bool all = AllSet(entry.fetched, entry.slaves.size());
  SecretBytes key = all ? std::move(entry.key) : entry.key.Duplicate(SecretAccess::ForDelivery());
  if (all) {
    out.Write(SupplyKeyRecord{stream_, id, std::nullopt});
    used_up_.emplace(entry.burn_at, id);
  }
  Write(id, entry, out);
  return key;
}

SupplyTable::Entries::iterator SupplyTable::Drop(Entries::iterator it, StreamOutbox& out) {
  const auto& [id, entry] = *it;
  if (!entry.used()) {
    ++burnt_keys_;
    out.Write(SupplyKeyRecord{stream_, id, std::nullopt});
  }
  out.Write(SupplyRecord{.stream = stream_, .id = id, .erased = true});
  by_age_.erase({entry.burn_at, id});
  used_up_.erase({entry.burn_at, id});
  return entries_.erase(it);
}

void SupplyTable::DropAll(StreamOutbox& out) {
  for (auto it = entries_.begin(); it != entries_.end();) it = Drop(it, out);
}

bool SupplyTable::DropExpired(Instant now, StreamOutbox& out) {
  bool any = false;
  while (!by_age_.empty() && by_age_.begin()->first <= now) {
    const auto it = entries_.find(by_age_.begin()->second);
    if (!it->second.used()) ++expired_keys_;
    Drop(it, out);
    any = true;
  }
  return any;
}

std::optional<Instant> SupplyTable::NextExpiry() const {
  if (by_age_.empty()) return std::nullopt;
  return by_age_.begin()->first;
}

}  // namespace keyhop
