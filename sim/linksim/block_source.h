#ifndef KEYHOP_SIM_LINKSIM_BLOCK_SOURCE_H_
#define KEYHOP_SIM_LINKSIM_BLOCK_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"

namespace keyhop {

// Key bytes of a module pair: OpenSSL's generator (RAND_bytes), or, with a seed, bytes that a test
// can compute again: HMAC-SHA-256 under the seed of what names the block. Not thread-safe.
class BlockSource {
 public:
  BlockSource(absl::string_view link_id, uint32_t module_pair,
              const std::optional<std::string>& seed);

  SecretBytes Make(uint64_t run, uint64_t block, size_t size_bytes) const;

 private:
  std::string link_id_;
  uint32_t module_pair_;
  std::optional<SecretBytes> seed_;
};

// Says how many blocks are due at a rate: a token accumulator. What it owes after a long pause is
// bounded by `kCatchUp`: a link that was stopped makes nothing up. Not thread-safe.
class BlockPace {
 public:
  static constexpr Duration kCatchUp = Duration::Millis(200);

  // `bits_per_second` is finite and not negative.
  BlockPace(double bits_per_second, size_t block_bytes)
      : bits_per_second_(bits_per_second), block_bits_(8.0 * static_cast<double>(block_bytes)) {}

  // Time passed in which the pair made key.
  void Advance(Instant now);
  // Time passed in which it did not.
  void Skip(Instant now) { last_ = now; }
  // Takes one block's worth, if there is that much.
  bool Take();
  double bits_per_second() const { return bits_per_second_; }

 private:
  double bits_per_second_;
  double block_bits_;
  double tokens_ = 0;  // Bits.
  std::optional<Instant> last_;
};

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_BLOCK_SOURCE_H_
