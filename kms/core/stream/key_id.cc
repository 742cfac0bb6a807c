#include "kms/core/stream/key_id.h"

#include <algorithm>
#include <array>

#include "kms/base/byte_writer.h"
#include "kms/base/check.h"
#include "kms/core/stream/layout.h"
#include "kms/crypto/mac.h"

namespace keyhop {
namespace {

constexpr size_t kTagBytes = 6;
constexpr int kLocationBits = 74;
constexpr size_t kLocationBytes = 10;  // The last byte uses its upper two bits.
using ShortTag = std::array<uint8_t, kTagBytes>;
using LocationBytes = std::array<uint8_t, kLocationBytes>;

// Bit `i` of a UUID, most significant first, is fixed: version (48..51) and variant (64, 65).
bool Fixed(int i) { return (i >= 48 && i < 52) || i == 64 || i == 65; }

bool BitOf(std::span<const uint8_t> bytes, int i) { return (bytes[i / 8] >> (7 - i % 8)) & 1; }
void SetBit(std::span<uint8_t> bytes, int i, bool bit) {
  if (bit) bytes[i / 8] |= static_cast<uint8_t>(1u << (7 - i % 8));
}

LocationBytes PackLocation(const KeyLocation& at) {
  LocationBytes out = {};
  int bit = 0;
  const auto put = [&](uint64_t v, int width) {
    for (int i = width - 1; i >= 0; --i) SetBit(out, bit++, (v >> i) & 1);
  };
  put(at.offset, 44);
  put(at.length_bytes, 12);
  put(at.slave_number, 18);
  return out;
}

KeyLocation UnpackLocation(const LocationBytes& bytes) {
  int bit = 0;
  const auto get = [&](int width) {
    uint64_t v = 0;
    for (int i = 0; i < width; ++i) v = v << 1 | static_cast<uint64_t>(BitOf(bytes, bit++));
    return v;
  };
  KeyLocation at;
  at.offset = get(44);
  at.length_bytes = static_cast<uint32_t>(get(12));
  at.slave_number = static_cast<uint32_t>(get(18));
  return at;
}

ShortTag TagOf(const SecretBytes& id_key, const KeyIdBinding& b, const KeyLocation& at) {
  ByteWriter w;
  w.U8(0x41);
  Lay(w, b.stream);
  w.U64(b.epoch).U64(at.offset).U32(at.length_bytes).U32(at.slave_number);
  w.Text(b.master.value).Text(b.slave.value);
  const Mac mac = HmacSha256(id_key, w.bytes());
  ShortTag tag;
  std::copy_n(mac.begin(), kTagBytes, tag.begin());
  return tag;
}

// XOR with a stream under the tag: encrypts and decrypts.
LocationBytes Mask(const SecretBytes& id_key, const ShortTag& tag, LocationBytes bytes) {
  ByteWriter w;
  w.U8(0x42).Bytes(tag);
  const Mac stream = HmacSha256(id_key, w.bytes());
  for (size_t i = 0; i < kLocationBytes; ++i) bytes[i] ^= stream[i];
  bytes[kLocationBytes - 1] &= 0xc0;
  return bytes;
}

KeyId Assemble(const ShortTag& tag, const LocationBytes& location) {
  KeyId id = {};
  int taken = 0;
  for (int i = 0; i < 128; ++i) {
    if (Fixed(i)) continue;
    SetBit(id, i, taken < 48 ? BitOf(tag, taken) : BitOf(location, taken - 48));
    ++taken;
  }
  KEYHOP_CHECK(taken == 48 + kLocationBits, "a UUID has 122 free bits");
  id[6] |= 0x40;
  id[8] |= 0x80;
  return id;
}

void Take(const KeyId& id, ShortTag& tag, LocationBytes& location) {
  tag = {};
  location = {};
  int taken = 0;
  for (int i = 0; i < 128; ++i) {
    if (Fixed(i)) continue;
    if (taken < 48) {
      SetBit(tag, taken, BitOf(id, i));
    } else {
      SetBit(location, taken - 48, BitOf(id, i));
    }
    ++taken;
  }
}

}  // namespace

KeyId MakeKeyId(const SecretBytes& id_key, const KeyIdBinding& binding, const KeyLocation& at) {
  KEYHOP_CHECK(at.offset < (uint64_t{1} << 44), "offset beyond a key_ID's reach");
  KEYHOP_CHECK(at.length_bytes > 0 && at.length_bytes < (1u << 12), "key length in a key_ID");
  KEYHOP_CHECK(at.slave_number < (1u << 18), "slave number in a key_ID");
  const ShortTag tag = TagOf(id_key, binding, at);
  return Assemble(tag, Mask(id_key, tag, PackLocation(at)));
}

KeyLocation PeekLocation(const SecretBytes& id_key, const KeyId& id) {
  ShortTag tag;
  LocationBytes masked;
  Take(id, tag, masked);
  return UnpackLocation(Mask(id_key, tag, masked));
}

bool VerifyKeyId(const SecretBytes& id_key, const KeyIdBinding& binding, const KeyLocation& at,
                 const KeyId& id) {
  ShortTag tag;
  LocationBytes masked;
  Take(id, tag, masked);
  const KeyId expected = Assemble(TagOf(id_key, binding, at), masked);
  return EqualConstantTime(expected, id);
}

}  // namespace keyhop
