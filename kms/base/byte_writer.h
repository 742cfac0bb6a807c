#ifndef KEYHOP_KMS_BASE_BYTE_WRITER_H_
#define KEYHOP_KMS_BASE_BYTE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace keyhop {

// Lays out public bytes to be authenticated: big-endian integers, length-prefixed strings.
// Never for key bytes. The layout is ours and fixed; serialised protobuf is not canonical.
class ByteWriter {
 public:
  ByteWriter() { out_.reserve(kUsualBytes); }

  ByteWriter& U8(uint8_t v) {
    out_.push_back(v);
    return *this;
  }
  ByteWriter& U32(uint32_t v) { return BigEndian(v, 4); }
  ByteWriter& U64(uint64_t v) { return BigEndian(v, 8); }
  ByteWriter& Text(absl::string_view s) {
    U32(static_cast<uint32_t>(s.size()));
    out_.insert(out_.end(), s.begin(), s.end());
    return *this;
  }
  ByteWriter& Bytes(std::span<const uint8_t> b) {
    U32(static_cast<uint32_t>(b.size()));
    out_.insert(out_.end(), b.begin(), b.end());
    return *this;
  }
  std::span<const uint8_t> bytes() const { return out_; }

 private:
  ByteWriter& BigEndian(uint64_t v, int size) {
    uint8_t bytes[8];
    for (int i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(v >> (8 * (size - 1 - i)));
    out_.insert(out_.end(), bytes, bytes + size);
    return *this;
  }
  // Most layouts fit: one allocation each.
  static constexpr size_t kUsualBytes = 256;
  std::vector<uint8_t> out_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_BYTE_WRITER_H_
