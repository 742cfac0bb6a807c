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
constexpr size_t kLocationBytes = 10;  // 74 bits: the last byte uses its upper two.
using ShortTag = std::array<uint8_t, kTagBytes>;
using LocationBytes = std::array<uint8_t, kLocationBytes>;

// Bits 48 to 51 (version) and 64, 65 (variant) of a UUID are fixed, most significant first.
constexpr uint64_t kVersion4 = uint64_t{4} << 12;
constexpr uint64_t kVariant = uint64_t{2} << 62;
constexpr uint64_t kLow12 = (uint64_t{1} << 12) - 1;
constexpr uint64_t kLow52 = (uint64_t{1} << 52) - 1;
constexpr uint64_t kLow62 = (uint64_t{1} << 62) - 1;

uint64_t BigEndian(std::span<const uint8_t> bytes) {
  uint64_t v = 0;
  for (const uint8_t byte : bytes) v = v << 8 | byte;
  return v;
}
void PutBigEndian(uint64_t v, std::span<uint8_t> out) {
  for (size_t i = out.size(); i > 0; --i, v >>= 8) out[i - 1] = static_cast<uint8_t>(v);
}

// A location's 74 bits as its first 64 and its last 10.
struct LocationBits {
  uint64_t first = 0;
  uint64_t last = 0;
};
LocationBits BitsOf(const LocationBytes& bytes) {
  const std::span<const uint8_t> all(bytes);
  return {BigEndian(all.first(8)), BigEndian(all.subspan(8)) >> 6};
}
LocationBytes BytesOf(const LocationBits& bits) {
  LocationBytes out;
  const std::span<uint8_t> all(out);
  PutBigEndian(bits.first, all.first(8));
  PutBigEndian(bits.last << 6, all.subspan(8));
  return out;
}

// 44 bits of offset, 12 of length, 18 of the slave's number.
LocationBytes PackLocation(const KeyLocation& at) {
  return BytesOf({at.offset << 20 | uint64_t{at.length_bytes} << 8 | at.slave_number >> 10,
                  at.slave_number & 0x3ffu});
}

KeyLocation UnpackLocation(const LocationBytes& bytes) {
  const LocationBits bits = BitsOf(bytes);
  KeyLocation at;
  at.offset = bits.first >> 20;
  at.length_bytes = static_cast<uint32_t>(bits.first >> 8 & kLow12);
  at.slave_number = static_cast<uint32_t>((bits.first & 0xff) << 10 | bits.last);
  return at;
}

ShortTag TagOf(const SecretBytes& id_key, const KeyIdBinding& b, const KeyLocation& at) {
  ByteWriter w;
  w.U8(0x41);
  // Each stream has keys of its own, so that over how many paths it comes need not stand here.
  w.Text(b.stream.source.value).Text(b.stream.destination.value);
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

// The 122 free bits: the tag's 48, then the location's 74, of which 12 lie before the variant.
KeyId Assemble(const ShortTag& tag, const LocationBytes& location) {
  const LocationBits bits = BitsOf(location);
  KeyId id;
  const std::span<uint8_t> all(id);
  PutBigEndian(BigEndian(tag) << 16 | kVersion4 | bits.first >> 52, all.first(8));
  PutBigEndian(kVariant | (bits.first & kLow52) << 10 | bits.last, all.subspan(8));
  return id;
}

void Take(const KeyId& id, ShortTag& tag, LocationBytes& location) {
  const std::span<const uint8_t> all(id);
  const uint64_t high = BigEndian(all.first(8));
  const uint64_t low = BigEndian(all.subspan(8)) & kLow62;
  PutBigEndian(high >> 16, tag);
  location = BytesOf({(high & kLow12) << 52 | low >> 10, low & 0x3ff});
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
