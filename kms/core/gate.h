#ifndef KEYHOP_KMS_CORE_GATE_H_
#define KEYHOP_KMS_CORE_GATE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "kms/base/check.h"
#include "kms/core/types.h"

namespace keyhop {

// What one step of a core gives back. All writes of a step are one atomic group with one number.
template <typename Record, typename Output>
struct StepEffects {
  struct Held {
    WriteSeq after = 0;  // Leaves once this write is durable.
    Output output;
  };
  WriteSeq seq = 0;  // Of this step's writes; 0 when there are none.
  std::vector<Record> writes;
  std::vector<Held> outputs;
};

// Holds outputs back until the writes that they depend on are durable, and merges waiting writes so
// that at most one batch is in flight (group commit). An output that waits for nothing passes at
// once: a slow disk does not stall frames. The daemon and the simulation use it unchanged.
//
// Not thread-safe.
template <typename Record, typename Output>
class OutputGate {
 public:
  using Effects = StepEffects<Record, Output>;

  void Push(Effects effects) {
    if (effects.seq != 0) {
      KEYHOP_CHECK(effects.seq > pushed_, "writes are numbered upwards");
      pushed_ = effects.seq;
      for (Record& record : effects.writes) waiting_.push_back(std::move(record));
    }
    for (auto& held : effects.outputs) held_.emplace(held.after, std::move(held.output));
  }

  // The next batch to make durable, in order. Empty while one is in flight or nothing waits.
  std::vector<Record> TakeBatch() {
    if (taken_ != durable_ || waiting_.empty()) return {};
    taken_ = pushed_;
    return std::exchange(waiting_, {});
  }
  // The batch last taken is durable.
  void OnDurable() { durable_ = taken_; }

  // The next output that may leave now, lowest number first, then in order of arrival.
  std::optional<Output> Pop() {
    const auto first = held_.begin();
    if (first == held_.end() || first->first > durable_) return std::nullopt;
    std::optional<Output> out(std::move(first->second));
    held_.erase(first);
    return out;
  }

  // Inputs are refused, never queued, beyond this.
  bool full() const { return held_.size() >= kHeldMax || waiting_.size() >= kWaitingMax; }
  WriteSeq durable() const { return durable_; }

  static constexpr size_t kHeldMax = 16'384;
  static constexpr size_t kWaitingMax = 65'536;

 private:
  std::vector<Record> waiting_;
  std::multimap<WriteSeq, Output> held_;
  WriteSeq pushed_ = 0;
  WriteSeq taken_ = 0;
  WriteSeq durable_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_GATE_H_
