#ifndef KEYHOP_KMS_CORE_STREAM_BITS_H_
#define KEYHOP_KMS_CORE_STREAM_BITS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace keyhop {

// Accounts with one bit each, the lowest first, as they stand in records. `at` is within `bits`.
inline bool IsSet(const std::vector<uint8_t>& bits, size_t at) {
  return (bits[at / 8] >> (at % 8)) & 1;
}
inline void Set(std::vector<uint8_t>& bits, size_t at) {
  bits[at / 8] |= static_cast<uint8_t>(1u << (at % 8));
}
// Whether the first `count` are set.
inline bool AllSet(const std::vector<uint8_t>& bits, size_t count) {
  for (size_t at = 0; at < count; ++at) {
    if (!IsSet(bits, at)) return false;
  }
  return true;
}

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_BITS_H_
