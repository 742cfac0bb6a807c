#include "tests/sim/linksim/test_certificates.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"

namespace keyhop {
namespace {

void Shell(const std::string& command) {
  KEYHOP_CHECK(std::system(command.c_str()) == 0, "an openssl command of the test failed");
}

}  // namespace

std::string MakeTempFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "keyhop-XXXXXX").string();
  KEYHOP_CHECK(mkdtemp(pattern.data()) != nullptr, "no temporary folder");
  return pattern;
}

std::string ReadWholeFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TestCertificates::TestCertificates(const std::vector<std::string>& names)
    : folder_(MakeTempFolder()) {
  const std::string quiet = " 2>>" + folder_ + "/openssl.log";
  const std::string make =
      "cd " + folder_ + " && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes ";
  Shell(make + "-x509 -days 2 -subj /CN=keyhop-test-ca -keyout ca.key -out ca.pem" + quiet);
  for (const std::string& name : names) {
    std::ofstream(folder_ + "/" + name + ".ext") << "subjectAltName=URI:keyhop://node/" << name;
    Shell(make + absl::StrCat("-subj /CN=", name, " -keyout ", name, ".key -out ", name, ".csr") +
          quiet);
    Shell("cd " + folder_ +
          absl::StrCat(" && openssl x509 -req -days 2 -in ", name,
                       ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ", name,
                       ".ext -out ", name, ".pem") +
          quiet);
  }
}

TestCertificates::~TestCertificates() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

TlsFiles TestCertificates::FilesOf(const std::string& name) const {
  return {.ca = folder_ + "/ca.pem",
          .cert = absl::StrCat(folder_, "/", name, ".pem"),
          .key = absl::StrCat(folder_, "/", name, ".key")};
}

}  // namespace keyhop
