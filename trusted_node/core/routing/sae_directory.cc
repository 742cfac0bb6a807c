#include "trusted_node/core/routing/sae_directory.h"

#include <algorithm>

namespace keyhop {

SaeDirectory::SaeDirectory(const RoutingConfig& config,
                           const std::vector<DirectoryRecord>& recovered, uint32_t next_number)
    : self_(config.self),
      saes_max_(config.saes_max),
      configured_(config.saes.begin(), config.saes.end()),
      next_number_(std::max(next_number, 1u)) {
  for (const DirectoryRecord& record : recovered) Put(record.sae, record.home, record.number);
}

DirectoryRecord SaeDirectory::Put(const SaeId& sae, const NodeId& home, uint32_t number) {
  if (entries_.Put(sae, SaeEntry{home, number})) ++entries_of_home_[home];
  if (home == self_) {
    local_.insert_or_assign(number, sae);
    next_number_ = std::max(next_number_, number + 1);
  }
  return {sae, home, number};
}

bool SaeDirectory::HasRoomFor(const NodeId& home) const {
  if (entries_.size() >= saes_max_) return false;
  const auto it = entries_of_home_.find(home);
  return it == entries_of_home_.end() || it->second < kEntriesPerHomeMax;
}

std::vector<DirectoryRecord> SaeDirectory::RegisterConfigured(uint64_t& refused) {
  std::vector<DirectoryRecord> records;
  for (const SaeId& sae : configured_) {
    if (const SaeEntry* entry = entries_.Find(sae)) {
      if (entry->home != self_) ++refused;
      continue;
    }
    if (next_number_ > kSaeNumberMax || !HasRoomFor(self_)) {
      ++refused;
      continue;
    }
    records.push_back(Put(sae, self_, next_number_));
  }
  return records;
}

SaeDirectory::Claim SaeDirectory::Take(const NodeId& home, const SaeAdvert& advert) {
  const SaeEntry* const entry = entries_.Find(advert.sae);
  if (entry == nullptr) {
    if (!HasRoomFor(home)) return Claim::kRefused;
    Put(advert.sae, home, advert.number);
    return Claim::kNew;
  }
  if (entry->home != home) return Claim::kRefused;
  if (entry->number == advert.number) return Claim::kKnown;
  Put(advert.sae, home, advert.number);
  return Claim::kRenumbered;
}

std::vector<DirectoryRecord> SaeDirectory::AdoptOwn(const std::vector<SaeAdvert>& adverts) {
  std::vector<DirectoryRecord> records;
  std::set<SaeId> displaced;
  for (const SaeAdvert& advert : adverts) next_number_ = std::max(next_number_, advert.number + 1);
  for (const SaeAdvert& advert : adverts) {
    const SaeEntry* const known = entries_.Find(advert.sae);
    if (known != nullptr && (known->home != self_ || known->number == advert.number)) continue;
    const auto holder = local_.find(advert.number);
    if (holder != local_.end() && holder->second != advert.sae) displaced.insert(holder->second);
    records.push_back(Put(advert.sae, self_, advert.number));
  }
  for (const SaeAdvert& advert : adverts) displaced.erase(advert.sae);
  for (const SaeId& sae : displaced) {
    if (next_number_ <= kSaeNumberMax) {
      records.push_back(Put(sae, self_, next_number_));
    } else {
      entries_.Erase(sae);  // No number is left for it: it is not registered any more.
      --entries_of_home_[self_];
    }
  }
  return records;
}

std::optional<SaeEntry> SaeDirectory::Find(const SaeId& sae) const {
  const SaeEntry* const entry = entries_.Find(sae);
  if (entry == nullptr) return std::nullopt;
  if (entry->home == self_ && !configured_.contains(sae)) return std::nullopt;
  return *entry;
}

std::optional<SaeId> SaeDirectory::FindLocal(uint32_t number) const {
  const auto it = local_.find(number);
  if (it == local_.end()) return std::nullopt;
  return it->second;
}

std::vector<SaeAdvert> SaeDirectory::Configured() const {
  std::vector<SaeAdvert> adverts;
  for (const SaeId& sae : configured_) {
    const SaeEntry* const entry = entries_.Find(sae);
    if (entry != nullptr && entry->home == self_) adverts.push_back({sae, entry->number});
  }
  return adverts;
}

std::set<NodeId> SaeDirectory::Homes() const {
  std::set<NodeId> homes;
  for (const auto& [home, count] : entries_of_home_) {
    if (home != self_) homes.insert(home);
  }
  if (!Configured().empty()) homes.insert(self_);
  return homes;
}

}  // namespace keyhop
