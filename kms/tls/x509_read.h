#ifndef KEYHOP_KMS_TLS_X509_READ_H_
#define KEYHOP_KMS_TLS_X509_READ_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/tls/openssl_types.h"

// How certificates and their files are read. Only for .cc files of this folder.

namespace keyhop::tls {

// NOT_FOUND: "PATH: expected `expected`: cannot be read".
absl::StatusOr<std::string> ReadFile(const std::string& path, absl::string_view expected);

// The first certificate of `bytes`, PEM or DER; null if there is none.
X509Ptr ReadX509(absl::string_view bytes);

// What was written to a memory BIO.
std::string TextOf(BIO* out);
std::string TimeText(const ASN1_TIME* time);

// Frees what belongs to a context or a connection of OpenSSL, as SSL_get_ex_new_index takes it.
template <typename T>
void FreeExData(void*, void* object, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<T*>(object);
}

}  // namespace keyhop::tls

#endif  // KEYHOP_KMS_TLS_X509_READ_H_
