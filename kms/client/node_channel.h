#ifndef KEYHOP_KMS_CLIENT_NODE_CHANNEL_H_
#define KEYHOP_KMS_CLIENT_NODE_CHANNEL_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/base/mutex.h"
#include "kms/client/client.h"

namespace keyhop {

// gRPC's deadlines are on this clock.
using Deadline = std::chrono::system_clock::time_point;

// The connection to one node, and the rules of when a call is made again (client.h has them).
// Thread-safe.
class NodeChannel {
 public:
  NodeChannel(ClientConfig config, const std::shared_ptr<grpc::ChannelCredentials>& credentials);

  delivery::v1::KeyDelivery::Stub& stub() { return *stub_; }

  // Waits for a connection. What fails here has sent nothing of a request: kNoConnection.
  absl::Status Connect(Deadline deadline);

  enum class Twice { kHarmless, kNever };
  // Calls `attempt` until it is done, its failure must stand, or time is out. `twice`: whether it
  // may be done again although it may have been done.
  absl::Status Try(Twice twice, const std::function<absl::Status(Deadline)>& attempt);

 private:
  absl::Status WhyNotConnected();
  void WaitUntil(Deadline deadline);

  const ClientConfig config_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<delivery::v1::KeyDelivery::Stub> stub_;
  Mutex mu_;
  CondVar never_;  // Nobody signals it: WaitUntil waits for its deadline.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CLIENT_NODE_CHANNEL_H_
