// What a destination's records must say together before they are believed.
#include <map>
#include <set>

#include "absl/status/status.h"
#include "kms/core/stream/bits.h"
#include "kms/core/stream/destination.h"
#include "kms/core/stream/word.h"

namespace keyhop {
absl::Status StreamDestination::CheckRecovered(const std::vector<StreamRecord>& recovered) {
  uint64_t top_epoch = 0;
  StreamAddress top = {};
  std::map<StreamAddress, size_t> bodies;
  std::map<StreamAddress, const UnitStateRecord*> states;
  std::set<uint64_t> epochs;
  std::set<KeyId> keys;
  std::map<KeyId, const SupplyRecord*> supplies;
  for (const StreamRecord& record : recovered) {
    if (const auto* account = std::get_if<DestinationRecord>(&record)) {
      top_epoch = account->top_epoch;
      top = account->top;
    } else if (const auto* body = std::get_if<UnitBodyRecord>(&record)) {
      if (body->body) bodies[body->at] = body->body->size();
    } else if (const auto* state = std::get_if<UnitStateRecord>(&record)) {
      if (!state->erased) states[state->at] = state;
    } else if (const auto* epoch = std::get_if<EpochRecord>(&record)) {
      if (epoch->keys) epochs.insert(epoch->number);
    } else if (const auto* key = std::get_if<SupplyKeyRecord>(&record)) {
      if (key->body) keys.insert(key->id);
    } else if (const auto* supply = std::get_if<SupplyRecord>(&record)) {
      if (!supply->erased) supplies[supply->id] = supply;
    }
  }
  if (!epochs.empty() && *epochs.rbegin() > top_epoch) {
    return absl::DataLossError("a stream's newest epoch is missing from its account");
  }
  if (bodies.size() != states.size()) {
    return absl::DataLossError("a stream has units without their account, or accounts alone");
  }
  for (const auto& [at, state] : states) {
    const auto body = bodies.find(at);
    const uint64_t length = state->length_bytes;
    if (body == bodies.end() || body->second != length ||
        state->used.size() != (length / kWordBytes + 7) / 8) {
      return absl::DataLossError("a unit of a stream is not what its account says");
    }
    if (top < StreamAddress{at.epoch, at.offset + length}) {
      return absl::DataLossError("a stream has a unit beyond all that was appended to it");
    }
  }
  for (const auto& [id, supply] : supplies) {
    if (supply->fetched.size() != (supply->slaves.size() + 7) / 8 ||
        keys.erase(id) != (AllSet(supply->fetched, supply->slaves.size()) ? 0 : 1)) {
      return absl::DataLossError("a key of a supply notice is not what its account says");
    }
  }
  if (!keys.empty()) return absl::DataLossError("a key of a supply notice has no account");
  return absl::OkStatus();
}

}  // namespace keyhop
