#ifndef KEYHOP_TRUSTED_NODE_DAEMON_GRPC_SERVERS_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_GRPC_SERVERS_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "grpcpp/grpcpp.h"
#include "kms/base/instant.h"
#include "kms/tls/grpc_credentials.h"
#include "kms/tls/grpc_listener.h"

namespace keyhop {

// Descriptors of this process that its clients may use up; the rest is for the store, certificates
// and neighbours.
int DescriptorsForClients();

// gRPC servers that start and end together, each with a listener of its own. Not thread-safe, but
// for counts().
class GrpcServers {
 public:
  struct Service {
    grpc::Service* service = nullptr;  // Outlives the servers.
    std::string name;                  // As health checks ask for it: PACKAGE.SERVICE.
  };
  struct Site {
    const char* what = "";  // In errors: the field of the configuration.
    std::string address;    // HOST:PORT
    Duration port_wait;     // For a port that a process just killed still holds.
    PemFiles files;         // The certificate, and the trust store that clients are told of.
    std::vector<ClientTrust> clients;
    RefusalListener on_refusal;
    std::vector<Service> services;
    std::function<void(grpc::ServerBuilder&)> configure;
  };

  GrpcServers(IdentityRules rules, GrpcListenerLimits limits)
      : rules_(std::move(rules)), limits_(limits) {}
  ~GrpcServers() { Stop(); }

  // UNAVAILABLE names the address and, if it can, who holds it.
  absl::Status Add(Site site);
  // Health checks say that nothing is served any more; calls are still taken.
  void SayNotServing();
  // No connections, then no calls any more; those under way have two seconds.
  void Stop();

  GrpcListenerCounts counts() const;

 private:
  struct Running {
    std::unique_ptr<GrpcListener> listener;
    std::unique_ptr<grpc::Server> server;
  };
  const IdentityRules rules_;
  const GrpcListenerLimits limits_;
  std::vector<Running> running_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_GRPC_SERVERS_H_
