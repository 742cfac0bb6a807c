#include "kms/tls/asio_context.h"

#include <openssl/ssl.h>

#include <filesystem>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kms/tls/identity.h"
#include "kms/tls/openssl_types.h"
#include "kms/tls/verification.h"
#include "tests/kms/tls/test_certs.h"

namespace keyhop {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using SslCtxPtr = std::unique_ptr<SSL_CTX, tls::Freer<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, tls::Freer<SSL_free>>;

struct Handshake {
  bool done = false;
  int alert = -1;  // That the server sent (RFC 8446 §6).
  std::string version;
  std::string why;  // As the server's log would say it.
  absl::StatusOr<SaeId> sae = absl::UnknownError("no handshake");
};

// Both ends of a connection, in memory.
class ServerContextTest : public ::testing::Test {
 protected:
  ServerContextTest() {
    for (const char* ca : {"node-ca", "sae-ca", "foreign-ca"}) certs_.AddCa(ca);
    certs_.Add("server",
               {.ca = "node-ca", .common_name = "n1", .alt_names = "URI:keyhop://node/n1"});
    certs_.Add("alice",
               {.ca = "sae-ca", .common_name = "alice", .alt_names = "URI:keyhop://sae/alice"});
  }

  Handshake Connect(const std::string& client, int version_max = TLS1_3_VERSION,
                    int version_min = TLS1_2_VERSION, const char* groups = nullptr) {
    const auto context =
        MakeServerContext(certs_.Files("server", "sae-ca"), {"X25519MLKEM768", "X25519", "P-256"});
    EXPECT_TRUE(context.ok()) << context.status();
    const SslCtxPtr client_ctx(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_security_level(client_ctx.get(), 0);
    SSL_CTX_set_min_proto_version(client_ctx.get(), version_min);
    SSL_CTX_set_max_proto_version(client_ctx.get(), version_max);
    if (!client_trusts_.empty()) {
      SSL_CTX_load_verify_file(client_ctx.get(), certs_.Path(client_trusts_).c_str());
      SSL_CTX_set_verify(client_ctx.get(), SSL_VERIFY_PEER, nullptr);
    }
    if (groups != nullptr) SSL_CTX_set1_groups_list(client_ctx.get(), groups);
    if (!client.empty()) {
      SSL_CTX_use_certificate_file(client_ctx.get(), certs_.Path(client + ".crt").c_str(),
                                   SSL_FILETYPE_PEM);
      SSL_CTX_use_PrivateKey_file(client_ctx.get(), certs_.Path(client + ".key").c_str(),
                                  SSL_FILETYPE_PEM);
    }
    const SslPtr server_ssl(SSL_new((*context)->native_handle()));
    const SslPtr client_ssl(SSL_new(client_ctx.get()));
    BIO* to_server = nullptr;
    BIO* to_client = nullptr;
    BIO_new_bio_pair(&to_server, 0, &to_client, 0);
    SSL_set_bio(server_ssl.get(), to_server, to_server);
    SSL_set_bio(client_ssl.get(), to_client, to_client);
    SSL_set_accept_state(server_ssl.get());
    SSL_set_connect_state(client_ssl.get());
    Handshake result;
    SSL_set_app_data(client_ssl.get(), reinterpret_cast<char*>(&result));
    SSL_set_info_callback(client_ssl.get(), [](const SSL* ssl, int where, int value) {
      if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT) {
        reinterpret_cast<Handshake*>(SSL_get_app_data(ssl))->alert = value & 0xff;
      }
    });
    unsigned long error = 0;
    for (int i = 0; i < 10; ++i) {
      SSL_do_handshake(client_ssl.get());
      ERR_clear_error();
      SSL_do_handshake(server_ssl.get());
      if (error == 0) error = ERR_peek_error();
      ERR_clear_error();
    }
    char byte = 0;
    SSL_read(client_ssl.get(), &byte, 1);  // In TLS 1.3 the alert comes after the client is done.
    ERR_clear_error();
    result.why = ExplainFailedHandshake(server_ssl.get(), error);
    result.done = SSL_is_init_finished(server_ssl.get()) == 1;
    result.version = SSL_get_version(server_ssl.get());
    if (result.done) {
      const auto facts = PeerCertificate(server_ssl.get());
      result.sae = facts.ok() ? SaeIdOf(*facts, {}) : facts.status();
    }
    return result;
  }

  TestCerts certs_;
  std::string client_trusts_;  // A file; empty: any server.
};

TEST_F(ServerContextTest, KnowsTheSaeByItsCertificate) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Handshake handshake = Connect("alice", version, version);
    ASSERT_TRUE(handshake.done) << handshake.alert;
    EXPECT_EQ(handshake.version, version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
    EXPECT_EQ(handshake.sae->value, "alice");
  }
}

TEST_F(ServerContextTest, RefusesOldTls) {
  EXPECT_FALSE(Connect("alice", TLS1_1_VERSION, TLS1_VERSION).done);
}

TEST_F(ServerContextTest, RequiresAClientCertificate) {
  const Handshake handshake = Connect("");
  EXPECT_FALSE(handshake.done);
  EXPECT_EQ(handshake.alert, SSL_AD_CERTIFICATE_REQUIRED);
}

TEST_F(ServerContextTest, RefusesACertificateOfAForeignCa) {
  certs_.Add("mallory",
             {.ca = "foreign-ca", .common_name = "alice", .alt_names = "URI:keyhop://sae/alice"});
  const Handshake handshake = Connect("mallory");
  EXPECT_FALSE(handshake.done);
  EXPECT_EQ(handshake.alert, SSL_AD_UNKNOWN_CA);
}

TEST_F(ServerContextTest, RefusesANodesCertificate) {
  const Handshake handshake = Connect("server");
  EXPECT_FALSE(handshake.done);
  EXPECT_EQ(handshake.alert, SSL_AD_UNKNOWN_CA);
}

TEST_F(ServerContextTest, RefusesAnExpiredCertificate) {
  certs_.Add("old", {.ca = "sae-ca",
                     .common_name = "alice",
                     .alt_names = "",
                     .valid_from_s = -7200,
                     .valid_until_s = -3600});
  const Handshake handshake = Connect("old");
  EXPECT_FALSE(handshake.done);
  EXPECT_EQ(handshake.alert, SSL_AD_CERTIFICATE_EXPIRED);
}

TEST_F(ServerContextTest, TakesOnlyTheConfiguredGroups) {
  EXPECT_TRUE(Connect("alice", TLS1_3_VERSION, TLS1_2_VERSION, "P-256").done);
  EXPECT_FALSE(Connect("alice", TLS1_3_VERSION, TLS1_2_VERSION, "P-521").done);
}

TEST_F(ServerContextTest, RefusesGroupsThatNobodyKnows) {
  const auto context = MakeServerContext(certs_.Files("server", "sae-ca"), {"no-such-group"});
  EXPECT_THAT(std::string(context.status().message()), HasSubstr("tls.groups: expected one"));
}

// --- What the log says of a failed handshake ---------------------------------------------------

TEST_F(ServerContextTest, TellsTheIssuerOfAForeignCertificate) {
  certs_.Add("mallory",
             {.ca = "foreign-ca", .common_name = "alice", .alt_names = "URI:keyhop://sae/alice"});
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_THAT(Connect("mallory", version, version).why,
                AllOf(StartsWith("client certificate (subject \"CN=alice\", issued by "
                                 "\"CN=foreign-ca\", serial "),
                      HasSubstr("issuer: expected a CA in " + certs_.Path("sae-ca.crt") +
                                " (\"CN=sae-ca\"); found \"CN=foreign-ca\"")));
  }
}

TEST_F(ServerContextTest, TellsThatACaOfTheSameNameHasAnotherKey) {
  TestCerts others;
  others.AddCa("sae-ca");
  others.Add("mallory", {.ca = "sae-ca", .common_name = "alice", .alt_names = ""});
  for (const char* kind : {".crt", ".key"}) {
    std::filesystem::copy_file(others.Path(std::string("mallory") + kind),
                               certs_.Path(std::string("mallory") + kind));
  }
  EXPECT_THAT(Connect("mallory").why,
              AnyOf(HasSubstr("signature: expected one by the key of the CA of that name"),
                    HasSubstr("has another key")));
}

TEST_F(ServerContextTest, TellsTheTimesOfACertificateOutOfItsTime) {
  certs_.Add("old", {.ca = "sae-ca",
                     .common_name = "alice",
                     .alt_names = "",
                     .valid_from_s = -7200,
                     .valid_until_s = -3600});
  EXPECT_THAT(Connect("old").why, HasSubstr("notAfter: expected a time after now"));
  certs_.Add("early", {.ca = "sae-ca",
                       .common_name = "alice",
                       .alt_names = "",
                       .valid_from_s = 3600,
                       .valid_until_s = 7200});
  EXPECT_THAT(Connect("early").why, HasSubstr("notBefore: expected a time before now"));
}

TEST_F(ServerContextTest, TellsAWrongExtendedKeyUsage) {
  certs_.Add("web", {.ca = "sae-ca",
                     .common_name = "alice",
                     .alt_names = "",
                     .extended_key_usage = "serverAuth"});
  EXPECT_THAT(Connect("web").why,
              AllOf(HasSubstr("extendedKeyUsage"), HasSubstr("expected clientAuth"),
                    HasSubstr("found extendedKeyUsage TLS Web Server Authentication")));
}

TEST_F(ServerContextTest, TellsThatNoCertificateWasSent) {
  EXPECT_THAT(Connect("").why,
              AllOf(HasSubstr("client certificate: expected one issued by a CA in"),
                    HasSubstr("CN=sae-ca"), HasSubstr("none was sent")));
}

TEST_F(ServerContextTest, TellsThatTheClientDoesNotKnowOurCa) {
  client_trusts_ = "foreign-ca.crt";
  EXPECT_THAT(Connect("alice").why,
              AllOf(HasSubstr("the client refuses this node's certificate"),
                    HasSubstr("issued by \"CN=node-ca\""), HasSubstr("unknown CA")));
}

TEST_F(ServerContextTest, TellsAnOldTlsVersionAndGroupsThatDoNotMeet) {
  EXPECT_THAT(Connect("alice", TLS1_1_VERSION, TLS1_VERSION).why,
              HasSubstr("expected TLS 1.2 or 1.3"));
  EXPECT_THAT(Connect("alice", TLS1_3_VERSION, TLS1_3_VERSION, "P-521").why,
              HasSubstr("tls.groups"));
}

TEST_F(ServerContextTest, SaysNothingOfAConnectionThatNeverSpoke) {
  const auto context = MakeServerContext(certs_.Files("server", "sae-ca"), {});
  const SslPtr ssl(SSL_new((*context)->native_handle()));
  SSL_set_accept_state(ssl.get());
  EXPECT_EQ(ExplainFailedHandshake(ssl.get(), 0), "");
}

TEST_F(ServerContextTest, EscapesTheNamesOfStrangers) {
  certs_.AddCa("evil\n2026-01-01 info all is well");
  certs_.Add(
      "mallory",
      {.ca = "evil\n2026-01-01 info all is well", .common_name = "a\x1b[2J", .alt_names = ""});
  const std::string why = Connect("mallory").why;
  EXPECT_THAT(why, HasSubstr("issuer: expected"));
  EXPECT_THAT(why, Not(HasSubstr("\n")));
  EXPECT_THAT(why, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace keyhop
