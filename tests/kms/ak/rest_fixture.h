#ifndef KEYHOP_TESTS_KMS_AK_REST_FIXTURE_H_
#define KEYHOP_TESTS_KMS_AK_REST_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "kms/ak/rest_server.h"
#include "kms/tls/identity.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/fake_delivery_port.h"
#include "tests/kms/ak/https_client.h"

namespace keyhop {

inline constexpr char kEnc[] = "/api/v1/keys/bob/enc_keys";
inline constexpr char kDec[] = "/api/v1/keys/alice/dec_keys";

inline absl::StatusOr<std::string> SaeName(const std::string& der) {
  absl::StatusOr<CertificateFacts> facts = ReadCertificate(der, "client certificate");
  if (!facts.ok()) return facts.status();
  return IdOf(CertificateKind::kSae, *facts, IdentityRules());
}

class RestServerTest : public ::testing::Test {
 protected:
  void Start(HttpsConfig config = {}) {
    config.tls = certs_.Node("saes");
    config.read_certificate = SaeName;
    absl::StatusOr<std::unique_ptr<RestServer>> server = RestServer::Start(config, port_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::unique_ptr<HttpsClient> Client(const std::string& name, int tls_version = 0) {
    return std::make_unique<HttpsClient>(server_->port(), certs_.Client(name), tls_version);
  }
  // The answer to one request on a connection of its own.
  HttpsAnswer Ask(const std::string& sae, absl::string_view method, absl::string_view target,
                  absl::string_view body = {}) {
    std::optional<HttpsAnswer> answer = Client(sae)->Ask(method, target, body);
    EXPECT_TRUE(answer.has_value()) << method << " " << target;
    return answer.value_or(HttpsAnswer());
  }

  AkCerts certs_;
  FakeDeliveryPort port_;
  std::unique_ptr<RestServer> server_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_AK_REST_FIXTURE_H_
