#include "kms/skip/skip_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kms/tls/identity.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/fake_delivery_port.h"
#include "tests/kms/ak/https_client.h"
#include "tests/kms/skip/psk_client.h"

namespace keyhop {
namespace {

using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

const std::string& KeyA() {
  static const auto* key = new std::string(48, 'a');
  return *key;
}
const std::string& KeyB() {
  static const auto* key = new std::string(32, 'b');
  return *key;
}

std::string Line(const std::string& identity, const std::string& key) {
  return absl::StrCat(identity, ":", absl::BytesToHexString(key), "\n");
}

// Random bytes from a list.
class FakeRandom final : public TrueRandom {
 public:
  bool healthy() const override { return healthy_; }
  size_t bytes_max() const override { return 64; }
  std::optional<SecretBytes> Take(size_t bytes) override {
    if (left_ < bytes) return std::nullopt;
    left_ -= bytes;
    SecretBytes taken(bytes);
    for (uint8_t& byte : taken.ExposeMutable(SecretAccess::ForTest())) byte = 0x5a;
    return taken;
  }
  std::atomic<size_t> left_ = 48;
  std::atomic<bool> healthy_ = true;
};

class SkipServerTest : public ::testing::Test {
 protected:
  SkipServerTest() { WritePsks(Line("router a", KeyA()) + Line("router-b", KeyB())); }

  void WritePsks(const std::string& text, int mode = 0600) {
    const std::string partial = certs_.Path("psk.partial");
    std::ofstream(partial, std::ios::binary) << text;
    ASSERT_EQ(chmod(partial.c_str(), mode), 0);
    ASSERT_EQ(rename(partial.c_str(), PskPath().c_str()), 0);
  }
  std::string PskPath() const { return certs_.Path("psk"); }

  void Start(SkipOptions options = {}, std::unique_ptr<TrueRandom> random = nullptr,
             bool cbc = false) {
    options.algorithm = "QKD-relay-OTP";
    HttpsConfig config;
    config.tls = certs_.Node("saes");
    config.identity_life = Duration{};
    config.read_certificate = [](const std::string& der) -> absl::StatusOr<std::string> {
      absl::StatusOr<CertificateFacts> facts = ReadCertificate(der, "client certificate");
      if (!facts.ok()) return facts.status();
      return IdOf(CertificateKind::kSae, *facts, IdentityRules());
    };
    config.on_failed_handshake = [this](const std::string& text) {
      MutexLock lock(mu_);
      told_.push_back(text);
      wake_.SignalAll();
    };
    PskSetUp psk;
    psk.cbc_suites = cbc;
    auto keys = PskFile::Open(PskPath(), 1 << 20, config.on_failed_handshake);
    ASSERT_TRUE(keys.ok()) << keys.status();
    psk.keys = *std::move(keys);
    const SaeId alice("alice");
    SkipPeers peers({{.sae = alice, .psk_identity = "router a", .local_system_id = "KP_A"},
                     {.sae = SaeId("bob"), .psk_identity = "router-b", .local_system_id = "KP_B"}},
                    {{.system_id = "KP_B*", .sae = SaeId("bob"), .encryptors = {alice}},
                     {.system_id = "KP_A", .sae = alice},
                     {.system_id = "DOWN", .sae = SaeId("down")},
                     {.system_id = "FULL", .sae = SaeId("full")},
                     {.system_id = "BROKEN", .sae = SaeId("broken")},
                     {.system_id = "GONE", .sae = SaeId("gone")},
                     {.system_id = "CAROL", .sae = SaeId("carol")}},
                    {});
    auto server = SkipServer::Start(config, std::move(psk), std::move(peers), options,
                                    std::move(random), port_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::unique_ptr<HttpsClient> Connect(const PskClient& psk) {
    PemFiles files = certs_.Client("alice");
    files.cert.clear();
    return std::make_unique<HttpsClient>(server_->port(), files, 0,
                                         [&psk](SSL_CTX* context) { UsePsk(context, psk); });
  }
  HttpsAnswer Ask(const PskClient& psk, absl::string_view target, absl::string_view method = "GET",
                  absl::string_view body = {}) {
    std::optional<HttpsAnswer> answer = Connect(psk)->Ask(method, target, body);
    EXPECT_TRUE(answer.has_value()) << method << " " << target;
    return answer.value_or(HttpsAnswer());
  }
  // A key drawn by alice for bob: its keyId and its hex.
  std::pair<std::string, std::string> Draw() {
    const HttpsAnswer answer = Ask(a_, "/key?remoteSystemID=KP_B");
    EXPECT_EQ(answer.status, 200);
    return {answer.body.substr(10, 32), answer.body.substr(51, 64)};
  }
  // The first text told from now on, or before.
  std::string Told(const std::string& part) {
    MutexLock lock(mu_);
    for (;;) {
      for (const std::string& text : told_) {
        if (text.find(part) != std::string::npos) return text;
      }
      wake_.Wait(mu_);
    }
  }

  AkCerts certs_;
  FakeDeliveryPort port_;
  Mutex mu_;
  CondVar wake_;
  std::vector<std::string> told_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<SkipServer> server_;
  const PskClient a_ = {.identity = "router a", .key = KeyA()};
  const PskClient b_ = {.identity = "router-b", .key = KeyB()};
};

// --- TLS --------------------------------------------------------------------------------------

TEST_F(SkipServerTest, SpeaksEveryModeOfTheDraft) {
  Start();
  for (const char* suite : {"DHE-PSK-AES256-GCM-SHA384", "PSK-AES256-GCM-SHA384"}) {
    PskClient client = a_;
    client.version = TLS1_2_VERSION;
    client.suites12 = suite;
    const auto connection = Connect(client);
    EXPECT_STREQ(connection->suite(), suite);
    EXPECT_EQ(connection->Ask("GET", "/capabilities")->status, 200);
  }
  EXPECT_STREQ(Connect(a_)->suite(), "TLS_AES_256_GCM_SHA384");
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    HttpsClient connection(server_->port(), certs_.Client("alice"), version);
    EXPECT_THAT(connection.suite(),
                MatchesRegex("(TLS_AES_256_GCM_SHA384|ECDHE-.*-AES256-GCM-SHA384)"));
    EXPECT_EQ(connection.Ask("GET", "/capabilities")->status, 200);
  }
}

TEST_F(SkipServerTest, CbcSuitesNeedTheSwitch) {
  PskClient old = a_;
  old.version = TLS1_2_VERSION;
  for (const bool on : {false, true}) {
    Start({}, nullptr, on);
    for (const char* suite : {"DHE-PSK-AES256-CBC-SHA384", "DHE-PSK-AES256-CBC-SHA"}) {
      old.suites12 = suite;
      EXPECT_EQ(Connect(old)->connected(), on) << suite;
    }
  }
}

TEST_F(SkipServerTest, RefusesAWrongKeyAndAnUnknownIdentityAlike) {
  Start();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    PskClient wrong = a_;
    wrong.version = version;
    wrong.key[0] ^= 1;
    EXPECT_FALSE(Connect(wrong)->Ask("GET", "/capabilities").has_value());
    EXPECT_THAT(Told("identity \"router a\", which is in " + PskPath()),
                EndsWith("the client has another key"));
    PskClient stranger = a_;
    stranger.version = version;
    stranger.identity = absl::StrCat("mallory\n", version);
    EXPECT_FALSE(Connect(stranger)->Ask("GET", "/capabilities").has_value());
    EXPECT_THAT(Told(absl::StrCat("mallory\\n", version)), HasSubstr("expected one that is in"));
  }
  EXPECT_EQ(server_->counts().failed_handshakes, 4u);
}

TEST_F(SkipServerTest, TellsThatAKeyIsUsedWithAnotherHash) {
  Start();
  PskClient client = a_;
  client.sha256 = true;
  EXPECT_FALSE(Connect(client)->Ask("GET", "/capabilities").has_value());
  EXPECT_THAT(Told("router a"), HasSubstr("expected a key that the client uses with SHA-384"));
}

TEST_F(SkipServerTest, WantsAKeyOrACertificateOfTheRightCa) {
  Start();
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    PemFiles nothing = certs_.Client("alice");
    nothing.cert.clear();
    HttpsClient none(server_->port(), nothing, version);
    EXPECT_FALSE(none.Ask("GET", "/capabilities").has_value());
    HttpsClient forged(server_->port(), certs_.Client("forged"), version);
    EXPECT_FALSE(forged.Ask("GET", "/capabilities").has_value());
  }
}

TEST_F(SkipServerTest, AnSaeThatIsNoEncryptorIsUnauthorized) {
  Start();
  HttpsClient carol(server_->port(), certs_.Client("carol"));
  for (const char* path : {"/capabilities", "/key?remoteSystemID=KP_B", "/entropy", "/nowhere"}) {
    EXPECT_EQ(carol.Ask("GET", path)->status, 401) << path;
  }
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

TEST_F(SkipServerTest, ReadsTheKeysAgainWhenTheirFileChanges) {
  Start();
  const auto open = Connect(a_);
  const auto other = Connect(b_);
  EXPECT_EQ(open->Ask("GET", "/capabilities")->status, 200);
  EXPECT_EQ(other->Ask("GET", "/capabilities")->status, 200);
  PskClient fresh = a_;
  fresh.key = std::string(64, 'n');
  WritePsks(Line("router a", fresh.key) + Line("router-b", KeyB()));
  EXPECT_EQ(open->Ask("GET", "/capabilities")->status, 401);
  EXPECT_EQ(other->Ask("GET", "/capabilities")->status, 200);
  EXPECT_FALSE(Connect(a_)->Ask("GET", "/capabilities").has_value());
  EXPECT_EQ(Ask(fresh, "/capabilities").status, 200);
  WritePsks(Line("router a", fresh.key));
  EXPECT_EQ(other->Ask("GET", "/capabilities")->status, 401);
  EXPECT_THAT(Told("router-b"), HasSubstr("its key is no longer the one in " + PskPath()));
}

TEST_F(SkipServerTest, AFileThatCannotBeUsedLeavesTheKeysInUseAndIsToldOnce) {
  Start();
  for (const auto& [text, mode, why] :
       {std::tuple(std::string("router a:0011\n"), 0600, "psk:1: expected a key of 32 to 256"),
        std::tuple(Line("router a", KeyB()), 0644, "chmod 600 it")}) {
    WritePsks(text, mode);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(a_, "/capabilities").status, 200);
    EXPECT_THAT(Told(why), StartsWith("the keys read before stay in use: "));
  }
  MutexLock lock(mu_);
  EXPECT_EQ(told_.size(), 2u);
}

// --- Methods ----------------------------------------------------------------------------------

TEST_F(SkipServerTest, CapabilitiesHaveTheFiveFields) {
  Start();
  EXPECT_EQ(Ask(a_, "/capabilities").body,
            R"({"entropy":false,"key":true,"algorithm":"QKD-relay-OTP","localSystemID":"KP_A",)"
            R"("remoteSystemID":["KP_B*","DOWN","FULL","BROKEN","GONE","CAROL"]})");
  EXPECT_THAT(Ask(b_, "/capabilities").body,
              HasSubstr(R"("localSystemID":"KP_B","remoteSystemID":["KP_A",)"));
}

TEST_F(SkipServerTest, BothEndsGetTheSameKeyInLowerCaseHex) {
  Start();
  const HttpsAnswer drawn = Ask(a_, "/key?remoteSystemID=KP_B");
  EXPECT_EQ(drawn.status, 200);
  EXPECT_EQ(drawn.headers.at("content-type"), "application/json");
  EXPECT_THAT(drawn.body, MatchesRegex(R"(\{"keyId":"[0-9a-f]{32}","key":"[0-9a-f]{64}"\})"));
  const std::string id = absl::AsciiStrToUpper(drawn.body.substr(10, 32));
  EXPECT_EQ(Ask(b_, absl::StrCat("/key/", id, "?remoteSystemID=KP_A")).body, drawn.body);
  EXPECT_EQ(port_.keys_drawn(), 1u);
  EXPECT_EQ(port_.keys_at_hand(), 0u);
}

TEST_F(SkipServerTest, SizeIsInBits) {
  Start();
  EXPECT_THAT(Ask(a_, "/key?remoteSystemID=KP_B&size=128").body,
              MatchesRegex(R"(.*"key":"[0-9a-f]{32}"\})"));
  for (const char* size : {"129", "8", "1000000", "0", "x"}) {
    EXPECT_EQ(Ask(a_, absl::StrCat("/key?remoteSystemID=KP_B&size=", size)).status, 400) << size;
  }
}

TEST_F(SkipServerTest, AKeyIdFetchedTwiceIs400) {
  Start();
  const std::string path = absl::StrCat("/key/", Draw().first, "?remoteSystemID=KP_A");
  EXPECT_EQ(Ask(b_, path).status, 200);
  EXPECT_EQ(Ask(b_, path).status, 400);
}

TEST_F(SkipServerTest, AnotherEncryptorOrAWrongRemoteSystemIs400AndTheKeyStays) {
  Start();
  const auto [id, key] = Draw();
  std::vector<std::string> bodies;
  for (const char* remote : {"KP_B", "KP_BX", "CAROL"}) {
    const HttpsAnswer answer = Ask(a_, absl::StrCat("/key/", id, "?remoteSystemID=", remote));
    EXPECT_EQ(answer.status, 400) << remote;
    bodies.push_back(answer.body);
  }
  EXPECT_EQ(Ask(b_, absl::StrCat("/key/", id, "?remoteSystemID=CAROL")).body, bodies[0]);
  EXPECT_EQ(Ask(b_, absl::StrCat("/key/", id, "?remoteSystemID=NOBODY")).status, 400);
  EXPECT_EQ(Ask(b_, absl::StrCat("/key/", id)).status, 400);
  // Unknown looks like foreign.
  EXPECT_EQ(Ask(b_, "/key/00000000000040008000000000000000?remoteSystemID=KP_A").body, bodies[0]);
  EXPECT_EQ(Ask(b_, "/key/0011?remoteSystemID=KP_A").body, bodies[0]);
  EXPECT_THAT(Ask(b_, absl::StrCat("/key/", id, "?remoteSystemID=KP_A")).body,
              HasSubstr(absl::StrCat("\"key\":\"", key, "\"")));
}

TEST_F(SkipServerTest, MissingOrUnknownRemoteSystemIs400) {
  Start();
  for (const char* query : {"", "?remoteSystemID=", "?remoteSystemID=KP_Z", "?remotesystemid=KP_B",
                            "?remoteSystemID=GONE"}) {
    EXPECT_EQ(Ask(a_, absl::StrCat("/key", query)).status, 400) << query;
  }
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

TEST_F(SkipServerTest, OtherPathsAre404AndOtherMethods405) {
  Start();
  EXPECT_EQ(Ask(a_, "/api/v1/keys/bob/enc_keys").status, 404);
  EXPECT_EQ(Ask(a_, "/keys", "POST").status, 404);
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"}) {
    for (const char* path : {"/capabilities", "/key?remoteSystemID=KP_B", "/key/00", "/entropy"}) {
      const HttpsAnswer answer = Ask(a_, path, method);
      EXPECT_EQ(answer.status, 405) << method << " " << path;
      EXPECT_EQ(answer.headers.at("allow"), "GET");
    }
  }
  EXPECT_EQ(Ask(a_, "/key?remoteSystemID=KP_B", "GET", "body").status, 400);
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

TEST_F(SkipServerTest, NoKeyForNowIs503WithRetryAfterOr500) {
  Start();
  for (const char* remote : {"DOWN", "FULL"}) {
    const HttpsAnswer answer = Ask(a_, absl::StrCat("/key?remoteSystemID=", remote));
    EXPECT_EQ(answer.status, 503);
    EXPECT_THAT(answer.headers, Contains(::testing::Key("retry-after")));
  }
  EXPECT_EQ(Ask(a_, "/key?remoteSystemID=BROKEN").status, 500);
  Start({.algorithm = "", .unavailable_status = 500});
  EXPECT_EQ(Ask(a_, "/key?remoteSystemID=DOWN").status, 500);
}

TEST_F(SkipServerTest, ASuspendedSaeIsRefusedOnItsNextRequest) {
  Start({}, std::make_unique<FakeRandom>());
  const auto [id, key] = Draw();
  const auto open = Connect(a_);
  EXPECT_EQ(open->Ask("GET", "/capabilities")->status, 200);
  port_.Deregister("alice");
  for (const char* path : {"/capabilities", "/key?remoteSystemID=KP_B", "/entropy"}) {
    EXPECT_EQ(open->Ask("GET", path)->status, 401) << path;
  }
  EXPECT_EQ(port_.keys_drawn(), 1u);
}

TEST_F(SkipServerTest, WithoutATrueSourceEntropyIs503) {
  Start();
  EXPECT_EQ(Ask(a_, "/entropy").status, 503);
  EXPECT_EQ(Ask(a_, "/entropy?minentropy=8").status, 503);
  EXPECT_EQ(Ask(a_, "/entropy?minentropy=x").status, 400);
}

TEST_F(SkipServerTest, EntropyComesFromTheSourceUntilItIsEmpty) {
  auto owned = std::make_unique<FakeRandom>();
  FakeRandom& random = *owned;
  Start({}, std::move(owned));
  EXPECT_THAT(Ask(a_, "/capabilities").body, StartsWith(R"({"entropy":true,)"));
  EXPECT_EQ(Ask(a_, "/entropy?minentropy=12").body, R"({"randomStr":"5a5a","minentropy":16})");
  const std::string whole = Ask(a_, "/entropy").body;
  EXPECT_THAT(whole, MatchesRegex(R"(\{"randomStr":"(5a){32}","minentropy":256\})"));
  EXPECT_EQ(Ask(a_, "/entropy").status, 503);
  EXPECT_EQ(Ask(a_, "/entropy?minentropy=1000").status, 400);
  random.healthy_ = false;
  EXPECT_THAT(Ask(a_, "/capabilities").body, StartsWith(R"({"entropy":false,)"));
}

}  // namespace
}  // namespace keyhop
