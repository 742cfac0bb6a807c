#ifndef KEYHOP_TESTS_KMS_TLS_TEST_CERTS_H_
#define KEYHOP_TESTS_KMS_TLS_TEST_CERTS_H_

#include <memory>
#include <string>

#include "kms/tls/certificate.h"

// Certificates made while the test runs, in a folder of its own that goes with the object.

namespace keyhop {

struct TestCertOptions {
  std::string ca = {};           // Of TestCerts::AddCa.
  std::string common_name = {};  // Empty: none.
  std::string alt_names = {};    // As OpenSSL's subjectAltName: "URI:keyhop://sae/a,DNS:localhost".
  long valid_from_s = -3600;
  long valid_until_s = 3600;
  std::string extended_key_usage = {};  // As OpenSSL writes it: "serverAuth"; empty: none.
};

class TestCerts {
 public:
  TestCerts();
  ~TestCerts();
  TestCerts(const TestCerts&) = delete;
  TestCerts& operator=(const TestCerts&) = delete;

  void AddCa(const std::string& name);
  // Writes NAME.crt and NAME.key.
  void Add(const std::string& name, const TestCertOptions& options);

  std::string Path(const std::string& file) const { return folder_ + "/" + file; }
  // `name` trusts what `peer_ca` issued.
  PemFiles Files(const std::string& name, const std::string& peer_ca) const {
    return {Path(name + ".crt"), Path(name + ".key"), Path(peer_ca + ".crt")};
  }

 private:
  struct Cas;
  std::string folder_;
  std::unique_ptr<Cas> cas_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_TLS_TEST_CERTS_H_
