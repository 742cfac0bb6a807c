#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_LAYOUT_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_LAYOUT_H_

#include <span>

#include "kms/base/byte_writer.h"
#include "kms/base/secret_bytes.h"
#include "trusted_node/core/link/messages.h"

// The bytes that a link's HMAC-SHA-256 covers (DESIGN §3, "Who vouches"): a type byte, the link's
// ID, then every field but the mac, laid out by us. Two messages with equal layouts are equal.

namespace keyhop {

ByteWriter LayoutOf(const LinkMessage& message);
// Other control between the two ends, `body` laid out by its owner, with a type byte of its own.
ByteWriter LayoutOfOther(const LinkId& link, std::span<const uint8_t> body);

const LinkId& LinkOf(const LinkMessage& message);
const Mac& MacOf(const LinkMessage& message);
void SetMac(const Mac& mac, LinkMessage& message);

// Whether the mac is that of the layout under `key`; in constant time.
bool MacHolds(const SecretBytes& key, const LinkMessage& message);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_LAYOUT_H_
