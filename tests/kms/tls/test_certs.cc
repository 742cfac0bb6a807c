#include "tests/kms/tls/test_certs.h"

#include <openssl/pem.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <utility>

#include "kms/base/check.h"
#include "kms/tls/openssl_types.h"

namespace keyhop {
namespace {

struct KeyAndCert {
  tls::KeyPtr key;
  tls::X509Ptr cert;
};

void AddExtension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX ctx;
  X509V3_set_ctx_nodb(&ctx);
  X509V3_set_ctx(&ctx, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str());
  KEYHOP_CHECK(extension != nullptr, "bad extension");
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

KeyAndCert Make(const TestCertOptions& options, const KeyAndCert* issuer) {
  static long serial = 0;
  KeyAndCert made{tls::KeyPtr(EVP_EC_gen("P-256")), tls::X509Ptr(X509_new())};
  X509* cert = made.cert.get();
  X509_set_version(cert, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(cert), options.valid_from_s);
  X509_gmtime_adj(X509_getm_notAfter(cert), options.valid_until_s);
  X509_set_pubkey(cert, made.key.get());
  if (!options.common_name.empty()) {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(options.common_name.c_str()),
                               -1, -1, 0);
  }
  X509* by = issuer != nullptr ? issuer->cert.get() : cert;
  X509_set_issuer_name(cert, X509_get_subject_name(by));
  AddExtension(cert, by, NID_basic_constraints,
               issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (!options.alt_names.empty()) AddExtension(cert, by, NID_subject_alt_name, options.alt_names);
  if (!options.extended_key_usage.empty()) {
    AddExtension(cert, by, NID_ext_key_usage, options.extended_key_usage);
  }
  X509_sign(cert, issuer != nullptr ? issuer->key.get() : made.key.get(), EVP_sha256());
  return made;
}

void Write(const KeyAndCert& pair, const std::string& stem) {
  FILE* cert = std::fopen((stem + ".crt").c_str(), "w");
  FILE* key = std::fopen((stem + ".key").c_str(), "w");
  KEYHOP_CHECK(cert != nullptr && key != nullptr, "cannot write test certificates");
  PEM_write_X509(cert, pair.cert.get());
  PEM_write_PrivateKey(key, pair.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(cert);
  std::fclose(key);
}

}  // namespace

struct TestCerts::Cas {
  std::map<std::string, KeyAndCert> by_name;
};

TestCerts::TestCerts() : cas_(std::make_unique<Cas>()) {
  std::string pattern = (std::filesystem::temp_directory_path() / "keyhop_certs_XXXXXX").string();
  KEYHOP_CHECK(mkdtemp(pattern.data()) != nullptr, "no temporary folder");
  folder_ = pattern;
}

TestCerts::~TestCerts() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void TestCerts::AddCa(const std::string& name) {
  KeyAndCert ca = Make({.ca = "", .common_name = name, .alt_names = ""}, nullptr);
  Write(ca, Path(name));
  cas_->by_name.emplace(name, std::move(ca));
}

void TestCerts::Add(const std::string& name, const TestCertOptions& options) {
  Write(Make(options, &cas_->by_name.at(options.ca)), Path(name));
}

}  // namespace keyhop
