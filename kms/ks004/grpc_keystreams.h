#ifndef KEYHOP_KMS_KS004_GRPC_KEYSTREAMS_H_
#define KEYHOP_KMS_KS004_GRPC_KEYSTREAMS_H_

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "kms/ak/grpc_service.h"
#include "kms/core/keystream/request.h"

namespace keyhop {

// The service keyhop.etsi004.v2.KeyStreams. Key bytes are wiped from an answer once it is
// serialised. `port` outlives the service and its server, as of MakeDeliveryGrpcService.
std::unique_ptr<grpc::Service> MakeKeystreamGrpcService(KeystreamPort& port, GrpcPeerReader peer);

}  // namespace keyhop

#endif  // KEYHOP_KMS_KS004_GRPC_KEYSTREAMS_H_
