#ifndef KEYHOP_KMS_AK_GRPC_CANCEL_H_
#define KEYHOP_KMS_AK_GRPC_CANCEL_H_

#include <atomic>
#include <cstdint>

#include "kms/core/delivery/request.h"

namespace keyhop {

// A streaming call that asks its port again and again, and whose client may leave at any time. A
// cancel that comes before the port has the request would find nothing to cancel there: so whoever
// asked says so afterwards (Posted), by this object, which outlives the call's own.
//
// Thread-safe. `port` must outlive it.
class GrpcCancel {
 public:
  explicit GrpcCancel(DeliveryPort& port) : port_(port), call_(port.NewCall()) {}

  DeliveryPort& port() const { return port_; }
  // For DrawRequest::call or WatchRequest::call.
  uint64_t call() const { return call_; }

  bool asked() const { return asked_; }
  void Ask() {
    asked_ = true;
    port_.Cancel(call_);
  }
  // The port has a request of this call, or has answered it.
  void Posted() {
    if (asked_) port_.Cancel(call_);
  }

 private:
  DeliveryPort& port_;
  const uint64_t call_;
  std::atomic<bool> asked_ = false;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_GRPC_CANCEL_H_
