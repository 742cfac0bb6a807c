#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <climits>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"
#include "kms/crypto/signer.h"
#include "kms/crypto/x509_types.h"

namespace keyhop {
namespace {

using crypto::BioPtr;
using crypto::ChainPtr;
using crypto::DigestPtr;
using crypto::KeyPtr;
using crypto::StoreContextPtr;
using crypto::StorePtr;
using crypto::X509Ptr;

// Chains found good are taken as good for so long. At most so many are remembered.
constexpr int64_t kRememberSeconds = 60;
constexpr size_t kRememberMax = 4096;

absl::Status Refuse(absl::string_view why) {
  return absl::UnauthenticatedError(absl::StrCat("signature: ", why));
}

struct Parts {
  absl::string_view chain;  // All certificates with their lengths.
  std::vector<absl::string_view> certificates;
  absl::string_view signature;
};

absl::StatusOr<Parts> Split(absl::string_view blob) {
  if (blob.size() < 2 || blob.size() > kSignatureBytesMax || blob[0] != 1) {
    return Refuse("malformed");
  }
  const size_t count = static_cast<uint8_t>(blob[1]);
  if (count < 1 || count > kSignatureCertificatesMax) return Refuse("malformed");
  Parts parts;
  absl::string_view rest = blob.substr(2);
  for (size_t i = 0; i < count; ++i) {
    if (rest.size() < 4) return Refuse("malformed");
    size_t size = 0;
    for (int k = 0; k < 4; ++k) size = size << 8 | static_cast<uint8_t>(rest[k]);
    rest.remove_prefix(4);
    if (size > rest.size()) return Refuse("malformed");
    parts.certificates.push_back(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  parts.chain = blob.substr(0, blob.size() - rest.size());
  parts.signature = rest;
  return parts;
}

X509Ptr FromDer(absl::string_view der) {
  const unsigned char* at = reinterpret_cast<const unsigned char*>(der.data());
  X509Ptr certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  const bool whole = at == reinterpret_cast<const unsigned char*>(der.data()) + der.size();
  ERR_clear_error();
  return whole ? std::move(certificate) : nullptr;
}

class CertificateVerifier final : public Verifier {
 public:
  CertificateVerifier(StorePtr store, bool with_crls, CertificateVerifierOptions options)
      : store_(std::move(store)),
        with_crls_(with_crls),
        identity_(std::move(options.identity)),
        unix_seconds_(std::move(options.unix_seconds)) {}

  absl::Status Verify(const std::string& origin, std::span<const uint8_t> message,
                      absl::string_view blob) const override {
    KEYHOP_ASSIGN_OR_RETURN(const Parts parts, Split(blob));
    MutexLock lock(mu_);
    KEYHOP_ASSIGN_OR_RETURN(const Holder* holder, FindHolder(parts));
    if (holder->id != origin) return Refuse("made by somebody else");
    const std::vector<uint8_t> bytes = crypto::SignedBytes(message);
    EVP_PKEY* const key = holder->key.get();
    const DigestPtr ctx(EVP_MD_CTX_new());
    const bool good =
        ctx != nullptr &&
        EVP_DigestVerifyInit(ctx.get(), nullptr, crypto::DigestFor(key), nullptr, key) == 1 &&
        EVP_DigestVerify(ctx.get(), reinterpret_cast<const uint8_t*>(parts.signature.data()),
                         parts.signature.size(), bytes.data(), bytes.size()) == 1;
    ERR_clear_error();
    return good ? absl::OkStatus() : Refuse("not of this message");
  }

 private:
  struct Holder {
    std::string id;
    KeyPtr key;
    int64_t checked_at = 0;
  };

  absl::StatusOr<const Holder*> FindHolder(const Parts& parts) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const int64_t now = unix_seconds_();
    const std::string name(parts.chain);
    const auto known = holders_.find(name);
    if (known != holders_.end() && now >= known->second.checked_at &&
        now - known->second.checked_at < kRememberSeconds) {
      return &known->second;
    }
    if (known != holders_.end()) holders_.erase(known);
    KEYHOP_ASSIGN_OR_RETURN(Holder holder, CheckChain(parts, now));
    if (holders_.size() >= kRememberMax) holders_.clear();
    return &(holders_[name] = std::move(holder));
  }

  absl::StatusOr<Holder> CheckChain(const Parts& parts, int64_t now) const {
    const X509Ptr leaf = FromDer(parts.certificates[0]);
    const ChainPtr others(sk_X509_new_null());
    KEYHOP_CHECK(others != nullptr, "out of memory");
    for (size_t i = 1; i < parts.certificates.size(); ++i) {
      X509Ptr other = FromDer(parts.certificates[i]);
      if (other == nullptr) return Refuse("malformed certificate");
      KEYHOP_CHECK(sk_X509_push(others.get(), other.get()) > 0, "out of memory");
      other.release();  // NOLINT(bugprone-unused-return-value): the stack owns it now.
    }
    if (leaf == nullptr) return Refuse("malformed certificate");
    const StoreContextPtr ctx(X509_STORE_CTX_new());
    KEYHOP_CHECK(ctx != nullptr &&
                     X509_STORE_CTX_init(ctx.get(), store_.get(), leaf.get(), others.get()) == 1,
                 "out of memory");
    X509_VERIFY_PARAM* const param = X509_STORE_CTX_get0_param(ctx.get());
    X509_VERIFY_PARAM_set_time(param, static_cast<time_t>(now));
    X509_VERIFY_PARAM_set_auth_level(param, 2);  // 112 bits: P-256, Ed25519, RSA of 2048 bits.
    if (with_crls_) {
      X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    if (X509_verify_cert(ctx.get()) != 1) {
      ERR_clear_error();
      return Refuse(absl::StrCat(
          "certificate: ", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx.get()))));
    }
    if ((X509_get_key_usage(leaf.get()) & KU_DIGITAL_SIGNATURE) == 0) {
      return Refuse("certificate: not for signatures");
    }
    std::optional<std::string> id = identity_(parts.certificates[0]);
    KeyPtr key(X509_get_pubkey(leaf.get()));
    ERR_clear_error();
    if (!id.has_value() || key == nullptr) return Refuse("certificate: names no one");
    return Holder{.id = *std::move(id), .key = std::move(key), .checked_at = now};
  }

  const StorePtr store_;
  const bool with_crls_;
  const CertificateIdentity identity_;
  const std::function<int64_t()> unix_seconds_;
  mutable Mutex mu_;
  mutable std::map<std::string, Holder> holders_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Verifier>> MakeCertificateVerifier(
    CertificateVerifierOptions options) {
  KEYHOP_CHECK(options.trusted_pem.size() < INT_MAX, "files are small");
  StorePtr store(X509_STORE_new());
  const BioPtr in(
      BIO_new_mem_buf(options.trusted_pem.data(), static_cast<int>(options.trusted_pem.size())));
  KEYHOP_CHECK(store != nullptr && in != nullptr, "out of memory");
  size_t certificates = 0, crls = 0;
  bool ok = true;
  STACK_OF(X509_INFO)* const found = PEM_X509_INFO_read_bio(in.get(), nullptr, nullptr, nullptr);
  for (int i = 0; found != nullptr && i < sk_X509_INFO_num(found); ++i) {
    const X509_INFO* const info = sk_X509_INFO_value(found, i);
    if (info->x509 != nullptr) {
      ok = ok && X509_STORE_add_cert(store.get(), info->x509) == 1;
      ++certificates;
    }
    if (info->crl != nullptr) {
      ok = ok && X509_STORE_add_crl(store.get(), info->crl) == 1;
      ++crls;
    }
  }
  sk_X509_INFO_pop_free(found, X509_INFO_free);
  ERR_clear_error();
  if (!ok || certificates == 0) {
    return absl::InvalidArgumentError("expected PEM certificates of those who may vouch");
  }
  return std::make_unique<CertificateVerifier>(std::move(store), crls > 0, std::move(options));
}

}  // namespace keyhop
