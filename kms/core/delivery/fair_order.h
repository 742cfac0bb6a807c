#ifndef KEYHOP_KMS_CORE_DELIVERY_FAIR_ORDER_H_
#define KEYHOP_KMS_CORE_DELIVERY_FAIR_ORDER_H_

#include <cstddef>
#include <cstdint>
#include <map>

#include "kms/core/types.h"

namespace keyhop {

// Whether somebody who has `own` of the `taken` places gets one more of `max`: no more than are
// still free. So one alone gets half of them, and a flood of one leaves room for the others.
constexpr bool HasPlace(size_t own, size_t taken, size_t max) {
  return taken < max && own < max - taken;
}

// In which order the SAEs that wait for key of one pair are served: fair queueing. Each SAE has a
// clock of its own that moves on by the bytes it gets, divided by its share; whose first request
// would end earliest by these clocks is next. So an SAE gets its share however much another one
// asks for, what it does not use goes to the others, and a small request does not stand behind a
// large one of somebody else. What was asked for in vain costs nothing.
//
// Pure. Not thread-safe.
class FairOrder {
 public:
  // A request of `sae` begins to wait, or waits no more.
  void Enter(const SaeId& sae);
  void Leave(const SaeId& sae);
  // It got `bytes`. Before it leaves.
  void Served(const SaeId& sae, uint64_t bytes, uint32_t share);

  // The lowest is next, of equal ones who came first. `bytes`: of the first request of `sae`, which
  // waits.
  uint64_t EndOf(const SaeId& sae, uint64_t bytes, uint32_t share) const;
  size_t WaitingOf(const SaeId& sae) const;

 private:
  struct Line {
    size_t waiting = 0;
    uint64_t clock = 0;
  };
  // Kept while anybody waits: who asks for one key after the other has no fresh clock each time.
  std::map<SaeId, Line> lines_;
  size_t waiting_ = 0;
  uint64_t now_ = 0;  // Where the one served last began: new lines begin there.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_FAIR_ORDER_H_
