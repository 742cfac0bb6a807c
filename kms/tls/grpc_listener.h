#ifndef KEYHOP_KMS_TLS_GRPC_LISTENER_H_
#define KEYHOP_KMS_TLS_GRPC_LISTENER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"
#include "kms/base/mutex.h"

namespace keyhop {

struct GrpcListenerLimits {
  // A connection whose file descriptor would be this or higher is closed at once, so that the rest
  // of the process always has some left. Descriptors are given lowest first.
  int descriptors_max = 768;
  // Connections at once whose handshake is not over; one more drops the oldest of them.
  uint32_t unfinished_max = 256;
  std::chrono::milliseconds handshake_timeout{10'000};
};

struct GrpcListenerCounts {
  uint64_t accepted = 0;
  uint64_t refused_over_limit = 0;  // No descriptor left for them.
  uint64_t dropped_unfinished = 0;  // The oldest without a handshake, for a newer one.
};

// Listens for a gRPC server and hands its connections over. gRPC's own listener stops for good when
// one accept fails for want of descriptors, and has no limit on connections (gRPC 1.51).
//
// Thread-safe; the connections are accepted on a thread of its own.
class GrpcListener {
 public:
  // Binds HOST:PORT (port 0: one that is free). UNAVAILABLE names the address.
  static absl::StatusOr<std::unique_ptr<GrpcListener>> Listen(const std::string& address,
                                                              const GrpcListenerLimits& limits);
  ~GrpcListener();

  // Once, before the server is built.
  void AddTo(grpc::ServerBuilder& builder, std::shared_ptr<grpc::ServerCredentials> credentials);
  // Once the server runs. Connections that came before wait in the socket's queue.
  void Start();
  // Before the server is shut down: no connection is handed over any more. The port is free then.
  void Stop();

  int port() const { return port_; }
  GrpcListenerCounts counts() const;

 private:
  // A connection that may still be in its handshake. `cookie` tells it from a later one with the
  // same descriptor, which belongs to gRPC.
  struct Young {
    int fd = -1;
    uint64_t cookie = 0;
    std::chrono::steady_clock::time_point since;
  };

  GrpcListener(int socket, int port, int wake, const GrpcListenerLimits& limits)
      : limits_(limits), socket_(socket), port_(port), wake_(wake) {}
  void Run();
  void Take(int fd);
  // Room for one more without handshake.
  void MakeRoom(std::chrono::steady_clock::time_point now);
  // Ends the connection if its client cannot have finished the handshake.
  bool DropIfUnfinished(const Young& young);

  const GrpcListenerLimits limits_;
  int socket_;
  const int port_;
  const int wake_;  // An eventfd: readable once Stop was called.
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::thread thread_;
  std::deque<Young> young_;  // In order of arrival. Of the thread only.
  mutable Mutex mu_;
  GrpcListenerCounts counts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_GRPC_LISTENER_H_
