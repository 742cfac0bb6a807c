#include "kms/crypto/mac.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

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

// HMAC keeps its digest over a change of key, so that it is looked up once a thread.
EVP_MAC_CTX* ThreadHmac() {
  static EVP_MAC* const mac = Fetch("HMAC");
  thread_local const Context ctx = [] {
    Context fresh(EVP_MAC_CTX_new(mac));
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    KEYHOP_CHECK(fresh != nullptr && EVP_MAC_CTX_set_params(fresh.get(), params) == 1,
                 "HMAC-SHA-256 cannot be set up");
    return fresh;
  }();
  return ctx.get();
}

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
  EVP_MAC_CTX* ctx = ThreadHmac();
  // OpenSSL takes a null key to mean "the one before".
  static constexpr uint8_t kNoKey = 0;
  const std::span<const uint8_t> k = key.Expose(SecretAccess::ForCrypto());
  Mac tag;
  size_t size = 0;
  bool ok = EVP_MAC_init(ctx, k.empty() ? &kNoKey : k.data(), k.size(), nullptr) == 1;
  ok = ok && (message.empty() || EVP_MAC_update(ctx, message.data(), message.size()) == 1);
  ok = ok && EVP_MAC_final(ctx, tag.data(), &size, tag.size()) == 1;
  // The context outlives this call: let it forget the key.
  ok = EVP_MAC_init(ctx, &kNoKey, 1, nullptr) == 1 && ok;
  KEYHOP_CHECK(ok && size == tag.size(), "HMAC-SHA-256 failed");
  return tag;
}

}  // namespace keyhop
