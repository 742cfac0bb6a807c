#include "docs/examples/tls_psk/psk_session.h"

#include <openssl/err.h>

#include <cerrno>
#include <cstring>

namespace keyhop::example {
namespace {

// 256 bits of key, and SHA-256, the hash of an external key of which nothing else is said.
constexpr char kSuite[] = "TLS_CHACHA20_POLY1305_SHA256";
constexpr unsigned char kSuiteNumber[] = {0x13, 0x03};

}  // namespace

ContextPtr MakeContext(const SSL_METHOD* method) {
  ContextPtr context(SSL_CTX_new(method));
  if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context.get(), kSuite) != 1 ||
      SSL_CTX_set_num_tickets(context.get(), 0) != 1) {
    return nullptr;
  }
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  return context;
}

SessionPtr MakePskSession(SSL* ssl, const SecretBytes& key) {
  SessionPtr session(SSL_SESSION_new());
  const std::span<const uint8_t> bytes = key.Expose(SecretAccess::ForCrypto());
  if (session == nullptr ||
      SSL_SESSION_set1_master_key(session.get(), bytes.data(), bytes.size()) != 1 ||
      SSL_SESSION_set_cipher(session.get(), SSL_CIPHER_find(ssl, kSuiteNumber)) != 1 ||
      SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1) {
    return nullptr;
  }
  return session;
}

std::string WhyNot() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return errno == 0 ? "the other end left" : std::strerror(errno);
  const char* reason = ERR_reason_error_string(error);
  return reason == nullptr ? "unknown error" : reason;
}

}  // namespace keyhop::example
