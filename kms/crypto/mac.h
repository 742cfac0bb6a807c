#ifndef KEYHOP_KMS_CRYPTO_MAC_H_
#define KEYHOP_KMS_CRYPTO_MAC_H_

#include <array>
#include <cstdint>
#include <span>

#include "kms/base/secret_bytes.h"

namespace keyhop {

// A one-time Wegman-Carter tag (16 bytes) and an HMAC-SHA-256 tag (32 bytes). Both are public.
using Tag = std::array<uint8_t, 16>;
using Mac = std::array<uint8_t, 32>;

// Poly1305 (RFC 8439 §2.5) under r (16 bytes, clamped here) and s (16 bytes). Each s is for one
// message only. `a` and `b` are hashed as one message a || b.
Tag OneTimeTag(std::span<const uint8_t> r, std::span<const uint8_t> s, std::span<const uint8_t> a,
               std::span<const uint8_t> b = {});

// HMAC-SHA-256 (RFC 2104) of a public message.
Mac HmacSha256(const SecretBytes& key, std::span<const uint8_t> message);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_MAC_H_
