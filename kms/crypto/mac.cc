#include "kms/crypto/mac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstring>
#include <memory>

#include "kms/base/check.h"

namespace keyhop {
namespace {

struct FreeContext {
  void operator()(EVP_MAC_CTX* ctx) const { EVP_MAC_CTX_free(ctx); }
};
using Context = std::unique_ptr<EVP_MAC_CTX, FreeContext>;

// Algorithms live as long as the process: fetching costs more than a tag, and a thread that ends
// late may still hold a context of one.
EVP_MAC* Fetch(const char* name) {
  EVP_MAC* mac = EVP_MAC_fetch(nullptr, name, nullptr);
  KEYHOP_CHECK(mac != nullptr, "OpenSSL lacks a MAC that Keyhop needs");
  return mac;
}

EVP_MAC_CTX* ThreadPoly1305() {
  static EVP_MAC* const mac = Fetch("POLY1305");
  thread_local const Context ctx(EVP_MAC_CTX_new(mac));
  KEYHOP_CHECK(ctx != nullptr, "out of memory");
  return ctx.get();
}

// OpenSSL's own HMAC copies two digest contexts for each tag and keeps the key in its context.
// Built from the digest (RFC 2104 §2) it is several times as fast, and the context holds no key
// afterwards.
class ThreadSha256 {
 public:
  ThreadSha256() {
    static EVP_MD* const digest = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    thread_local const std::unique_ptr<EVP_MD_CTX, FreeDigest> ctx(EVP_MD_CTX_new());
    ctx_ = ctx.get();
    KEYHOP_CHECK(digest != nullptr && ctx_ != nullptr, "OpenSSL lacks SHA-256");
    ok_ = EVP_DigestInit_ex2(ctx_, digest, nullptr) == 1;
  }
  ThreadSha256& Add(std::span<const uint8_t> bytes) {
    ok_ = ok_ && (bytes.empty() || EVP_DigestUpdate(ctx_, bytes.data(), bytes.size()) == 1);
    return *this;
  }
  void Finish(std::span<uint8_t, 32> out) {
    unsigned size = 0;
    ok_ = ok_ && EVP_DigestFinal_ex(ctx_, out.data(), &size) == 1 && size == out.size();
    KEYHOP_CHECK(ok_, "SHA-256 failed");
  }

 private:
  struct FreeDigest {
    void operator()(EVP_MD_CTX* ctx) const { EVP_MD_CTX_free(ctx); }
  };
  EVP_MD_CTX* ctx_ = nullptr;
  bool ok_ = false;
};

}  // namespace

Tag OneTimeTag(std::span<const uint8_t> r, std::span<const uint8_t> s, std::span<const uint8_t> a,
               std::span<const uint8_t> b) {
  KEYHOP_CHECK(r.size() == 16 && s.size() == 16, "a one-time key is r and s, 16 bytes each");
  uint8_t key[32];
  std::memcpy(key, r.data(), 16);
  std::memcpy(key + 16, s.data(), 16);
  EVP_MAC_CTX* ctx = ThreadPoly1305();
  Tag tag;
  size_t size = 0;
  bool ok = EVP_MAC_init(ctx, key, sizeof(key), nullptr) == 1;
  OPENSSL_cleanse(key, sizeof(key));
  ok = ok && (a.empty() || EVP_MAC_update(ctx, a.data(), a.size()) == 1);
  ok = ok && (b.empty() || EVP_MAC_update(ctx, b.data(), b.size()) == 1);
  ok = ok && EVP_MAC_final(ctx, tag.data(), &size, tag.size()) == 1;
  KEYHOP_CHECK(ok && size == tag.size(), "Poly1305 failed");
  return tag;
}

Mac HmacSha256(const SecretBytes& key, std::span<const uint8_t> message) {
  constexpr size_t kBlockBytes = 64;
  const std::span<const uint8_t> k = key.Expose(SecretAccess::ForCrypto());
  uint8_t padded[kBlockBytes] = {};
  if (k.size() > kBlockBytes) {
    ThreadSha256().Add(k).Finish(std::span(padded).first<32>());
  } else if (!k.empty()) {
    std::memcpy(padded, k.data(), k.size());
  }
  Mac tag;
  for (uint8_t& byte : padded) byte ^= 0x36;
  ThreadSha256().Add(padded).Add(message).Finish(tag);
  for (uint8_t& byte : padded) byte ^= 0x36 ^ 0x5c;
  ThreadSha256().Add(padded).Add(tag).Finish(tag);
  OPENSSL_cleanse(padded, sizeof(padded));
  return tag;
}

}  // namespace keyhop
