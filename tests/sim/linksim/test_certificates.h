#ifndef KEYHOP_TESTS_SIM_LINKSIM_TEST_CERTIFICATES_H_
#define KEYHOP_TESTS_SIM_LINKSIM_TEST_CERTIFICATES_H_

#include <string>
#include <vector>

#include "sim/linksim/node_credentials.h"

namespace keyhop {

// A fresh CA in a temporary folder and one certificate for each name, with the URI SAN
// keyhop://node/NAME, made with the OpenSSL command line. The folder goes with the object.
class TestCertificates {
 public:
  explicit TestCertificates(const std::vector<std::string>& names);
  ~TestCertificates();
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;

  TlsFiles FilesOf(const std::string& name) const;
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

// A new empty folder below the system's folder for temporary files.
std::string MakeTempFolder();

std::string ReadWholeFile(const std::string& path);

}  // namespace keyhop

#endif  // KEYHOP_TESTS_SIM_LINKSIM_TEST_CERTIFICATES_H_
