#ifndef KEYHOP_KMS_AK_GRPC_MESSAGES_H_
#define KEYHOP_KMS_AK_GRPC_MESSAGES_H_

#include <grpcpp/server_context.h>

#include <optional>

#include "kms/core/delivery/request.h"

namespace keyhop::delivery::v1 {
class KeyContainer;
class KeyRequest;
class Status;
}  // namespace keyhop::delivery::v1

// Between the messages of keyhop.delivery.v1 and the core's requests and answers.

namespace keyhop {

DrawRequest ReadDraw(const delivery::v1::KeyRequest& request, SaeId caller);

void Fill(const PairStatus& status, delivery::v1::Status& out);
// Whoever owns `out` calls CleanseKeys before it lets go of it.
void Fill(const KeyContainer& container, delivery::v1::KeyContainer& out);
void CleanseKeys(delivery::v1::KeyContainer& container);

// How long a caller will wait: until its deadline, less what the answer needs to come back in time.
// Absent: it has no deadline.
std::optional<Duration> PatienceOf(const grpc::ServerContextBase& context);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_GRPC_MESSAGES_H_
