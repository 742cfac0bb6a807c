#ifndef KEYHOP_TRUSTED_NODE_WIRE_KX_H_
#define KEYHOP_TRUSTED_NODE_WIRE_KX_H_

#include "absl/status/statusor.h"
#include "keyhop/kx/v1/kx.pb.h"
#include "trusted_node/core/node/messages.h"

namespace keyhop {

// The message as it stands on Kx (proto/keyhop/kx/v1/kx.proto). Total: whatever the core says can
// be said. Thread-safe.
kx::v1::KxMessage ToProto(const KxMessage& message);

// The core's message, or INVALID_ARGUMENT that names the field: something absent, of a wrong size,
// past the limits of limits.h, an unknown enum value, or a tag of another kind. A message that
// passes is well formed; whether its tag, session and addresses hold is the core's to say.
// Thread-safe.
absl::StatusOr<KxMessage> FromProto(const kx::v1::KxMessage& proto);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_WIRE_KX_H_
