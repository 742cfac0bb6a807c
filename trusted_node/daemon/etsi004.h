#ifndef KEYHOP_TRUSTED_NODE_DAEMON_ETSI004_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_ETSI004_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kms/ak/https_server.h"
#include "kms/base/instant.h"
#include "kms/core/keystream/request.h"
#include "kms/ks004/tls_server.h"
#include "trusted_node/core/node/node.h"

namespace keyhop {

// The listener of ETSI GS QKD 004's binary forms, with the certificates and limits of an HTTPS one;
// null where it has no address. Waits for `window` for a port that a process just killed still
// holds.
absl::StatusOr<std::unique_ptr<KeystreamServer>> StartKeystreamServer(HttpsConfig https,
                                                                      Duration window,
                                                                      KeystreamPort& port);
void AddCounts(const KeystreamServer& server, NodeSnapshot& snapshot);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_ETSI004_H_
