#ifndef KEYHOP_KMS_AK_GRPC_WATCH_H_
#define KEYHOP_KMS_AK_GRPC_WATCH_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "keyhop/delivery/v1/delivery.pb.h"
#include "kms/core/delivery/request.h"

namespace keyhop {

// The resume token of a place in a watcher's list, and back; nothing for what is no token.
std::string TokenOf(const WatchRequest::Place& place);
std::optional<WatchRequest::Place> ParseToken(absl::string_view token);

// Serves one call of KeyDelivery.WatchKeys (proto/keyhop/delivery/v1 says what it does). The
// reactor that comes back belongs to gRPC and deletes itself when the call is over. `port` and
// `context` outlive the call.
grpc::ServerWriteReactor<delivery::v1::KeysAnnounced>* StartWatch(
    DeliveryPort& port, absl::StatusOr<SaeId> caller, const delivery::v1::WatchKeysRequest& request,
    grpc::CallbackServerContext& context);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_GRPC_WATCH_H_
