#ifndef KEYHOP_KMS_AK_HTTPS_TLS_H_
#define KEYHOP_KMS_AK_HTTPS_TLS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kms/tls/asio_context.h"
#include "kms/tls/certificate.h"

namespace keyhop {

// MakeServerContext for HTTP/1.1, which it also tells to clients that ask by ALPN (RFC 7301).
absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> MakeHttpsContext(
    const PemFiles& files, const std::vector<std::string>& groups);

// The certificate of the other end of a finished handshake, in DER; empty if it showed none.
std::string PeerDer(const SSL* ssl);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_HTTPS_TLS_H_
