#ifndef KEYHOP_KMS_STORAGE_BIG_ENDIAN_H_
#define KEYHOP_KMS_STORAGE_BIG_ENDIAN_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace keyhop {

// Numbers in stored records: most significant byte first.
inline void AppendBigEndian64(std::string& out, uint64_t v) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(v >> shift));
}

// From the first 8 bytes, which must be there.
inline uint64_t ReadBigEndian64(absl::string_view bytes) {
  uint64_t v = 0;
  for (size_t i = 0; i < 8; ++i) v = v << 8 | static_cast<uint8_t>(bytes[i]);
  return v;
}

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_BIG_ENDIAN_H_
