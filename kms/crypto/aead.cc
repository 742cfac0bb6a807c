#include "kms/crypto/aead.h"

#include <openssl/evp.h>

#include <climits>
#include <memory>

#include "kms/base/check.h"

namespace keyhop {
namespace {

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* ctx) const { EVP_CIPHER_CTX_free(ctx); }
};
// A context holds the key schedule: it lives for one call and is wiped when freed.
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

const EVP_CIPHER* Aes256Gcm() {
  static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  KEYHOP_CHECK(cipher != nullptr, "OpenSSL lacks AES-256-GCM");
  return cipher;
}

std::span<const uint8_t> AsBytes(absl::string_view s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

}  // namespace

std::string AeadSeal(const SecretBytes& key, std::span<const uint8_t> associated,
                     const SecretBytes& plain, EntropySource& entropy) {
  KEYHOP_CHECK(key.size() == kAeadKeyBytes, "an AES-256 key has 32 bytes");
  KEYHOP_CHECK(plain.size() < INT_MAX && associated.size() < INT_MAX, "too long to seal");
  std::string sealed(plain.size() + kAeadOverheadBytes, '\0');
  uint8_t* const nonce = reinterpret_cast<uint8_t*>(sealed.data());
  uint8_t* const body = nonce + kAeadNonceBytes;
  entropy.Fill({nonce, kAeadNonceBytes});
  const std::span<const uint8_t> in = plain.Expose(SecretAccess::ForCrypto());
  const uint8_t* const k = key.Expose(SecretAccess::ForCrypto()).data();
  const Context ctx(EVP_CIPHER_CTX_new());
  int n = 0;
  const bool ok =
      ctx != nullptr && EVP_EncryptInit_ex2(ctx.get(), Aes256Gcm(), k, nonce, nullptr) == 1 &&
      (associated.empty() || EVP_EncryptUpdate(ctx.get(), nullptr, &n, associated.data(),
                                               static_cast<int>(associated.size())) == 1) &&
      (in.empty() ||
       EVP_EncryptUpdate(ctx.get(), body, &n, in.data(), static_cast<int>(in.size())) == 1) &&
      EVP_EncryptFinal_ex(ctx.get(), body + in.size(), &n) == 1 &&
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, kAeadTagBytes, body + in.size()) == 1;
  KEYHOP_CHECK(ok, "AES-256-GCM failed");
  return sealed;
}

std::string AeadSeal(const SecretBytes& key, absl::string_view associated, const SecretBytes& plain,
                     EntropySource& entropy) {
  return AeadSeal(key, AsBytes(associated), plain, entropy);
}

absl::StatusOr<SecretBytes> AeadOpen(const SecretBytes& key, std::span<const uint8_t> associated,
                                     absl::string_view sealed) {
  KEYHOP_CHECK(key.size() == kAeadKeyBytes, "an AES-256 key has 32 bytes");
  if (sealed.size() < kAeadOverheadBytes || sealed.size() >= INT_MAX ||
      associated.size() >= INT_MAX) {
    return absl::DataLossError("sealed value has an impossible size");
  }
  const uint8_t* const nonce = reinterpret_cast<const uint8_t*>(sealed.data());
  const uint8_t* const body = nonce + kAeadNonceBytes;
  const size_t size = sealed.size() - kAeadOverheadBytes;
  std::string tag(sealed.substr(kAeadNonceBytes + size));
  SecretBytes plain(size);
  const std::span<uint8_t> out = plain.ExposeMutable(SecretAccess::ForCrypto());
  const uint8_t* const k = key.Expose(SecretAccess::ForCrypto()).data();
  const Context ctx(EVP_CIPHER_CTX_new());
  uint8_t end[16];  // GCM writes nothing at the end, but wants to know where.
  int n = 0;
  const bool set_up =
      ctx != nullptr && EVP_DecryptInit_ex2(ctx.get(), Aes256Gcm(), k, nonce, nullptr) == 1 &&
      (associated.empty() || EVP_DecryptUpdate(ctx.get(), nullptr, &n, associated.data(),
                                               static_cast<int>(associated.size())) == 1) &&
      (size == 0 ||
       EVP_DecryptUpdate(ctx.get(), out.data(), &n, body, static_cast<int>(size)) == 1) &&
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_TAG, kAeadTagBytes, tag.data()) == 1;
  KEYHOP_CHECK(set_up, "AES-256-GCM failed");
  if (EVP_DecryptFinal_ex(ctx.get(), end, &n) != 1) {
    return absl::DataLossError("sealed value is not authentic");
  }
  return plain;
}

absl::StatusOr<SecretBytes> AeadOpen(const SecretBytes& key, absl::string_view associated,
                                     absl::string_view sealed) {
  return AeadOpen(key, AsBytes(associated), sealed);
}

}  // namespace keyhop
