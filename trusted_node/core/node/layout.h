#ifndef KEYHOP_TRUSTED_NODE_CORE_NODE_LAYOUT_H_
#define KEYHOP_TRUSTED_NODE_CORE_NODE_LAYOUT_H_

#include "kms/base/byte_writer.h"
#include "trusted_node/core/node/messages.h"

namespace keyhop {

// What a frame's hop tag covers before the payload: every field but ciphertext and tag.
ByteWriter LayoutOf(const RelayFrame& frame);
// What a routed control message's mac covers: every field but the mac, the body with its own tag.
ByteWriter LayoutOf(const RoutedControl& control);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_NODE_LAYOUT_H_
