#ifndef KEYHOP_KMS_AK_HTTPS_TLS_H_
#define KEYHOP_KMS_AK_HTTPS_TLS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "boost/asio/ip/tcp.hpp"
#include "kms/tls/asio_context.h"
#include "kms/tls/certificate.h"

namespace keyhop {

// MakeServerContext for HTTP/1.1, which it also tells to clients that ask by ALPN (RFC 7301).
absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> MakeHttpsContext(
    const PemFiles& files, const std::vector<std::string>& groups);

// The certificate of the other end of a finished handshake, in DER; empty if it showed none.
std::string PeerDer(const SSL* ssl);

// "IP:PORT: why" of a handshake that ended with `error`; empty if it was never begun.
std::string FailedHandshake(const SSL* ssl, const boost::asio::ip::tcp::endpoint& peer,
                            const boost::system::error_code& error);

// IP:PORT or [IPv6]:PORT.
absl::StatusOr<boost::asio::ip::tcp::endpoint> ParseEndpoint(const std::string& listen);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_HTTPS_TLS_H_
