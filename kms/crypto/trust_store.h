#ifndef KEYHOP_KMS_CRYPTO_TRUST_STORE_H_
#define KEYHOP_KMS_CRYPTO_TRUST_STORE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

typedef struct x509_st X509;
struct stack_st_X509;
typedef struct x509_store_st X509_STORE;

namespace keyhop {

// What chains that end in `store` have to be beside valid: all keys with 112 bits of security, and
// if the store has revocation lists, each certificate looked up in one (RFC 5280 §6.3).
void RequireStrengthAndRevocation(X509_STORE* store);

// The certificates of those who may vouch for others, with their revocation lists if there are any
// (RequireStrengthAndRevocation). Thread-safe: nothing changes.
class TrustStore {
 public:
  enum class Purpose { kAny, kTlsClient };  // Extended key usage, where a certificate has one.

  // From PEM: certificates and CRLs. INVALID_ARGUMENT when there is no certificate to trust.
  static absl::StatusOr<TrustStore> Create(absl::string_view pem);

  // OK if a chain from `leaf` over some of `others` ends here and is valid at `unix_seconds`
  // (seconds since 1970). UNAUTHENTICATED with OpenSSL's reason. Both are only read; `others` may
  // be null.
  absl::Status Verify(X509* leaf, stack_st_X509* others, int64_t unix_seconds,
                      Purpose purpose) const;
  // The same of PEM: the first certificate of `leaf_pem`, all of `others_pem` (may be empty).
  absl::Status VerifyPem(absl::string_view leaf_pem, absl::string_view others_pem,
                         int64_t unix_seconds, Purpose purpose) const;

 private:
  struct Free {
    void operator()(X509_STORE* store) const;
  };
  std::unique_ptr<X509_STORE, Free> store_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_TRUST_STORE_H_
