#ifndef KEYHOP_KMS_CLIENT_KEY_STREAM_H_
#define KEYHOP_KMS_CLIENT_KEY_STREAM_H_

#include <memory>

#include "kms/client/client.h"
#include "kms/client/node_channel.h"

namespace keyhop {

// The stream that Client::Stream gives; it keeps `node` alive.
std::unique_ptr<KeyStream> MakeKeyStream(std::shared_ptr<NodeChannel> node, const SaeId& slave,
                                         const StreamOptions& options);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CLIENT_KEY_STREAM_H_
