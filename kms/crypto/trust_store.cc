#include "kms/crypto/trust_store.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <climits>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/crypto/x509_types.h"

namespace keyhop {
namespace {

using crypto::BioPtr;
using crypto::ChainPtr;
using crypto::StoreContextPtr;
using crypto::X509Ptr;

constexpr int kAuthLevel = 2;  // 112 bits: P-256, Ed25519, RSA of 2048 bits.
constexpr int kChainMax = 16;  // Certificates that the other end sends.

BioPtr Reader(absl::string_view bytes) {
  KEYHOP_CHECK(bytes.size() < INT_MAX, "certificates are small");
  const char* const at = bytes.empty() ? "" : bytes.data();
  BioPtr in(BIO_new_mem_buf(at, static_cast<int>(bytes.size())));
  KEYHOP_CHECK(in != nullptr, "out of memory");
  return in;
}

}  // namespace

void RequireStrengthAndRevocation(X509_STORE* store) {
  X509_VERIFY_PARAM* const param = X509_STORE_get0_param(store);
  X509_VERIFY_PARAM_set_auth_level(param, kAuthLevel);
  const STACK_OF(X509_OBJECT)* const all = X509_STORE_get0_objects(store);
  for (int i = 0; i < sk_X509_OBJECT_num(all); ++i) {
    if (X509_OBJECT_get_type(sk_X509_OBJECT_value(all, i)) != X509_LU_CRL) continue;
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return;
  }
}

void TrustStore::Free::operator()(X509_STORE* store) const { X509_STORE_free(store); }

absl::StatusOr<TrustStore> TrustStore::Create(absl::string_view pem) {
  TrustStore trust;
  trust.store_.reset(X509_STORE_new());
  KEYHOP_CHECK(trust.store_ != nullptr, "out of memory");
  const BioPtr in = Reader(pem);
  size_t certificates = 0;
  bool ok = true;
  STACK_OF(X509_INFO)* const found = PEM_X509_INFO_read_bio(in.get(), nullptr, nullptr, nullptr);
  for (int i = 0; found != nullptr && i < sk_X509_INFO_num(found); ++i) {
    const X509_INFO* const info = sk_X509_INFO_value(found, i);
    if (info->x509 != nullptr) {
      ok = ok && X509_STORE_add_cert(trust.store_.get(), info->x509) == 1;
      ++certificates;
    }
    if (info->crl != nullptr) {
      ok = ok && X509_STORE_add_crl(trust.store_.get(), info->crl) == 1;
    }
  }
  sk_X509_INFO_pop_free(found, X509_INFO_free);
  ERR_clear_error();
  if (!ok || certificates == 0) {
    return absl::InvalidArgumentError("expected PEM certificates of those who may vouch");
  }
  RequireStrengthAndRevocation(trust.store_.get());
  return trust;
}

absl::Status TrustStore::Verify(X509* leaf, stack_st_X509* others, int64_t unix_seconds,
                                Purpose purpose) const {
  const StoreContextPtr ctx(X509_STORE_CTX_new());
  KEYHOP_CHECK(ctx != nullptr && X509_STORE_CTX_init(ctx.get(), store_.get(), leaf, others) == 1,
               "out of memory");
  X509_VERIFY_PARAM* const param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_time(param, static_cast<time_t>(unix_seconds));
  if (purpose == Purpose::kTlsClient) {
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);
  }
  const bool good = X509_verify_cert(ctx.get()) == 1;
  ERR_clear_error();
  if (good) return absl::OkStatus();
  return absl::UnauthenticatedError(
      X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx.get())));
}

absl::Status TrustStore::VerifyPem(absl::string_view leaf_pem, absl::string_view others_pem,
                                   int64_t unix_seconds, Purpose purpose) const {
  const X509Ptr leaf(PEM_read_bio_X509(Reader(leaf_pem).get(), nullptr, nullptr, nullptr));
  const ChainPtr others(sk_X509_new_null());
  KEYHOP_CHECK(others != nullptr, "out of memory");
  const BioPtr in = Reader(others_pem);
  while (X509Ptr other{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)}) {
    if (sk_X509_num(others.get()) >= kChainMax) {
      ERR_clear_error();
      return absl::UnauthenticatedError(
          absl::StrCat("expected a chain of at most ", kChainMax, " certificates"));
    }
    KEYHOP_CHECK(sk_X509_push(others.get(), other.get()) > 0, "out of memory");
    other.release();  // NOLINT(bugprone-unused-return-value): the stack owns it now.
  }
  ERR_clear_error();
  if (leaf == nullptr) return absl::UnauthenticatedError("expected a certificate in PEM");
  return Verify(leaf.get(), others.get(), unix_seconds, purpose);
}

}  // namespace keyhop
