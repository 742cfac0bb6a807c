#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"
#include "kms/crypto/signer.h"
#include "kms/crypto/trust_store.h"
#include "kms/crypto/x509_types.h"

namespace keyhop {
namespace {

using crypto::ChainPtr;
using crypto::DigestPtr;
using crypto::KeyPtr;
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
  CertificateVerifier(TrustStore trust, CertificateVerifierOptions options)
      : trust_(std::move(trust)),
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
    if (const absl::Status vouched =
            trust_.Verify(leaf.get(), others.get(), now, TrustStore::Purpose::kAny);
        !vouched.ok()) {
      return Refuse(absl::StrCat("certificate: ", vouched.message()));
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

  const TrustStore trust_;
  const CertificateIdentity identity_;
  const std::function<int64_t()> unix_seconds_;
  mutable Mutex mu_;
  mutable std::map<std::string, Holder> holders_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Verifier>> MakeCertificateVerifier(
    CertificateVerifierOptions options) {
  KEYHOP_ASSIGN_OR_RETURN(TrustStore trust, TrustStore::Create(options.trusted_pem));
  return std::make_unique<CertificateVerifier>(std::move(trust), std::move(options));
}

}  // namespace keyhop
