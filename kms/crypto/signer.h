#ifndef KEYHOP_KMS_CRYPTO_SIGNER_H_
#define KEYHOP_KMS_CRYPTO_SIGNER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/base/secret_bytes.h"

namespace keyhop {

// A signature carries the certificates of who signed: version (1 byte), their count (1 byte), each
// with its length (4 bytes) as DER, the signer's first, then the signature proper: ECDSA with
// SHA-256 (FIPS 186-4), Ed25519 (RFC 8032) or RSA, as the certificate's key is. What is signed
// begins with a text of ours, so that no signature of TLS passes for one of these.
inline constexpr size_t kSignatureBytesMax = 16 * 1024;
inline constexpr size_t kSignatureCertificatesMax = 4;

// Signs for the holder of a certificate. Thread-safe.
class Signer {
 public:
  virtual ~Signer() = default;
  virtual std::string Sign(std::span<const uint8_t> message) const = 0;
};

// Checks who signed. Thread-safe.
class Verifier {
 public:
  virtual ~Verifier() = default;
  // OK if `origin` signed `message`. UNAUTHENTICATED with the reason: malformed, not vouched for,
  // out of its time, the certificate of somebody else, or not this message.
  virtual absl::Status Verify(const std::string& origin, std::span<const uint8_t> message,
                              absl::string_view signature) const = 0;
};

// With a private key and its certificate, both PEM; certificates after the first are sent along as
// its chain. INVALID_ARGUMENT when they cannot be read or do not belong together.
absl::StatusOr<std::unique_ptr<Signer>> MakeCertificateSigner(absl::string_view certificates_pem,
                                                              const SecretBytes& key_pem);

// The ID of a certificate's holder; nullopt if it names none.
using CertificateIdentity = std::function<std::optional<std::string>(absl::string_view der)>;

struct CertificateVerifierOptions {
  // PEM: those who may vouch. If revocation lists are among it, each certificate is looked up.
  std::string trusted_pem;
  CertificateIdentity identity;
  // Seconds since 1970, for the certificates' validity.
  std::function<int64_t()> unix_seconds;
};

// INVALID_ARGUMENT when there is no certificate to trust.
absl::StatusOr<std::unique_ptr<Verifier>> MakeCertificateVerifier(
    CertificateVerifierOptions options);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_SIGNER_H_
