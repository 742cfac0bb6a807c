#ifndef KEYHOP_TRUSTED_NODE_CORE_NODE_RELAY_H_
#define KEYHOP_TRUSTED_NODE_CORE_NODE_RELAY_H_

#include "absl/status/statusor.h"
#include "kms/base/secret_bytes.h"
#include "trusted_node/core/link/link_end.h"
#include "trusted_node/core/node/messages.h"

// What happens to one frame on one hop (DESIGN §4). Pure functions.

namespace keyhop {

// The most nodes on a path.
inline constexpr size_t kPathNodesMax = 64;

// Checks a received frame's shape against what `self` may get from `from`.
absl::Status CheckShape(const RelayFrame& frame, const NodeId& self, const NodeId& from);

// The payload of a received frame: the pad itself on the first hop, else ciphertext XOR pad.
// DATA_LOSS when the hop's tag does not fit.
absl::StatusOr<SecretBytes> OpenFrame(const RelayFrame& frame, TakenPads& pads);

// Fills in pads, ciphertext (unless `first_hop`) and tag; every other field is set.
void SealFrame(RelayFrame& frame, const TakenPads& pads, const SecretBytes& payload,
               bool first_hop);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_NODE_RELAY_H_
