#include "kms/tls/identity.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/kms/tls/test_certs.h"

namespace keyhop {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

CertificateFacts Facts() {
  return {
      .name = "a.crt", .subject = "CN=alice", .issuer = "CN=Keyhop SAE CA", .serial_number = "0A"};
}

TEST(IdentityTest, TakesTheUriBeforeTheCommonName) {
  CertificateFacts facts = Facts();
  facts.common_names = {"other"};
  facts.uri_sans = {"https://example.org", "keyhop://sae/alice"};
  EXPECT_EQ(SaeIdOf(facts, {})->value, "alice");
}

TEST(IdentityTest, DecodesTheUriOnce) {
  CertificateFacts facts = Facts();
  facts.uri_sans = {"keyhop://sae/K%C3%B6ln%2F50%2525"};
  EXPECT_EQ(SaeIdOf(facts, {})->value, "K\xc3\xb6ln/50%25");
}

TEST(IdentityTest, RefusesAMalformedUriInsteadOfAskingTheNextRule) {
  for (const char* uri : {"keyhop://sae/a%2", "keyhop://sae/a%zz", "keyhop://sae/a/b"}) {
    CertificateFacts facts = Facts();
    facts.common_names = {"alice"};
    facts.uri_sans = {uri};
    EXPECT_EQ(SaeIdOf(facts, {}).status().code(), absl::StatusCode::kUnauthenticated) << uri;
  }
}

TEST(IdentityTest, FallsBackToTheCommonName) {
  CertificateFacts facts = Facts();
  facts.common_names = {"alice"};
  EXPECT_EQ(SaeIdOf(facts, {})->value, "alice");
}

TEST(IdentityTest, RefusesTwoUrisOfOneKind) {
  CertificateFacts facts = Facts();
  facts.uri_sans = {"keyhop://sae/a", "keyhop://sae/b"};
  EXPECT_THAT(std::string(SaeIdOf(facts, {}).status().message()),
              HasSubstr("expected one URI SAN keyhop://sae/ID; found \"keyhop://sae/a\""));
}

TEST(IdentityTest, RefusesANodesCertificateAsAnSaesWhateverItsCommonNameSays) {
  CertificateFacts facts = Facts();
  facts.common_names = {"alice"};
  facts.uri_sans = {"keyhop://node/n1"};
  EXPECT_THAT(
      std::string(SaeIdOf(facts, {}).status().message()),
      AllOf(HasSubstr("a.crt (subject \"CN=alice\", issued by \"CN=Keyhop SAE CA\", serial 0A)"),
            HasSubstr("expected a certificate of kind sae"), HasSubstr("keyhop://node/n1")));
}

TEST(IdentityTest, TellsModulesFromNodes) {
  CertificateFacts module = Facts();
  module.common_names = {"link-ab"};
  module.uri_sans = {"keyhop://module/link-ab"};
  EXPECT_EQ(ModuleIdOf(module)->value, "link-ab");
  EXPECT_FALSE(NodeIdOf(module, {}).ok());
  EXPECT_FALSE(OperatorIdOf(module).ok());
  CertificateFacts node = Facts();
  node.uri_sans = {"keyhop://node/n1"};
  EXPECT_EQ(NodeIdOf(node, {})->value, "n1");
  EXPECT_FALSE(ModuleIdOf(node).ok());
}

TEST(IdentityTest, KnowsModulesAndOperatorsByTheirUriOnly) {
  CertificateFacts facts = Facts();
  facts.common_names = {"ops"};
  EXPECT_FALSE(OperatorIdOf(facts).ok());
  EXPECT_FALSE(ModuleIdOf(facts).ok());
}

TEST(IdentityTest, FollowsTheConfiguredOrder) {
  CertificateFacts facts = Facts();
  facts.common_names = {"alice"};
  facts.dns_sans = {"alice.example"};
  facts.ip_sans = {"10.0.0.1"};
  facts.email_sans = {"a@example"};
  facts.subject_serial_numbers = {"77"};
  config::v1::Identity identity;
  identity.add_node_rules(config::v1::CN);
  const auto id = [&](IdentityRule rule) {
    identity.clear_sae_rules();
    identity.add_sae_rules(rule);
    return SaeIdOf(facts, IdentityRules::From(identity))->value;
  };
  EXPECT_EQ(id(config::v1::DNS_SAN), "alice.example");
  EXPECT_EQ(id(config::v1::IP_SAN), "10.0.0.1");
  EXPECT_EQ(id(config::v1::EMAIL_SAN), "a@example");
  EXPECT_EQ(id(config::v1::SUBJECT_DN), "CN=alice");
  EXPECT_EQ(id(config::v1::SUBJECT_SERIAL_NUMBER), "77");
  EXPECT_EQ(id(config::v1::CERT_SERIAL_NUMBER), "0A");
}

TEST(IdentityTest, DoesNotChooseAmongSeveralNames) {
  CertificateFacts facts = Facts();
  facts.common_names = {"alice", "bob"};
  EXPECT_THAT(std::string(SaeIdOf(facts, {}).status().message()),
              HasSubstr("expected an ID of kind sae in URI SAN keyhop://sae/ID or CN; found URI "
                        "SANs none, DNS SANs none, CN \"alice\", \"bob\""));
}

TEST(IdentityTest, RefusesIdsThatAreMalformed) {
  for (const std::string& name :
       {std::string("a\0b", 3), std::string("a\nb"), std::string(301, 'x'), std::string("\xff")}) {
    CertificateFacts facts = Facts();
    facts.common_names = {name};
    const auto id = SaeIdOf(facts, {});
    EXPECT_EQ(id.status().code(), absl::StatusCode::kUnauthenticated);
    EXPECT_EQ(id.status().message().find('\n'), absl::string_view::npos);
  }
  CertificateFacts facts = Facts();
  facts.common_names = {"node with space"};
  EXPECT_FALSE(NodeIdOf(facts, {}).ok());
}

class CertificateTest : public ::testing::Test {
 protected:
  CertificateTest() {
    certs_.AddCa("node-ca");
    certs_.AddCa("sae-ca");
    certs_.Add("a",
               {.ca = "sae-ca",
                .common_name = "K\xc3\xb6ln/1",
                .alt_names = "URI:keyhop://sae/a,DNS:localhost,IP:127.0.0.1,IP:::1,email:a@b"});
  }
  TestCerts certs_;
};

TEST_F(CertificateTest, ReadsEveryNameOfACertificate) {
  const auto facts = ReadCertificateFile(certs_.Path("a.crt"));
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->issuer, "CN=sae-ca");
  EXPECT_EQ(facts->subject, "CN=K\xc3\xb6ln/1");
  EXPECT_THAT(facts->common_names, ElementsAre("K\xc3\xb6ln/1"));
  EXPECT_THAT(facts->uri_sans, ElementsAre("keyhop://sae/a"));
  EXPECT_THAT(facts->dns_sans, ElementsAre("localhost"));
  EXPECT_THAT(facts->ip_sans, ElementsAre("127.0.0.1", "::1"));
  EXPECT_THAT(facts->email_sans, ElementsAre("a@b"));
}

TEST_F(CertificateTest, RefusesWhatIsNoCertificate) {
  for (const char* bytes : {"", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n"}) {
    EXPECT_EQ(ReadCertificate(bytes, "x.crt").status().message(),
              "x.crt: expected an X.509 certificate, PEM or DER");
  }
  EXPECT_EQ(ReadCertificateFile("/nowhere/x.crt").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CertificateTest, AcceptsFilesThatFitTogether) {
  EXPECT_EQ(CheckPemFiles(certs_.Files("a", "node-ca")), absl::OkStatus());
}

TEST_F(CertificateTest, SaysWhichFileDoesNotFit) {
  PemFiles files = certs_.Files("a", "node-ca");
  files.key = certs_.Path("sae-ca.key");
  EXPECT_THAT(std::string(CheckPemFiles(files).message()),
              AllOf(HasSubstr("sae-ca.key: expected the private key of "),
                    HasSubstr("issued by \"CN=sae-ca\"")));
  files = certs_.Files("a", "node-ca");
  files.key = files.cert;
  EXPECT_THAT(std::string(CheckPemFiles(files).message()),
              HasSubstr("a.crt: expected a private key in PEM"));
  files = certs_.Files("a", "a");
  EXPECT_THAT(std::string(CheckPemFiles(files).message()),
              HasSubstr("expected the certificate of a CA"));
  files = certs_.Files("a", "missing");
  EXPECT_EQ(CheckPemFiles(files).code(), absl::StatusCode::kNotFound);
}

TEST_F(CertificateTest, SaysThatACertificateHasExpired) {
  certs_.Add("old", {.ca = "sae-ca",
                     .common_name = "old",
                     .alt_names = "",
                     .valid_from_s = -7200,
                     .valid_until_s = -3600});
  EXPECT_THAT(std::string(CheckPemFiles(certs_.Files("old", "node-ca")).message()),
              AllOf(HasSubstr("old.crt (subject \"CN=old\", issued by \"CN=sae-ca\""),
                    HasSubstr("which is not now")));
}

}  // namespace
}  // namespace keyhop
