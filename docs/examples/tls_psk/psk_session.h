#ifndef KEYHOP_DOCS_EXAMPLES_TLS_PSK_PSK_SESSION_H_
#define KEYHOP_DOCS_EXAMPLES_TLS_PSK_PSK_SESSION_H_

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "kms/base/secret_bytes.h"

// What the example needs of OpenSSL 3.0: TLS 1.3 with external pre-shared keys (RFC 8446 §4.2.11,
// RFC 9258 says more) and nothing else.

namespace keyhop::example {

template <auto* kFree>
struct Free {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Free<&SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Free<&SSL_free>>;
using SessionPtr = std::unique_ptr<SSL_SESSION, Free<&SSL_SESSION_free>>;
using BioPtr = std::unique_ptr<BIO, Free<&BIO_free_all>>;

// TLS 1.3 alone, one cipher suite, no certificate, no trust in any, no session tickets: each
// connection has a key of its own, mixed with a fresh Diffie-Hellman exchange (psk_dhe_ke).
ContextPtr MakeContext(const SSL_METHOD* method);

// The session that stands for `key` in the callbacks of OpenSSL, which keeps a copy of the key in
// it and wipes that. Null: OpenSSL said no.
SessionPtr MakePskSession(SSL* ssl, const SecretBytes& key);

// Why the last operation failed.
std::string WhyNot();

}  // namespace keyhop::example

#endif  // KEYHOP_DOCS_EXAMPLES_TLS_PSK_PSK_SESSION_H_
