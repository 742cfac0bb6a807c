#ifndef KEYHOP_KMS_CORE_DELIVERY_FAIR_ORDER_H_
#define KEYHOP_KMS_CORE_DELIVERY_FAIR_ORDER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "kms/core/types.h"

namespace keyhop {

// In which order the SAEs that wait for key of one pair are served: start-time fair queueing. Each
// request gets a tag, lowest first; an SAE's tags move on by the bytes that it asks for, divided by
// its weight. So an SAE gets its share however much another one asks for, and what it does not use
// goes to the others. SAEs are forgotten when nobody waits any more.
//
// Pure. Not thread-safe.
class FairOrder {
 public:
  // A request of `sae` begins to wait.
  uint64_t Enter(const SaeId& sae, uint64_t bytes, uint32_t weight);
  // It waits no more. `served`: it got its bytes.
  void Leave(const SaeId& sae, uint64_t tag, bool served);

  size_t WaitingOf(const SaeId& sae) const;
  // Who has the most requests waiting; the lowest ID of several. Nothing if nobody waits.
  std::optional<SaeId> Longest() const;

 private:
  struct Line {
    size_t waiting = 0;
    uint64_t next_tag = 0;
  };
  std::map<SaeId, Line> lines_;
  size_t waiting_ = 0;
  uint64_t now_ = 0;  // Virtual: the tag served last.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_FAIR_ORDER_H_
