#ifndef KEYHOP_KMS_CRYPTO_ENTROPY_H_
#define KEYHOP_KMS_CRYPTO_ENTROPY_H_

#include <cstdint>
#include <span>

namespace keyhop {

// Where a node's randomness comes from: the operating system in the daemon (OsEntropy in
// os_entropy.h), a seeded generator in the network simulation.
class EntropySource {
 public:
  virtual ~EntropySource() = default;
  virtual void Fill(std::span<uint8_t> out) = 0;
  uint64_t NextU64() {
    uint8_t b[8];
    Fill(b);
    uint64_t v = 0;
    for (uint8_t x : b) v = v << 8 | x;
    return v;
  }
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_ENTROPY_H_
