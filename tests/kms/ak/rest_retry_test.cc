// What the REST front end makes of the header Idempotency-Key.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "kms/ak/rest_server.h"
#include "kms/tls/identity.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/fake_delivery_port.h"
#include "tests/kms/ak/https_client.h"

namespace keyhop {
namespace {

absl::StatusOr<std::string> SaeName(const std::string& der) {
  absl::StatusOr<CertificateFacts> facts = ReadCertificate(der, "client certificate");
  if (!facts.ok()) return facts.status();
  return IdOf(CertificateKind::kSae, *facts, IdentityRules());
}

class RestRetryTest : public ::testing::Test {
 protected:
  RestRetryTest() {
    HttpsConfig config;
    config.tls = certs_.Node("saes");
    config.read_certificate = SaeName;
    absl::StatusOr<std::unique_ptr<RestServer>> server = RestServer::Start(config, port_);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  AkCerts certs_;
  FakeDeliveryPort port_;
  std::unique_ptr<RestServer> server_;
};

TEST_F(RestRetryTest, HandsOnTheIdempotencyKey) {
  const auto ask = [&](const std::string& headers, absl::string_view line) {
    const auto client = std::make_unique<HttpsClient>(server_->port(), certs_.Client("alice"));
    client->Send(absl::StrCat(line, " HTTP/1.1\r\nHost: x\r\n", headers, "\r\n"));
    return client->Read().value_or(HttpsAnswer());
  };
  const std::string get = std::string("GET /api/v1/keys/bob/enc_keys");
  EXPECT_EQ(ask("", get).status, 200);
  EXPECT_EQ(port_.idempotency_key(), std::nullopt);
  EXPECT_EQ(ask("idempotency-KEY:  order 17 \r\n", get).status, 200);
  EXPECT_EQ(port_.idempotency_key(), "order 17");
  ask("Idempotency-Key: k2\r\n",
      "GET /api/v1/keys/alice/dec_keys?key_ID=00000000-0000-4000-8000-000000000000");
  EXPECT_EQ(port_.idempotency_key(), "k2");
  ask("Idempotency-Key:\r\n", get);
  EXPECT_EQ(port_.idempotency_key(), "");
  // Not printable: the core refuses it.
  ask("Idempotency-Key: a\r\nIdempotency-Key: b\r\n", get);
  EXPECT_EQ(port_.idempotency_key(), "a\nb");
  const HttpsAnswer refused = ask("Idempotency-Key: another's\r\n", get);
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.body, R"({"message":"used for another request"})");
}

}  // namespace
}  // namespace keyhop
