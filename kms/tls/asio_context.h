#ifndef KEYHOP_KMS_TLS_ASIO_CONTEXT_H_
#define KEYHOP_KMS_TLS_ASIO_CONTEXT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "boost/asio/ssl/context.hpp"
#include "kms/tls/certificate.h"

namespace keyhop {

// The TLS side of an HTTPS server (ETSI GS QKD 014 V1.1.1 §5.1: TLS 1.2 or later, both ends
// authenticated): TLS 1.2 and 1.3, forward-secret AEAD suites only, a client certificate required
// and verified against `files.peer_ca` in the handshake. `groups` are key agreement groups, best
// first; those unknown to the OpenSSL at run time are left out, and an empty list means OpenSSL's
// own. Sessions are never resumed. ExplainFailedHandshake tells why one failed. Fails as
// CheckPemFiles does. The context can be shared by
// connections on all threads once made; who the client is, PeerCertificate and SaeIdOf tell.
absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> MakeServerContext(
    const PemFiles& files, const std::vector<std::string>& groups);

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_ASIO_CONTEXT_H_
