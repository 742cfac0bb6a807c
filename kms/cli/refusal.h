#ifndef KEYHOP_KMS_CLI_REFUSAL_H_
#define KEYHOP_KMS_CLI_REFUSAL_H_

#include <grpcpp/support/status.h>

#include "kms/core/delivery/request.h"

namespace keyhop::cli {

// What the node said when it ended a call with an error: its message, and the details that
// keyhop.rpc.v1.ErrorInfo gives by name (none if it gave none, or what cannot be read). Both are
// well-formed UTF-8, but may hold characters that steer a terminal. Kind and time are not read.
Refusal RefusalOf(const grpc::Status& status);

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_REFUSAL_H_
