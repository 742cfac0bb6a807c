#ifndef KEYHOP_TESTS_KMS_CRYPTO_TEST_CERTIFICATES_H_
#define KEYHOP_TESTS_KMS_CRYPTO_TEST_CERTIFICATES_H_

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string>

#include "kms/crypto/x509_types.h"

namespace keyhop {

// A certificate with its key, made for a test.
struct TestCertificate {
  crypto::X509Ptr certificate;
  crypto::KeyPtr key;

  std::string CertificatePem() const {
    const crypto::BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(out.get(), certificate.get());
    return Contents(out.get());
  }
  std::string KeyPem() const {
    const crypto::BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    return Contents(out.get());
  }

 private:
  static std::string Contents(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<size_t>(size)};
  }
};

struct TestCertificateOptions {
  std::string common_name;
  const TestCertificate* issuer = nullptr;  // Null: signs itself.
  bool is_ca = false;
  std::string key_type = "P-256";   // Or "ED25519", "P-192" and other curves.
  long not_before = 1'000'000'000;  // Seconds since 1970.
  long not_after = 2'000'000'000;
  const char* key_usage = "digitalSignature";
};

inline TestCertificate MakeTestCertificate(const TestCertificateOptions& options) {
  TestCertificate made;
  made.key.reset(options.key_type == "ED25519"
                     ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                     : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", options.key_type.c_str()));
  made.certificate.reset(X509_new());
  X509* const c = made.certificate.get();
  static long serial = 0;
  X509_set_version(c, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial);
  ASN1_TIME_set(X509_getm_notBefore(c), options.not_before);
  ASN1_TIME_set(X509_getm_notAfter(c), options.not_after);
  X509_set_pubkey(c, made.key.get());
  X509_NAME* const name = X509_get_subject_name(c);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(options.common_name.c_str()),
                             -1, -1, 0);
  const TestCertificate& issuer = options.issuer == nullptr ? made : *options.issuer;
  X509_set_issuer_name(c, X509_get_subject_name(issuer.certificate.get()));
  const auto extend = [&](int nid, const char* value) {
    X509_EXTENSION* const e = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    X509_add_ext(c, e, -1);
    X509_EXTENSION_free(e);
  };
  extend(NID_basic_constraints, options.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  extend(NID_key_usage, options.is_ca ? "critical,keyCertSign,cRLSign" : options.key_usage);
  X509_sign(c, issuer.key.get(), crypto::DigestFor(issuer.key.get()));
  return made;
}

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_CRYPTO_TEST_CERTIFICATES_H_
