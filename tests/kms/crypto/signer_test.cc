#include "kms/crypto/signer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/kms/crypto/test_certificates.h"

namespace keyhop {
namespace {

using testing::HasSubstr;

SecretBytes Secret(const std::string& text) {
  return SecretBytes::CopyOf({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

// The common name.
std::optional<std::string> Identity(absl::string_view der) {
  const unsigned char* at = reinterpret_cast<const unsigned char*>(der.data());
  const crypto::X509Ptr c(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  char name[64];
  const int size =
      X509_NAME_get_text_by_NID(X509_get_subject_name(c.get()), NID_commonName, name, sizeof(name));
  return size > 0 ? std::optional(std::string(name)) : std::nullopt;
}

class SignerTest : public testing::Test {
 protected:
  std::unique_ptr<Signer> SignerOf(const TestCertificate& holder, const std::string& chain = "") {
    auto signer = MakeCertificateSigner(holder.CertificatePem() + chain, Secret(holder.KeyPem()));
    EXPECT_TRUE(signer.ok()) << signer.status();
    return *std::move(signer);
  }
  std::unique_ptr<Verifier> VerifierOf(const std::string& trusted_pem) {
    auto verifier = MakeCertificateVerifier({.trusted_pem = trusted_pem,
                                             .identity = Identity,
                                             .unix_seconds = [this] { return now_; }});
    EXPECT_TRUE(verifier.ok()) << verifier.status();
    return *std::move(verifier);
  }
  TestCertificate Node(const std::string& name, const std::string& key_type = "P-256") {
    return MakeTestCertificate({.common_name = name, .issuer = &ca_, .key_type = key_type});
  }
  static std::string Why(const absl::Status& s) {
    EXPECT_EQ(s.code(), absl::StatusCode::kUnauthenticated);
    return std::string(s.message());
  }

  int64_t now_ = 1'500'000'000;
  const TestCertificate ca_ = MakeTestCertificate({.common_name = "CA", .is_ca = true});
  const std::vector<uint8_t> message_ = {1, 2, 3};
};

TEST_F(SignerTest, TakesWhatTheOriginSigned) {
  const auto verifier = VerifierOf(ca_.CertificatePem());
  for (const char* key_type : {"P-256", "P-384", "ED25519"}) {
    const auto signer = SignerOf(Node("a", key_type));
    EXPECT_EQ(verifier->Verify("a", message_, signer->Sign(message_)), absl::OkStatus());
    EXPECT_EQ(verifier->Verify("a", {}, signer->Sign({})), absl::OkStatus());
  }
}

TEST_F(SignerTest, RefusesANodeThatSpeaksForAnother) {
  const auto verifier = VerifierOf(ca_.CertificatePem());
  const auto signer = SignerOf(Node("a"));
  EXPECT_THAT(Why(verifier->Verify("b", message_, signer->Sign(message_))),
              HasSubstr("somebody else"));
}

TEST_F(SignerTest, RefusesAnotherMessageAndAnyChangedByte) {
  const auto verifier = VerifierOf(ca_.CertificatePem());
  const std::string good = SignerOf(Node("a"))->Sign(message_);
  const std::vector<uint8_t> other = {1, 2, 4};
  EXPECT_THAT(Why(verifier->Verify("a", other, good)), HasSubstr("not of this message"));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_FALSE(verifier->Verify("a", message_, bad).ok()) << "byte " << i;
  }
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(verifier->Verify("a", message_, good.substr(0, size)).ok());
  }
  EXPECT_FALSE(verifier->Verify("a", message_, std::string(kSignatureBytesMax + 1, '\1')).ok());
  EXPECT_TRUE(verifier->Verify("a", message_, good).ok());
}

TEST_F(SignerTest, RefusesACertificateOfAnotherAuthority) {
  const TestCertificate other_ca = MakeTestCertificate({.common_name = "CA", .is_ca = true});
  const auto foreign = SignerOf(MakeTestCertificate({.common_name = "a", .issuer = &other_ca}));
  const auto self_made = SignerOf(MakeTestCertificate({.common_name = "a"}));
  const auto verifier = VerifierOf(ca_.CertificatePem());
  EXPECT_THAT(Why(verifier->Verify("a", message_, foreign->Sign(message_))),
              HasSubstr("certificate"));
  EXPECT_THAT(Why(verifier->Verify("a", message_, self_made->Sign(message_))),
              HasSubstr("certificate"));
}

TEST_F(SignerTest, RefusesACertificateOfANodeAsAnAuthority) {
  const TestCertificate node = Node("a");
  const TestCertificate made_by_node = MakeTestCertificate({.common_name = "b", .issuer = &node});
  const auto signer = SignerOf(made_by_node, node.CertificatePem());
  EXPECT_THAT(Why(VerifierOf(ca_.CertificatePem())->Verify("b", message_, signer->Sign(message_))),
              HasSubstr("certificate"));
}

TEST_F(SignerTest, FollowsAnIntermediateAuthority) {
  const TestCertificate middle =
      MakeTestCertificate({.common_name = "middle", .issuer = &ca_, .is_ca = true});
  const TestCertificate node = MakeTestCertificate({.common_name = "a", .issuer = &middle});
  const auto verifier = VerifierOf(ca_.CertificatePem());
  EXPECT_TRUE(
      verifier->Verify("a", message_, SignerOf(node, middle.CertificatePem())->Sign(message_))
          .ok());
  EXPECT_FALSE(verifier->Verify("a", message_, SignerOf(node)->Sign(message_)).ok());
}

TEST_F(SignerTest, RefusesACertificateOutOfItsTime) {
  const auto verifier = VerifierOf(ca_.CertificatePem());
  const auto signer = SignerOf(MakeTestCertificate(
      {.common_name = "a", .issuer = &ca_, .not_before = now_ - 100, .not_after = now_ + 100}));
  const std::string signature = signer->Sign(message_);
  EXPECT_TRUE(verifier->Verify("a", message_, signature).ok());
  now_ += 200;
  EXPECT_THAT(Why(verifier->Verify("a", message_, signature)), HasSubstr("expired"));
  now_ -= 1000;
  EXPECT_THAT(Why(verifier->Verify("a", message_, signature)), HasSubstr("not yet valid"));
}

TEST_F(SignerTest, RefusesWeakKeysAndKeysForOtherUses) {
  const auto verifier = VerifierOf(ca_.CertificatePem());
  EXPECT_FALSE(verifier->Verify("a", message_, SignerOf(Node("a", "P-192"))->Sign(message_)).ok());
  const auto other_use = SignerOf(
      MakeTestCertificate({.common_name = "a", .issuer = &ca_, .key_usage = "keyEncipherment"}));
  EXPECT_THAT(Why(verifier->Verify("a", message_, other_use->Sign(message_))),
              HasSubstr("not for signatures"));
}

TEST_F(SignerTest, SaysWhatIsWrongWithItsFiles) {
  const TestCertificate a = Node("a"), b = Node("b");
  const auto status = [](absl::string_view pem, const std::string& key) {
    return MakeCertificateSigner(pem, Secret(key)).status();
  };
  EXPECT_THAT(status("", a.KeyPem()).ToString(), HasSubstr("PEM certificates"));
  EXPECT_THAT(status(a.CertificatePem(), "garbage").ToString(), HasSubstr("PEM private key"));
  EXPECT_THAT(status(a.CertificatePem(), b.KeyPem()).ToString(),
              HasSubstr("not the certificate's"));
  EXPECT_EQ(MakeCertificateVerifier({.trusted_pem = "garbage",
                                     .identity = Identity,
                                     .unix_seconds = [] { return int64_t{0}; }})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace keyhop
