#ifndef KEYHOP_KMS_AK_GRPC_SERVICE_H_
#define KEYHOP_KMS_AK_GRPC_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server_context.h>

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "kms/core/delivery/request.h"

namespace keyhop {

// Says which SAE the client of a call is, by its certificate (GrpcPeers does). Called
// for each call, on any thread.
using GrpcPeerReader = std::function<absl::StatusOr<SaeId>(const grpc::ServerContextBase&)>;

// The service keyhop.delivery.v1.KeyDelivery: the same core requests as REST, so the same answers
// and messages (proto/keyhop/delivery/v1 has the table of codes). Key bytes are wiped from the
// answer once it is serialised; gRPC's own copy of the serialised bytes is out of reach.
//
// `port` outlives the service and the server that it is registered with, and answers until that
// server has shut down.
std::unique_ptr<grpc::Service> MakeDeliveryGrpcService(DeliveryPort& port, GrpcPeerReader peer);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_GRPC_SERVICE_H_
