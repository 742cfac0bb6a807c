#ifndef KEYHOP_KMS_CRYPTO_OS_ENTROPY_H_
#define KEYHOP_KMS_CRYPTO_OS_ENTROPY_H_

#include <cstdint>
#include <span>

#include "kms/crypto/entropy.h"

namespace keyhop {

// Randomness from OpenSSL's generator, which the operating system seeds (also again after a fork).
// A failure ends the process: nothing can go on safely without it. Thread-safe.
class OsEntropy final : public EntropySource {
 public:
  void Fill(std::span<uint8_t> out) override;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_OS_ENTROPY_H_
