#include <openssl/err.h>
#include <openssl/pem.h>

#include <climits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/crypto/signer.h"
#include "kms/crypto/x509_types.h"

namespace keyhop {
namespace {

using crypto::BioPtr;
using crypto::DigestPtr;
using crypto::KeyPtr;
using crypto::X509Ptr;

void AppendU32(std::string& out, uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(v >> shift));
}

std::string ToDer(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  KEYHOP_CHECK(size > 0, "a certificate that was read cannot be written");
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

class CertificateSigner final : public Signer {
 public:
  CertificateSigner(std::string head, KeyPtr key) : head_(std::move(head)), key_(std::move(key)) {}

  std::string Sign(std::span<const uint8_t> message) const override {
    const std::vector<uint8_t> bytes = crypto::SignedBytes(message);
    const DigestPtr ctx(EVP_MD_CTX_new());
    size_t size = static_cast<size_t>(EVP_PKEY_get_size(key_.get()));
    std::string signature(size, '\0');
    const bool ok = ctx != nullptr &&
                    EVP_DigestSignInit(ctx.get(), nullptr, crypto::DigestFor(key_.get()), nullptr,
                                       key_.get()) == 1 &&
                    EVP_DigestSign(ctx.get(), reinterpret_cast<uint8_t*>(signature.data()), &size,
                                   bytes.data(), bytes.size()) == 1;
    KEYHOP_CHECK(ok, "signing failed");
    signature.resize(size);
    return head_ + signature;
  }

 private:
  const std::string head_;  // What stands before the signature proper.
  const KeyPtr key_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Signer>> MakeCertificateSigner(absl::string_view certificates_pem,
                                                              const SecretBytes& key_pem) {
  KEYHOP_CHECK(certificates_pem.size() < INT_MAX && key_pem.size() < INT_MAX, "files are small");
  const BioPtr in(
      BIO_new_mem_buf(certificates_pem.data(), static_cast<int>(certificates_pem.size())));
  std::vector<X509Ptr> chain;
  while (X509* certificate = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
    chain.emplace_back(certificate);
  }
  ERR_clear_error();
  if (chain.empty() || chain.size() > kSignatureCertificatesMax) {
    return absl::InvalidArgumentError(absl::StrCat("expected 1 to ", kSignatureCertificatesMax,
                                                   " PEM certificates, found ", chain.size()));
  }
  const std::span<const uint8_t> key_text = key_pem.Expose(SecretAccess::ForCrypto());
  const BioPtr key_in(BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())));
  // An encrypted key is an error, not a question at the terminal.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  KeyPtr key(key_in == nullptr
                 ? nullptr
                 : PEM_read_bio_PrivateKey(key_in.get(), nullptr, no_password, nullptr));
  const bool fits = key != nullptr && X509_check_private_key(chain[0].get(), key.get()) == 1;
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError("expected a PEM private key without a password");
  }
  if (!fits) return absl::InvalidArgumentError("the private key is not the certificate's");
  std::string head;
  head.push_back(1);
  head.push_back(static_cast<char>(chain.size()));
  for (const X509Ptr& certificate : chain) {
    const std::string der = ToDer(certificate.get());
    AppendU32(head, static_cast<uint32_t>(der.size()));
    head += der;
  }
  if (head.size() + static_cast<size_t>(EVP_PKEY_get_size(key.get())) > kSignatureBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("certificates of more than ", kSignatureBytesMax, " bytes"));
  }
  return std::make_unique<CertificateSigner>(std::move(head), std::move(key));
}

}  // namespace keyhop
