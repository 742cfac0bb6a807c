#include "kms/crypto/trust_store.h"

#include <ctime>
#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/kms/tls/test_certs.h"

namespace keyhop {
namespace {

using Purpose = TrustStore::Purpose;

class TrustStoreTest : public ::testing::Test {
 protected:
  TrustStoreTest() {
    certs_.AddCa("ca");
    certs_.AddCa("other-ca");
    certs_.Add("alice", {.ca = "ca", .common_name = "alice"});
  }
  std::string Read(const std::string& file) const {
    std::ifstream in(certs_.Path(file), std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  absl::Status Verify(const std::string& ca, const std::string& leaf,
                      const std::string& others = "", int64_t later_s = 0) const {
    const auto trust = TrustStore::Create(Read(ca));
    EXPECT_TRUE(trust.ok()) << trust.status();
    return trust->VerifyPem(leaf, others, std::time(nullptr) + later_s, Purpose::kTlsClient);
  }
  TestCerts certs_;
};

TEST_F(TrustStoreTest, VouchesForWhatItsCaIssued) {
  EXPECT_TRUE(Verify("ca.crt", Read("alice.crt")).ok());
  EXPECT_TRUE(Verify("ca.crt", Read("alice.crt"), Read("ca.crt")).ok());
}

TEST_F(TrustStoreTest, RefusesWhatAnotherCaIssued) {
  EXPECT_TRUE(absl::IsUnauthenticated(Verify("other-ca.crt", Read("alice.crt"))));
  // Neither does a chain that brings its own root.
  EXPECT_FALSE(Verify("other-ca.crt", Read("alice.crt"), Read("ca.crt")).ok());
}

TEST_F(TrustStoreTest, RefusesACertificateOutOfItsTime) {
  EXPECT_FALSE(Verify("ca.crt", Read("alice.crt"), "", 7200).ok());
  EXPECT_FALSE(Verify("ca.crt", Read("alice.crt"), "", -7200).ok());
}

TEST_F(TrustStoreTest, RefusesWhatIsNoCertificate) {
  EXPECT_FALSE(Verify("ca.crt", "").ok());
  EXPECT_FALSE(Verify("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n").ok());
  EXPECT_TRUE(Verify("ca.crt", Read("alice.crt"), "no certificates at all").ok());
}

TEST_F(TrustStoreTest, RefusesAChainWithoutEnd) {
  std::string others;
  for (int i = 0; i < 100; ++i) others += Read("ca.crt");
  EXPECT_FALSE(Verify("ca.crt", Read("alice.crt"), others).ok());
}

TEST_F(TrustStoreTest, NeedsSomeoneToTrust) {
  EXPECT_TRUE(absl::IsInvalidArgument(TrustStore::Create("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(TrustStore::Create("text").status()));
}

}  // namespace
}  // namespace keyhop
