#include "kms/ak/https_tls.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>

#include "absl/strings/str_cat.h"
#include "kms/ak/http.h"
#include "kms/base/status_macros.h"
#include "kms/tls/verification.h"

namespace keyhop {
namespace {

namespace net = boost::asio;
using boost::system::error_code;

int ChooseHttp11(SSL*, const unsigned char** out, unsigned char* out_size,
                 const unsigned char* offered, unsigned offered_size, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  const int found = SSL_select_next_proto(const_cast<unsigned char**>(out), out_size, kOurs,
                                          sizeof kOurs - 1, offered, offered_size);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> MakeHttpsContext(
    const PemFiles& files, const std::vector<std::string>& groups) {
  KEYHOP_ASSIGN_OR_RETURN(std::shared_ptr<boost::asio::ssl::context> context,
                          MakeServerContext(files, groups));
  SSL_CTX_set_alpn_select_cb(context->native_handle(), ChooseHttp11, nullptr);
  return context;
}

std::string PeerDer(const SSL* ssl) {
  X509* certificate = SSL_get1_peer_certificate(ssl);
  if (certificate == nullptr) return "";
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  X509_free(certificate);
  if (size <= 0) return "";
  std::string out(reinterpret_cast<const char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return out;
}

std::string FailedHandshake(const SSL* ssl, const net::ip::tcp::endpoint& peer,
                            const error_code& error) {
  const bool by_tls = error.category() == net::error::get_ssl_category();
  const bool overdue =
      error == net::error::operation_aborted || error == net::error::bad_descriptor;
  const std::string why =
      overdue && SSL_in_before(ssl) == 0
          ? "not finished in time"
          : ExplainFailedHandshake(ssl, by_tls ? static_cast<unsigned>(error.value()) : 0);
  if (why.empty()) return "";
  return absl::StrCat(peer.address().to_string(), ":", peer.port(), ": ", why);
}

absl::StatusOr<net::ip::tcp::endpoint> ParseEndpoint(const std::string& listen) {
  KEYHOP_ASSIGN_OR_RETURN(const ListenAddress address, ReadListenAddress(listen));
  error_code ec;
  const net::ip::address ip = net::ip::make_address(address.ip, ec);
  if (ec) return BadListenAddress(listen);
  return net::ip::tcp::endpoint(ip, address.port);
}

}  // namespace keyhop
