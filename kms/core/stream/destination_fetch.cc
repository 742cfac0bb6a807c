// What leaves a destination: bytes of its units, each once, and keys of supply notices.
#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "kms/base/overload.h"
#include "kms/base/status_macros.h"
#include "kms/core/stream/bits.h"
#include "kms/core/stream/destination.h"
#include "kms/core/stream/word.h"

namespace keyhop {

bool StreamDestination::CoversUnused(const Wanted& w) const {
  uint64_t at = w.at.offset;
  const uint64_t end = at + RoundUpToWord(w.at.length_bytes);
  if (w.at.length_bytes == 0 || at % kWordBytes != 0) return false;
  while (at < end) {
    auto it = units_.upper_bound({w.epoch, at});
    if (it == units_.begin()) return false;
    --it;
    const Unit& unit = it->second;
    const uint64_t begin = it->first.offset;
    if (it->first.epoch != w.epoch || !unit.leased || at >= begin + unit.length) return false;
    const uint64_t stop = std::min(end, begin + unit.length);
    for (; at < stop; at += kWordBytes) {
      if (IsSet(unit.used, (at - begin) / kWordBytes)) return false;
    }
  }
  return true;
}

bool StreamDestination::AllUnused(const std::vector<Wanted>& wanted) const {
  std::vector<std::pair<StreamAddress, uint64_t>> spans;
  for (const Wanted& w : wanted) {
    if (!CoversUnused(w)) return false;
    spans.push_back({{w.epoch, w.at.offset}, RoundUpToWord(w.at.length_bytes)});
  }
  std::sort(spans.begin(), spans.end());
  for (size_t i = 1; i < spans.size(); ++i) {
    if (spans[i - 1].first.epoch == spans[i].first.epoch &&
        spans[i - 1].first.offset + spans[i - 1].second > spans[i].first.offset) {
      return false;
    }
  }
  return true;
}

SecretBytes StreamDestination::Read(const Wanted& w) const {
  SecretBytes key(w.at.length_bytes);
  auto bytes = key.ExposeMutable(SecretAccess::ForDelivery());
  uint64_t at = w.at.offset;
  const uint64_t end = at + w.at.length_bytes;
  while (at < end) {
    const auto it = std::prev(units_.upper_bound({w.epoch, at}));
    const uint64_t begin = it->first.offset;
    const uint64_t stop = std::min(end, begin + it->second.length);
    const auto body = it->second.body.Expose(SecretAccess::ForDelivery());
    for (; at < stop; ++at) bytes[at - w.at.offset] = body[at - begin];
  }
  return key;
}

void StreamDestination::Consume(const std::vector<Wanted>& wanted, StreamOutbox& out) {
  std::set<StreamAddress> touched;
  for (const Wanted& w : wanted) {
    uint64_t at = w.at.offset;
    const uint64_t end = at + RoundUpToWord(w.at.length_bytes);
    while (at < end) {
      const auto it = std::prev(units_.upper_bound({w.epoch, at}));
      Unit& unit = it->second;
      const uint64_t begin = it->first.offset;
      const uint64_t stop = std::min(end, begin + unit.length);
      unit.body.Erase(at - begin, stop - at);
      for (; at < stop; at += kWordBytes) {
        Set(unit.used, (at - begin) / kWordBytes);
      }
      touched.insert(it->first);
    }
  }
  for (const StreamAddress& at : touched) {
    const auto it = units_.find(at);
    if (AllSet(it->second.used, it->second.length / kWordBytes)) {
      Drop(it, /*burnt=*/false, out);
    } else {
      WriteState(at, it->second, out);
    }
  }
}

std::vector<StreamDestination::Wanted> StreamDestination::OfUnits(
    const std::vector<WantedKey>& wanted) {
  std::vector<Wanted> of_units;
  for (const WantedKey& key : wanted) {
    if (const auto* of_unit = std::get_if<Wanted>(&key)) of_units.push_back(*of_unit);
  }
  return of_units;
}

absl::Status StreamDestination::CheckFetch(const std::vector<WantedKey>& wanted) const {
  if (!serving()) return absl::UnavailableError("the master's KME was not heard since the start");
  std::set<KeyId> of_notices;
  for (const WantedKey& key : wanted) {
    // Whether it is ready is for the caller to ask (SupplyFor).
    const auto* supply = std::get_if<WantedSupply>(&key);
    if (supply != nullptr && !of_notices.insert(supply->id).second) {
      return absl::NotFoundError("named twice");
    }
  }
  if (!AllUnused(OfUnits(wanted))) return absl::NotFoundError("not here, used, or named twice");
  return absl::OkStatus();
}

absl::StatusOr<StreamDestination::Fetched> StreamDestination::Fetch(
    const std::vector<WantedKey>& wanted, StreamOutbox& out) {
  KEYHOP_RETURN_IF_ERROR(CheckFetch(wanted));
  Fetched fetched;
  for (const WantedKey& key : wanted) {
    fetched.keys.push_back(std::visit(
        Overload{[&](const Wanted& w) { return Read(w); },
                 [&](const WantedSupply& w) { return supplies_.Take(w.id, w.slave, out); }},
        key));
  }
  Consume(OfUnits(wanted), out);
  fetched.after = Persist(out);
  return fetched;
}

}  // namespace keyhop
