#include "kms/tls/certificate_issuer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "kms/tls/certificate.h"
#include "kms/tls/certificate_report.h"
#include "kms/tls/identity.h"
#include "kms/tls/openssl_types.h"
#include "kms/tls/verification.h"
#include "tests/kms/tls/test_certs.h"

namespace keyhop {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ReadAll(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

mode_t ModeOf(const std::string& path) {
  struct stat facts = {};
  return stat(path.c_str(), &facts) == 0 ? facts.st_mode & 0777 : 0;
}

// A folder as deploy/make-certs.sh makes it.
class CertificateIssuerTest : public ::testing::Test {
 protected:
  CertificateIssuerTest() {
    certs_.AddCa("sae-ca");
    pki_ = certs_.Path("pki");
    fs::create_directories(pki_ + "/ca");
    fs::copy_file(certs_.Path("sae-ca.crt"), pki_ + "/sae-ca.crt");
    fs::copy_file(certs_.Path("sae-ca.key"), pki_ + "/ca/sae-ca.key");
  }
  absl::StatusOr<SaeFiles> Make(const std::string& id, SaeKeyType type = SaeKeyType::kEc) {
    return MakeSaeFiles({.pki = pki_, .id = SaeId(id), .key_type = type});
  }
  std::string Of(const std::string& id, const std::string& file) const {
    return pki_ + "/saes/" + PercentEncode(id) + "/" + file;
  }

  TestCerts certs_;
  std::string pki_;
};

TEST_F(CertificateIssuerTest, MakesACertificateThatTheSaesCaVouchesFor) {
  const absl::StatusOr<SaeFiles> made = Make("alice", SaeKeyType::kRsa);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(made->made);
  EXPECT_TRUE(CheckPemFiles({.cert = Of("alice", "sae.crt"),
                             .key = Of("alice", "sae.key"),
                             .peer_ca = pki_ + "/sae-ca.crt"})
                  .ok());
  EXPECT_TRUE(VerifyCertificate(ReadAll(Of("alice", "sae.crt")), "it", pki_ + "/sae-ca.crt",
                                TlsRole::kClient)
                  .ok());
  const auto facts = ReadCertificateFile(Of("alice", "sae.crt"));
  EXPECT_EQ(SaeIdOf(*facts, {})->value, "alice");
}

TEST_F(CertificateIssuerTest, WritesEveryFormWithItsKeyClosedToOthers) {
  const absl::StatusOr<SaeFiles> made = Make("alice", SaeKeyType::kRsa);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(ReadAll(Of("alice", "sae.key")), StartsWith("-----BEGIN PRIVATE KEY-----"));
  EXPECT_THAT(ReadAll(Of("alice", "sae.pkcs1.key")), StartsWith("-----BEGIN RSA PRIVATE KEY-----"));
  const std::string both = ReadAll(Of("alice", "sae.pem"));
  EXPECT_THAT(both, StartsWith("-----BEGIN PRIVATE KEY-----"));
  EXPECT_THAT(both, HasSubstr(ReadAll(Of("alice", "sae.crt"))));
  EXPECT_EQ(ReadAll(Of("alice", "sae.chain.crt")),
            ReadAll(Of("alice", "sae.crt")) + ReadAll(pki_ + "/sae-ca.crt"));
  for (const SaeFile& file : made->files) {
    const bool open = file.path.ends_with(".crt");
    EXPECT_EQ(ModeOf(file.path), open ? 0644u : 0600u) << file.path;
  }
}

TEST_F(CertificateIssuerTest, WritesABundleThatItsPasswordOpens) {
  ASSERT_TRUE(Make("alice").ok());
  const tls::BioPtr in(BIO_new_file(Of("alice", "sae.p12").c_str(), "rb"));
  PKCS12* bundle = d2i_PKCS12_bio(in.get(), nullptr);
  ASSERT_NE(bundle, nullptr);
  const std::string password = ReadAll(Of("alice", "sae.p12.password"));
  EXPECT_GE(password.size(), 32u);
  EVP_PKEY* key = nullptr;
  X509* cert = nullptr;
  STACK_OF(X509)* chain = nullptr;
  ASSERT_EQ(PKCS12_parse(bundle, password.c_str(), &key, &cert, &chain), 1);
  EXPECT_EQ(X509_check_private_key(cert, key), 1);
  EXPECT_EQ(sk_X509_num(chain), 1);
  EXPECT_NE(PKCS12_verify_mac(bundle, "", 0), 1);
  PKCS12_free(bundle);
  EVP_PKEY_free(key);
  X509_free(cert);
  sk_X509_pop_free(chain, X509_free);
  ERR_clear_error();
}

TEST_F(CertificateIssuerTest, KeepsWhatIsThereAndAddsWhatLacks) {
  ASSERT_TRUE(Make("alice").ok());
  const std::string cert = ReadAll(Of("alice", "sae.crt"));
  fs::remove(Of("alice", "sae.pem"));
  const absl::StatusOr<SaeFiles> again = Make("alice");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->made);
  EXPECT_EQ(ReadAll(Of("alice", "sae.crt")), cert);
  EXPECT_THAT(ReadAll(Of("alice", "sae.pem")), HasSubstr(cert));
}

TEST_F(CertificateIssuerTest, RefusesHalfAPairAndAKeyOfAnother) {
  ASSERT_TRUE(Make("alice").ok());
  ASSERT_TRUE(Make("bob").ok());
  fs::remove(Of("alice", "sae.crt"));
  EXPECT_THAT(std::string(Make("alice").status().message()), HasSubstr("one is missing"));
  fs::copy_file(Of("bob", "sae.crt"), Of("alice", "sae.crt"));
  EXPECT_THAT(std::string(Make("alice").status().message()),
              HasSubstr("expected the private key of the certificate beside it"));
}

TEST_F(CertificateIssuerTest, TakesAnyIdThatAnSaeMayHave) {
  const std::string longest(300, 'x');
  for (const std::string& id :
       {std::string("../../etc"), std::string("a b/c%"), std::string("caf\u00e9"), longest}) {
    if (id.size() > 80) continue;  // Longer than a file name may be: below.
    ASSERT_TRUE(Make(id).ok()) << id;
    const auto facts = ReadCertificateFile(Of(id, "sae.crt"));
    ASSERT_TRUE(facts.ok()) << facts.status();
    EXPECT_EQ(SaeIdOf(*facts, {})->value, id);
  }
  EXPECT_THAT(std::string(Make(longest).status().message()), HasSubstr("name too long"));
  EXPECT_EQ(PercentEncode("../a"), "%2E.%2Fa");
}

TEST_F(CertificateIssuerTest, SaysWhichFileOfTheCaIsWrong) {
  certs_.AddCa("other");
  fs::remove(pki_ + "/ca/sae-ca.key");
  EXPECT_THAT(std::string(Make("a").status().message()), HasSubstr("sae-ca.key: expected"));
  fs::copy_file(certs_.Path("other.key"), pki_ + "/ca/sae-ca.key");
  EXPECT_THAT(std::string(Make("a").status().message()), HasSubstr("sae-ca.key: expected"));
  fs::remove(pki_ + "/sae-ca.crt");
  EXPECT_THAT(std::string(Make("a").status().message()), HasSubstr("make-certs.sh"));
}

// --- Inspection -------------------------------------------------------------------------------

std::string KindOf(const CertificateReport& report, const std::string& kind) {
  for (const KindReport& found : report.kinds) {
    if (found.kind == kind) return found.id.ok() ? *found.id : "refused";
  }
  return "no such kind";
}

TEST_F(CertificateIssuerTest, InspectionSaysWhatEachRuleMakesOfACertificate) {
  certs_.Add("legacy", {.ca = "sae-ca", .common_name = "carol", .alt_names = "DNS:c.example"});
  const auto report = InspectCertificate({.file = certs_.Path("legacy.crt"), .ca = ""});
  ASSERT_TRUE(report.ok()) << report.status();
  std::string found;
  for (const RuleReport& rule : report->rules) {
    if (rule.sae.id.has_value()) found += rule.rule + "=" + *rule.sae.id + " ";
  }
  EXPECT_THAT(found, StartsWith("CN=carol DNS_SAN=c.example SUBJECT_DN=CN=carol "));
  EXPECT_EQ(KindOf(*report, "sae"), "carol");
  EXPECT_EQ(KindOf(*report, "module"), "refused");
  EXPECT_FALSE(report->trusted.has_value());
  const auto by_dns =
      InspectCertificate({.file = certs_.Path("legacy.crt"), .ca = "", .sae_rules = {"DNS_SAN"}});
  EXPECT_EQ(KindOf(*by_dns, "sae"), "c.example");
}

TEST_F(CertificateIssuerTest, InspectionSaysWhetherATrustStoreVouches) {
  certs_.AddCa("other");
  ASSERT_TRUE(Make("alice").ok());
  const std::string file = Of("alice", "sae.crt");
  EXPECT_TRUE(InspectCertificate({.file = file, .ca = pki_ + "/sae-ca.crt"})->trusted->ok());
  const auto distrusted = InspectCertificate({.file = file, .ca = certs_.Path("other.crt")});
  EXPECT_THAT(std::string(distrusted->trusted->message()), HasSubstr("issuer: expected a CA in"));
}

TEST_F(CertificateIssuerTest, InspectionRefusesWhatIsNoCertificateOrNoRule) {
  EXPECT_FALSE(InspectCertificate({.file = certs_.Path("nothing"), .ca = ""}).ok());
  EXPECT_FALSE(InspectCertificate({.file = certs_.Path("sae-ca.key"), .ca = ""}).ok());
  EXPECT_THAT(std::string(InspectCertificate(
                              {.file = certs_.Path("sae-ca.crt"), .ca = "", .sae_rules = {"NAME"}})
                              .status()
                              .message()),
              HasSubstr("expected one of URI_SAN_KEYHOP, CN"));
  EXPECT_FALSE(
      InspectCertificate({.file = certs_.Path("sae-ca.crt"), .ca = certs_.Path("sae-ca.key")})
          .ok());
}

}  // namespace
}  // namespace keyhop
