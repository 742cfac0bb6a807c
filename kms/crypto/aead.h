#ifndef KEYHOP_KMS_CRYPTO_AEAD_H_
#define KEYHOP_KMS_CRYPTO_AEAD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/base/secret_bytes.h"
#include "kms/crypto/entropy.h"

namespace keyhop {

inline constexpr size_t kAeadKeyBytes = 32;
inline constexpr size_t kAeadNonceBytes = 12;
inline constexpr size_t kAeadTagBytes = 16;
inline constexpr size_t kAeadOverheadBytes = kAeadNonceBytes + kAeadTagBytes;

// AES-256-GCM (NIST SP 800-38D) with a nonce of 96 random bits: at most 2^32 messages a key.
// Returns nonce || ciphertext || tag. `associated` is bound to it and not contained. The key has
// kAeadKeyBytes bytes. Thread-safe.
std::string AeadSeal(const SecretBytes& key, std::span<const uint8_t> associated,
                     const SecretBytes& plain, EntropySource& entropy);
std::string AeadSeal(const SecretBytes& key, absl::string_view associated, const SecretBytes& plain,
                     EntropySource& entropy);

// The plaintext, or DATA_LOSS when the key, the associated data or any byte of `sealed` is not
// what was sealed; no byte of an unauthentic plaintext is given out.
absl::StatusOr<SecretBytes> AeadOpen(const SecretBytes& key, std::span<const uint8_t> associated,
                                     absl::string_view sealed);
absl::StatusOr<SecretBytes> AeadOpen(const SecretBytes& key, absl::string_view associated,
                                     absl::string_view sealed);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_AEAD_H_
