#ifndef KEYHOP_KMS_CRYPTO_X509_TYPES_H_
#define KEYHOP_KMS_CRYPTO_X509_TYPES_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

// Owners for OpenSSL's objects. Only for .cc files of this folder.

namespace keyhop::crypto {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};

inline void FreeCertificateStack(STACK_OF(X509) * stack) { sk_X509_pop_free(stack, X509_free); }

using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;
using ChainPtr = std::unique_ptr<STACK_OF(X509), Freer<FreeCertificateStack>>;

// Ed25519 and Ed448 hash by themselves.
inline const EVP_MD* DigestFor(EVP_PKEY* key) {
  const int type = EVP_PKEY_get_base_id(key);
  return type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448 ? nullptr : EVP_sha256();
}

// What is signed for a message: a text of ours with its end, and the message.
inline std::vector<uint8_t> SignedBytes(std::span<const uint8_t> message) {
  constexpr char kText[] = "keyhop signed record 1";
  std::vector<uint8_t> bytes(kText, kText + sizeof(kText));
  bytes.insert(bytes.end(), message.begin(), message.end());
  return bytes;
}

}  // namespace keyhop::crypto

#endif  // KEYHOP_KMS_CRYPTO_X509_TYPES_H_
