#ifndef KEYHOP_KMS_CLIENT_MESSAGES_H_
#define KEYHOP_KMS_CLIENT_MESSAGES_H_

#include "absl/status/statusor.h"
#include "keyhop/delivery/v1/delivery.pb.h"
#include "kms/client/client.h"

// Between this library's types and the messages of keyhop.delivery.v1.

namespace keyhop {

delivery::v1::KeyRequest ToMessage(const SaeId& slave, const DrawOptions& options);
PairStatus FromMessage(const delivery::v1::Status& answer);
// Takes the keys out of `answer`, which is wiped also on failure. INTERNAL: it is not what a node
// answers.
absl::StatusOr<KeyContainer> TakeKeys(delivery::v1::KeyContainer& answer);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CLIENT_MESSAGES_H_
