#ifndef KEYHOP_SIM_NET_RETRY_WATCH_H_
#define KEYHOP_SIM_NET_RETRY_WATCH_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kms/base/instant.h"
#include "kms/core/types.h"

namespace keyhop::sim {

// What left under idempotency keys: within a window an SAE gets the identical keys again, or none.
// Windows are run time of the SAE's node, so this counts for how long each node was up.
//
// Not thread-safe.
class RetryWatch {
 public:
  // `late`: how long after its request, from which its window counts, an answer may leave.
  RetryWatch(Duration window, Duration late) : window_(window), late_(late) {}

  void OnStarted(Instant now, size_t node);
  void OnCrashed(Instant now, size_t node);
  // `known`: the node will be told that it is older than what it answered. Else nothing is certain
  // for it any more.
  void OnImageRestored(size_t node, bool known);

  // `sae` asks `node` for something under `key`: an answer may be as old as the first such request
  // that was not answered, or answered unheard.
  void OnAsked(Instant now, size_t node, const SaeId& sae, const std::string& key);

  enum class Kind { kFirst, kRepeated, kRepeatedAfterStart, kUncertain };
  struct Finding {
    Kind kind = Kind::kFirst;
    std::optional<std::string> wrong = {};
  };
  // Keys left `node` towards `sae` under `key`.
  Finding OnAnswer(Instant now, size_t node, const SaeId& sae, const std::string& key,
                   std::vector<KeyId> ids);

 private:
  struct Life {
    uint64_t starts = 0;
    bool up = false;
    Instant since;
    Duration before = {};
  };
  struct Answer {
    std::vector<KeyId> ids;
    Duration ran = {};    // When it was heard first.
    Duration asked = {};  // Its window began then at the earliest.
    uint64_t starts = 0;
  };
  using Name = std::tuple<size_t, SaeId, std::string>;
  // The earliest that a window of an answer heard now may have begun.
  Duration AskedFirst(const Name& name, Duration ran);
  Duration RanAt(Instant now, const Life& life) const;

  const Duration window_;
  const Duration late_;
  std::map<size_t, Life> lives_;
  std::map<Name, Answer> answers_;
  std::map<Name, std::vector<Duration>> asked_;  // Since the last new answer.
  std::set<size_t> uncertain_;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_RETRY_WATCH_H_
