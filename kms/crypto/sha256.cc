#include "kms/crypto/sha256.h"

#include <openssl/evp.h>

#include "kms/base/check.h"

namespace keyhop {

std::array<uint8_t, 32> Sha256(std::span<const uint8_t> message) {
  static EVP_MD* const digest = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  std::array<uint8_t, 32> out;
  unsigned size = 0;
  const bool ok = digest != nullptr && EVP_Digest(message.data(), message.size(), out.data(), &size,
                                                  digest, nullptr) == 1;
  KEYHOP_CHECK(ok && size == out.size(), "SHA-256 failed");
  return out;
}

}  // namespace keyhop
