#ifndef KEYHOP_TRUSTED_NODE_DAEMON_GRPC_REFLECTION_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_GRPC_REFLECTION_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>
#include <string>
#include <vector>

namespace keyhop {

inline constexpr char kReflectionService[] = "grpc.reflection.v1alpha.ServerReflection";

// gRPC server reflection over the compiled descriptors: it lists `services` and describes every
// type. gRPC's own plugin is synchronous, and one synchronous service makes a server poll all its
// connections from a second set of threads, which each call pays for. Thread-safe.
std::unique_ptr<grpc::Service> MakeReflectionService(std::vector<std::string> services);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_GRPC_REFLECTION_H_
