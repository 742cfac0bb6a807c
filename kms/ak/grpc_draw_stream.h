#ifndef KEYHOP_KMS_AK_GRPC_DRAW_STREAM_H_
#define KEYHOP_KMS_AK_GRPC_DRAW_STREAM_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/statusor.h"
#include "keyhop/delivery/v1/delivery.pb.h"
#include "kms/core/delivery/request.h"

namespace keyhop {

// Serves one call of KeyDelivery.DrawStream (proto/keyhop/delivery/v1 says what it does). The
// reactor that comes back belongs to gRPC and deletes itself when the call is over. `port` and
// `context` outlive the call.
grpc::ServerBidiReactor<delivery::v1::DrawStreamRequest, delivery::v1::KeyContainer>*
StartDrawStream(DeliveryPort& port, absl::StatusOr<SaeId> caller,
                grpc::CallbackServerContext& context);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_GRPC_DRAW_STREAM_H_
