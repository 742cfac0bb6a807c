#include "kms/ak/https_tls.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

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

}  // namespace keyhop
