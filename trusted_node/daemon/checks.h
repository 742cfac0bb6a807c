#ifndef KEYHOP_TRUSTED_NODE_DAEMON_CHECKS_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_CHECKS_H_

#include <string>

#include "absl/status/status.h"
#include "keyhop/config/v1/config.pb.h"
#include "kms/tls/certificate.h"

namespace keyhop {

// Everything that a start needs and that can be wrong: certificates, keys, addresses. Opens and
// listens to nothing. For --check-config, and first thing of a start.
absl::Status CheckFiles(const config::v1::Config& config);

// FAILED_PRECONDITION names the field of a file with secrets that others can read.
absl::Status CheckSecretFiles(const config::v1::Config& config);

// The node's certificate, with the trust store for those at the other end.
PemFiles FilesFor(const config::v1::Config& config, const std::string& peer_ca);

// The same error, saying at what.
absl::Status At(const char* what, const absl::Status& status);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_CHECKS_H_
