#ifndef KEYHOP_KMS_CRYPTO_SHA256_H_
#define KEYHOP_KMS_CRYPTO_SHA256_H_

#include <array>
#include <cstdint>
#include <span>

namespace keyhop {

// SHA-256 (FIPS 180-4) of public bytes. Never of key bytes: a public digest of a short or known
// key is an oracle on it.
std::array<uint8_t, 32> Sha256(std::span<const uint8_t> message);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_SHA256_H_
