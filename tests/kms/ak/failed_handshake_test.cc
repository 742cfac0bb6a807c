#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>

#include "kms/ak/https_server.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/https_client.h"

namespace keyhop {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(FailedHandshakeTest, TellsWhoFailedAndWhichFieldWasWrong) {
  const AkCerts certs;
  std::promise<std::string> told;
  HttpsConfig config;
  config.tls = certs.Node("saes");
  config.read_certificate = [](const std::string&) { return std::string("nobody"); };
  config.on_failed_handshake = [&](const std::string& text) { told.set_value(text); };
  const auto server =
      HttpsServer::Start(config, [](HttpRequest, const HttpDone& done) { done({}); });
  ASSERT_TRUE(server.ok()) << server.status();
  HttpsClient client((*server)->port(), certs.Client("forged"), /*tls_version=*/0);
  EXPECT_FALSE(client.Ask("GET", "/", "").has_value());
  EXPECT_THAT(told.get_future().get(),
              AllOf(StartsWith("127.0.0.1:"),
                    HasSubstr("issuer: expected a CA in " + certs.Path("saes.crt")),
                    HasSubstr("found \"CN=strangers\"")));
}

}  // namespace
}  // namespace keyhop
