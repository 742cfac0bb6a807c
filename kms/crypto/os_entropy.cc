#include "kms/crypto/os_entropy.h"

#include <openssl/rand.h>

#include <algorithm>
#include <climits>

#include "kms/base/check.h"

namespace keyhop {

void OsEntropy::Fill(std::span<uint8_t> out) {
  while (!out.empty()) {
    const size_t n = std::min<size_t>(out.size(), INT_MAX);
    KEYHOP_CHECK(RAND_bytes(out.data(), static_cast<int>(n)) == 1, "no randomness");
    out = out.subspan(n);
  }
}

}  // namespace keyhop
