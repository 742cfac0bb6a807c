#ifndef KEYHOP_KMS_AK_GRPC_REFUSAL_H_
#define KEYHOP_KMS_AK_GRPC_REFUSAL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "kms/core/delivery/request.h"

namespace keyhop {

// A refusal as the status that ends a call: code, the message that may be shown, and
// keyhop.rpc.v1.Status with its details (proto/keyhop/rpc/v1 says which).
grpc::Status GrpcStatusOf(const Refusal& refusal);

// The same with the trailers `keyhop-refusal` and `retry-after-ms`, which need no protobuf to read.
// The call must not be finished yet.
grpc::Status Refused(grpc::CallbackServerContext& context, const Refusal& refusal);

// The caller's certificate names no SAE.
grpc::Status RefusedUnauthenticated(grpc::CallbackServerContext& context);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_GRPC_REFUSAL_H_
