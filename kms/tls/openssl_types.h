#ifndef KEYHOP_KMS_TLS_OPENSSL_TYPES_H_
#define KEYHOP_KMS_TLS_OPENSSL_TYPES_H_

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

// Owners for OpenSSL's objects. Only for .cc files of this folder.

namespace keyhop::tls {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

// OpenSSL's oldest pending complaint in this thread, as text; empties the queue.
inline std::string TakeOpensslError() {
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "unknown reason";
}

}  // namespace keyhop::tls

#endif  // KEYHOP_KMS_TLS_OPENSSL_TYPES_H_
