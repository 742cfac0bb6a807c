// The listener of the binary forms on loopback, with real TLS. What the forms say is in
// codec_test.cc.
#include "kms/ks004/tls_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/tls/identity.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/https_client.h"
#include "tests/kms/ks004/fake_keystream_port.h"

namespace keyhop {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Longer than any test: what is to end by another time does not end by this one.
constexpr Duration kNever = Duration::Seconds(3600);

const std::string kStreamId(16, '\x5a');
const std::string kClose = "\x02\x01\x01\x08\x00\x00\x00\x10"s + kStreamId;
const std::string kClosed = "\x02\x01\x01\x09\x00\x00\x00\x04\x00\x00\x00\x00"s;

std::string Get(uint32_t index) {
  std::string message = "\x02\x01\x01\x04\x00\x00\x00\x18"s + kStreamId;
  for (int shift = 24; shift >= 0; shift -= 8) message.push_back(static_cast<char>(index >> shift));
  return message + std::string(4, '\0');
}
// Header, status, index, length of the key, key, length of the metadata.
constexpr size_t kGotBytes = 8 + 4 + 4 + 4 + FakeKeystreamPort::kChunkBytes + 4;

absl::StatusOr<std::string> SaeName(const std::string& der) {
  absl::StatusOr<CertificateFacts> facts = ReadCertificate(der, "client certificate");
  if (!facts.ok()) return facts.status();
  return IdOf(CertificateKind::kSae, *facts, IdentityRules());
}

class KeystreamServerTest : public ::testing::Test {
 protected:
  // Times that a test does not set never come.
  static KeystreamServerConfig Patient() {
    KeystreamServerConfig config;
    config.handshake_timeout = kNever;
    config.idle_timeout = kNever;
    config.message_timeout = kNever;
    config.write_timeout = kNever;
    return config;
  }
  void Start(KeystreamServerConfig config = Patient()) {
    config.tls = certs_.Node("saes");
    if (!config.read_certificate) config.read_certificate = SaeName;
    absl::StatusOr<std::unique_ptr<KeystreamServer>> server =
        KeystreamServer::Start(std::move(config), port_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::unique_ptr<HttpsClient> Client(const std::string& name, int tls_version = 0) {
    return std::make_unique<HttpsClient>(server_->port(), certs_.Client(name), tls_version);
  }
  std::unique_ptr<HttpsClient> Silent() { return std::make_unique<HttpsClient>(server_->port()); }
  static bool Served(HttpsClient& client) {
    client.Send(kClose);
    return client.ReadBytes(kClosed.size()) == kClosed;
  }
  bool Serves(const std::string& name) { return Served(*Client(name)); }

  AkCerts certs_;
  FakeKeystreamPort port_;
  std::unique_ptr<KeystreamServer> server_;
};

TEST_F(KeystreamServerTest, TakesTheCallerFromTheCertificateUnderTls12And13) {
  Start();
  EXPECT_TRUE(Served(*Client("alice", TLS1_2_VERSION)));
  EXPECT_TRUE(Served(*Client("bob", TLS1_3_VERSION)));
  EXPECT_THAT(port_.callers(), ElementsAre("alice", "bob"));
  EXPECT_FALSE(Client("alice", TLS1_1_VERSION)->connected());
}

TEST_F(KeystreamServerTest, RefusesWhoMayNotCome) {
  Start();
  for (const char* name : {"forged", "expired", "early", "operator", "node"}) {
    EXPECT_FALSE(Serves(name)) << name;
  }
  PemFiles none = certs_.Client("alice");
  none.cert.clear();
  HttpsClient without(server_->port(), none);
  EXPECT_FALSE(Served(without));
  const auto plain = Silent();
  EXPECT_FALSE(Served(*plain));
  EXPECT_FALSE(Serves("nameless")) << "the right issuer, but it names no SAE";
  EXPECT_EQ(server_->counts().failed_handshakes, 7u);
  EXPECT_THAT(port_.callers(), IsEmpty());
  EXPECT_EQ(server_->counts().requests, 0u);
}

TEST_F(KeystreamServerTest, ServesOthersWhileAClientIsSilent) {
  Start();
  const auto silent = Silent();       // Never begins its handshake.
  const auto idle = Client("bob");    // Never asks.
  const auto half = Client("carol");  // Never ends its message.
  half->Send(kClose.substr(0, 20));
  const auto waiting = Client("carol");
  waiting->Send(Get(FakeKeystreamPort::kHeldIndex));
  port_.AwaitHeld();
  EXPECT_TRUE(Serves("alice"));
  half->Send(kClose.substr(20));
  EXPECT_EQ(half->ReadBytes(kClosed.size()), kClosed);
  port_.Release();
  EXPECT_EQ(waiting->ReadBytes(kGotBytes).size(), kGotBytes);
}

TEST_F(KeystreamServerTest, EndsAClientThatDoesNotShakeHandsInTime) {
  KeystreamServerConfig config = Patient();
  config.handshake_timeout = Duration::Millis(50);
  Start(config);
  EXPECT_TRUE(Silent()->Ended());
  EXPECT_EQ(server_->counts().timeouts, 1u);
}

TEST_F(KeystreamServerTest, EndsAClientThatDoesNotAskInTime) {
  KeystreamServerConfig config = Patient();
  config.idle_timeout = Duration::Millis(50);
  Start(config);
  EXPECT_TRUE(Client("alice")->Ended());
  EXPECT_EQ(server_->counts().timeouts, 1u);
}

TEST_F(KeystreamServerTest, EndsAClientThatIsTooSlowWithItsMessage) {
  KeystreamServerConfig config = Patient();
  config.message_timeout = Duration::Millis(50);
  Start(config);
  const auto idle = Client("bob");
  for (const size_t bytes : {size_t{1}, kClose.size() - 1}) {
    const auto half = Client("alice");
    half->Send(kClose.substr(0, bytes));
    EXPECT_TRUE(half->Ended()) << bytes;
  }
  EXPECT_EQ(server_->counts().timeouts, 2u);
  EXPECT_TRUE(Served(*idle)) << "who has not begun has more time";
}

TEST_F(KeystreamServerTest, EndsAClientThatDoesNotTakeItsAnswersAndServesOthersMeanwhile) {
  KeystreamServerConfig config = Patient();
  config.write_timeout = Duration::Millis(100);
  Start(config);
  const auto deaf = Client("alice");
  std::string many;
  for (int i = 0; i < 5000; ++i) many += Get(0);
  deaf->Send(many);  // Answers for 20 MB: more than the socket buffers hold.
  const auto other = Client("bob");
  while (server_->counts().timeouts == 0) EXPECT_TRUE(Served(*other));
  EXPECT_TRUE(Served(*other));
}

TEST_F(KeystreamServerTest, ACallUnderWayIsNotTooSlow) {
  KeystreamServerConfig config = Patient();
  config.message_timeout = Duration::Millis(300);
  Start(config);
  const auto waiting = Client("alice");
  waiting->Send(Get(FakeKeystreamPort::kHeldIndex));
  port_.AwaitHeld();
  const auto half = Client("bob");
  half->Send(kClose.substr(0, 1));
  EXPECT_TRUE(half->Ended()) << "its time was over later than that of the call would have been";
  port_.Release();
  EXPECT_EQ(waiting->ReadBytes(kGotBytes).size(), kGotBytes);
}

TEST_F(KeystreamServerTest, DropsTheOldestThatShowsNoCertificate) {
  KeystreamServerConfig config = Patient();
  config.handshakes_max = 3;
  Start(config);
  const auto known = Client("bob");
  ASSERT_TRUE(Served(*known));
  std::vector<std::unique_ptr<HttpsClient>> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(Silent());
  EXPECT_TRUE(Serves("alice"));
  for (size_t i = 0; i < 17; ++i) EXPECT_TRUE(silent[i]->Ended()) << i;
  EXPECT_GE(server_->counts().dropped_handshakes, 17u);
  EXPECT_TRUE(Served(*known)) << "who was let in is not dropped";
}

TEST_F(KeystreamServerTest, ClosesConnectionsBeyondTheLimitAndGoesOn) {
  KeystreamServerConfig config = Patient();
  config.admission.connections_max = 2;
  Start(config);
  auto first = Client("alice");
  const auto second = Client("bob");
  ASSERT_TRUE(Served(*first) && Served(*second));
  EXPECT_FALSE(Serves("carol"));
  EXPECT_EQ(server_->counts().refused_over_limit, 1u);
  first.reset();
  while (!Serves("carol")) {
  }
  EXPECT_TRUE(Served(*second));
}

TEST_F(KeystreamServerTest, AnSaeOverItsConnectionsTakesNoneOfOthers) {
  KeystreamServerConfig config = Patient();
  config.admission.caller_connections_max = 1;
  Start(config);
  const auto first = Client("alice");
  ASSERT_TRUE(Served(*first));
  EXPECT_FALSE(Serves("alice"));
  EXPECT_TRUE(Serves("bob"));
  EXPECT_TRUE(Served(*first));
}

TEST_F(KeystreamServerTest, AnAddressHasItsOwnLimit) {
  KeystreamServerConfig config = Patient();
  config.admission.address_connections_max = 1;
  Start(config);
  const auto first = Client("alice");
  ASSERT_TRUE(Served(*first));
  EXPECT_FALSE(Serves("bob"));
}

TEST_F(KeystreamServerTest, ACertificateThatIsNoneAnyMoreEndsItsConnection) {
  const auto valid = std::make_shared<std::atomic<bool>>(true);
  KeystreamServerConfig config = Patient();
  config.read_certificate = [valid](const std::string& der) {
    return *valid ? SaeName(der) : absl::UnauthenticatedError("revoked");
  };
  Start(config);
  const auto client = Client("alice");
  ASSERT_TRUE(Served(*client));
  *valid = false;
  EXPECT_FALSE(Served(*client));
  EXPECT_EQ(server_->counts().requests, 1u);
}

TEST_F(KeystreamServerTest, SurvivesAClientThatLeavesBeforeItsAnswer) {
  Start();
  auto client = Client("alice");
  client->Send(Get(FakeKeystreamPort::kHeldIndex));
  port_.AwaitHeld();
  client.reset();
  port_.Release();
  EXPECT_TRUE(Serves("alice"));
}

TEST_F(KeystreamServerTest, StopAnswersWhatIsUnderWayAndClosesTheRest) {
  Start();
  const auto silent = Silent();
  const auto idle = Client("bob");
  ASSERT_TRUE(Served(*idle));
  const auto client = Client("alice");
  client->Send(Get(FakeKeystreamPort::kHeldIndex) + kClose);
  port_.AwaitHeld();
  std::thread stopping([&] { server_->Stop(); });
  EXPECT_TRUE(idle->Ended());
  EXPECT_TRUE(silent->Ended());
  port_.Release();
  EXPECT_EQ(client->ReadBytes(kGotBytes).size(), kGotBytes);
  EXPECT_TRUE(client->Ended()) << "the next request is not served any more";
  stopping.join();
  server_->Stop();  // Does nothing.
}

TEST_F(KeystreamServerTest, SaysWhyItCannotStart) {
  Start();
  KeystreamServerConfig config = Patient();
  config.tls = certs_.Node("saes");
  EXPECT_THAT(std::string(KeystreamServer::Start(config, port_).status().message()),
              HasSubstr("read_certificate"));
  config.read_certificate = SaeName;
  config.listen = absl::StrCat("127.0.0.1:", server_->port());
  EXPECT_EQ(KeystreamServer::Start(config, port_).status().code(), absl::StatusCode::kUnavailable);
  config.listen = "localhost:1";
  EXPECT_THAT(std::string(KeystreamServer::Start(config, port_).status().message()),
              HasSubstr("expected IP:PORT"));
  config.listen = "127.0.0.1:0";
  config.tls.cert = certs_.Path("missing.crt");
  EXPECT_THAT(std::string(KeystreamServer::Start(config, port_).status().message()),
              HasSubstr("missing.crt"));
}

TEST_F(KeystreamServerTest, KeepsItsCertificateIfTheNewOneIsBad) {
  Start();
  EXPECT_TRUE(server_->ReloadTls().ok());
  std::ofstream(certs_.Path("node.crt")) << "no certificate";
  EXPECT_FALSE(server_->ReloadTls().ok());
  EXPECT_TRUE(Serves("alice"));
}

}  // namespace
}  // namespace keyhop
