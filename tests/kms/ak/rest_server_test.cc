#include "kms/ak/rest_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kms/ak/rest_api.h"
#include "tests/kms/ak/rest_fixture.h"

namespace keyhop {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

struct Row {
  const char* clause;
  const char* method;
  const char* target;
  const char* body;
  int status;
  const char* expected;  // Occurs in the body.
};

constexpr char kNoKey[] = "00000000-0000-4000-8000-000000000000";

const Row kRows[] = {
    {"5.1 status", "GET", "/api/v1/keys/bob/status", "", 200,
     R"({"source_KME_ID":"kme-a","target_KME_ID":"kme-b","master_SAE_ID":"alice",)"
     R"("slave_SAE_ID":"bob","key_size":256,"stored_key_count":200,"max_key_count":1000,)"
     R"("max_key_per_request":128,"max_key_size":16384,"min_key_size":32,"max_SAE_ID_count":2})"},
    {"5.1 OPTIONS", "OPTIONS", "/api/v1/keys/bob/status", "", 204, ""},
    {"5.2 OPTIONS", "OPTIONS", kEnc, "", 204, ""},
    {"RFC 9110 OPTIONS *", "OPTIONS", "*", "", 204, ""},
    {"T2 verb of status", "POST", "/api/v1/keys/bob/status", "", 405, "message"},
    {"T2 verb", "PUT", kEnc, "{}", 405, "message"},
    {"T2 verb", "DELETE", kDec, "", 405, "message"},
    {"T2 path", "GET", "/", "", 404, "message"},
    {"T2 path", "GET", "/api/v1/keys/bob", "", 404, "message"},
    {"T2 path", "POST", "/api/v2/keys/bob/enc_keys", "{}", 404, "message"},
    {"T2 space", "GET", "/api/v1/keys/a%20b/status", "", 200, R"("slave_SAE_ID":"a b")"},
    {"T2 slash", "GET", "/api/v1/keys/x%2Fy/status", "", 200, R"("slave_SAE_ID":"x/y")"},
    {"T2 percent, once", "GET", "/api/v1/keys/50%2541/status", "", 200, R"(:"50%41")"},
    {"T2 UTF-8", "GET", "/api/v1/keys/caf%C3%A9/status", "", 200, "caf\u00e9"},
    {"T2 bad encoding", "GET", "/api/v1/keys/%zz/status", "", 400, "URL-encoded"},
    {"T10 bare GET", "GET", kEnc, "", 200, R"({"keys":[{"key_ID":")"},
    {"T10 POST {}", "POST", kEnc, "{}", 200, R"({"keys":[{"key_ID":")"},
    {"T10 POST empty", "POST", kEnc, "", 200, R"({"keys":[{"key_ID":")"},
    {"T10 unknown member", "POST", kEnc, R"({"additional_target_sae_ids":[]})", 200, "keys"},
    {"T10 null", "POST", kEnc, R"({"number":null,"size":null})", 200, "keys"},
    {"6.2 size % 8", "POST", kEnc, R"({"size":7})", 400,
     R"({"message":"size shall be a multiple of 8"})"},
    {"6.2 size % 8", "GET", "/api/v1/keys/bob/enc_keys?size=7", "", 400,
     R"({"message":"size shall be a multiple of 8"})"},
    {"T9 number 0", "POST", kEnc, R"({"number":0})", 400, "message"},
    {"T9 number negative", "POST", kEnc, R"({"number":-1})", 400, "number shall be"},
    {"T9 number huge", "POST", kEnc, R"({"number":1e400})", 400, "message"},
    {"T9 number string", "POST", kEnc, R"({"number":"1"})", 400, "number shall be"},
    {"T9 number twice", "POST", kEnc, R"({"number":1,"number":1})", 400, "twice"},
    {"T9 size above", "POST", kEnc, R"({"size":16392})", 400, "message"},
    {"RFC 8259 trailing", "POST", kEnc, "{} {}", 400, "not JSON"},
    {"RFC 8259 comma", "POST", kEnc, R"({"number":1,})", 400, "not JSON"},
    {"6.2 extension", "POST", kEnc, R"({"extension_mandatory":[{"abc_route_type":"direct"}]})", 400,
     R"({"message":"not all extension_mandatory parameters are supported","details":)"
     R"([{"extension_mandatory_unsupported":"abc_route_type is not supported"}]})"},
    {"6.2 optional", "POST", kEnc, R"({"extension_optional":[{"abc_x":1}]})", 200, "keys"},
    {"5.2 GET with a body", "GET", kEnc, R"({"number":2})", 400, "POST it"},
    {"5.2 GET, POST only", "GET", "/api/v1/keys/bob/enc_keys?additional_slave_SAE_IDs=carol", "",
     400, "POST a JSON body for additional_slave_SAE_IDs"},
    {"5.2 GET, POST only", "GET", "/api/v1/keys/bob/enc_keys?extension_mandatory=x", "", 400,
     "POST a JSON body for extension_mandatory"},
    {"5.2 GET, unknown name", "GET", "/api/v1/keys/bob/enc_keys?foo=x", "", 200, "keys"},
    {"5.2 POST with a query", "POST", "/api/v1/keys/bob/enc_keys?number=3", "{}", 400,
     "in its JSON body"},
    {"5.3 GET, POST only", "GET", "/api/v1/keys/alice/dec_keys?key_IDs=x", "", 400, "key_IDs"},
    {"5.3 POST with a query", "POST", "/api/v1/keys/alice/dec_keys?key_ID=1", "{}", 400,
     "in its JSON body"},
    {"T10 no slaves", "POST", kEnc, R"({"additional_slave_SAE_IDs":[]})", 400, "message"},
    {"T10 slave twice", "POST", kEnc, R"({"additional_slave_SAE_IDs":["bob"]})", 400, "message"},
    {"T10 unknown slave", "POST", kEnc, R"({"additional_slave_SAE_IDs":["x"]})", 400, "message"},
    {"slave = master", "GET", "/api/v1/keys/alice/enc_keys", "", 400, "different SAEs"},
    {"unknown slave", "GET", "/api/v1/keys/nobody/enc_keys", "", 400, "unknown SAE"},
    {"T6 pool empty", "GET", "/api/v1/keys/down/enc_keys", "", 503,
     R"({"message":"not enough key now","details":[{"bits_asked":"256"}]})"},
    {"limit", "GET", "/api/v1/keys/full/enc_keys", "", 503, "quota"},
    {"internal", "GET", "/api/v1/keys/broken/enc_keys", "", 503, "internal error"},
    {"6.4 none", "POST", kDec, R"({"key_IDs":[]})", 400, "key_IDs shall be"},
    {"6.4 empty body", "POST", kDec, "", 400, "not JSON"},
    {"6.4 bare strings", "POST", kDec, R"({"key_IDs":["x"]})", 400, R"({\"key_ID\": \"UUID\"})"},
    {"6.4 malformed", "GET", "/api/v1/keys/alice/dec_keys?key_ID=1", "", 400, "UUID"},
    {"6.4 GET none", "GET", kDec, "", 400, "key_ID=UUID"},
};

TEST_F(RestServerTest, AnswersEachClauseAsTheStandardSays) {
  Start();
  const auto client = Client("alice");
  for (const Row& row : kRows) {
    const auto answer = client->Ask(row.method, row.target, row.body);
    ASSERT_TRUE(answer.has_value()) << row.clause << " " << row.target;
    EXPECT_EQ(answer->status, row.status) << row.clause << " " << row.body << answer->body;
    EXPECT_THAT(answer->body, HasSubstr(row.expected)) << row.clause;
    EXPECT_EQ(answer->headers.contains("content-type"), row.status != 204) << row.clause;
    if (row.status != 204) {
      EXPECT_EQ(answer->headers.at("content-type"), "application/json") << row.clause;
    }
    EXPECT_EQ(answer->headers.contains("retry-after"), row.status == 503) << row.clause;
    EXPECT_EQ(answer->headers.contains("allow"), row.status == 405 || row.status == 204)
        << row.clause;
  }
}

TEST_F(RestServerTest, RoundsRetryAfterUpToSeconds) {
  Start();
  EXPECT_EQ(Ask("alice", "GET", "/api/v1/keys/down/enc_keys").headers.at("retry-after"), "2");
  EXPECT_EQ(Ask("alice", "GET", "/api/v1/keys/full/enc_keys").headers.at("retry-after"), "1");
  EXPECT_EQ(Ask("alice", "GET", "/api/v1/keys/broken/enc_keys").headers.at("retry-after"), "1");
}

TEST(RefusalAnswerTest, WhoComesBackAfterRetryAfterIsNotTooEarly) {
  const Refusal refusal = {
      .kind = Refusal::Kind::kExhausted, .message = "x", .retry_after = Duration{2'000'000'001}};
  EXPECT_THAT(RefusalAnswer(refusal).headers, Contains(Pair("Retry-After", "3")));
}

TEST_F(RestServerTest, NamesTheVerbsThatAResourceHas) {
  Start();
  EXPECT_EQ(Ask("alice", "POST", "/api/v1/keys/bob/status").headers.at("allow"),
            "GET, HEAD, OPTIONS");
  EXPECT_EQ(Ask("alice", "PATCH", kEnc).headers.at("allow"), "GET, POST, OPTIONS");
  EXPECT_EQ(Ask("alice", "OPTIONS", kEnc).headers.at("allow"), "GET, POST, OPTIONS");
  const HttpsAnswer head = Ask("alice", "HEAD", kEnc);
  EXPECT_EQ(head.status, 405);
  EXPECT_EQ(port_.keys_drawn(), 0u);
  const std::string length =
      Ask("alice", "GET", "/api/v1/keys/bob/status").headers.at("content-length");
  const HttpsAnswer status = Ask("alice", "HEAD", "/api/v1/keys/bob/status");
  EXPECT_EQ(status.status, 200);
  EXPECT_EQ(status.headers.at("content-length"), length);
}

TEST_F(RestServerTest, TakesABodyThatMayBeJsonByItsContentType) {
  Start();
  const auto client = Client("alice");
  const auto ask = [&](absl::string_view type, absl::string_view body) {
    client->Send(absl::StrCat("POST ", kEnc, " HTTP/1.1\r\nHost: kme\r\nContent-Type: ", type,
                              "\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
    const auto answer = client->Read();
    return answer.has_value() ? answer->status : 0;
  };
  for (const char* type :
       {"application/json", "Application/JSON; Charset=\"UTF-8\"", "application/vnd.kme+json",
        "text/json", "application/x-www-form-urlencoded", ""}) {
    EXPECT_EQ(ask(type, "{}"), 200) << type;
  }
  const uint64_t drawn = port_.keys_drawn();
  for (const char* type :
       {"text/xml", "multipart/form-data; boundary=x", "application/json; charset=utf-16",
        "application/cbor", "image/svg+xml", "text/plain"}) {
    EXPECT_EQ(ask(type, "{}"), 415) << type;
    EXPECT_EQ(ask(type, ""), 200) << type;
  }
  EXPECT_EQ(port_.keys_drawn(), drawn + 6);
}

// The key_ID in a container with one key.
std::string IdOfOne(const HttpsAnswer& container) { return container.body.substr(20, 36); }

TEST_F(RestServerTest, DeliversTheSameKeyToTheSlaveOnce) {
  Start();
  const HttpsAnswer drawn = Ask("alice", "POST", kEnc, R"({"number":1,"size":512})");
  ASSERT_EQ(drawn.status, 200);
  const std::string get = absl::StrCat(kDec, "?key_ID=", IdOfOne(drawn));
  EXPECT_EQ(Ask("carol", "GET", get).status, 401);
  EXPECT_EQ(Ask("carol", "GET", get).body, R"({"message":"Unauthorized"})");
  const HttpsAnswer fetched = Ask("bob", "GET", get);
  EXPECT_EQ(fetched.status, 200);
  EXPECT_EQ(fetched.body, drawn.body);
  const HttpsAnswer again = Ask("bob", "GET", get);
  EXPECT_EQ(again.status, 400);
  EXPECT_EQ(again.body, R"({"message":"one or more keys specified are not found on KME"})");
}

TEST_F(RestServerTest, FetchesAllOrNothing) {
  Start();
  const std::string id = IdOfOne(Ask("alice", "GET", kEnc));
  const auto ids = [](const std::string& a, const std::string& b) {
    return absl::StrCat(R"({"key_IDs":[{"key_ID":")", a, R"("},{"key_ID":")", b, R"("}]})");
  };
  EXPECT_EQ(Ask("bob", "POST", kDec, ids(id, kNoKey)).status, 400);
  EXPECT_EQ(Ask("bob", "POST", kDec, ids(id, id)).status, 400);
  const std::string two = absl::StrCat(kDec, "?key_ID=", id, "&key_ID=", id);
  EXPECT_EQ(Ask("bob", "GET", two).status, 400);
  EXPECT_EQ(Ask("bob", "GET", absl::StrCat(kDec, "?key_ID=", absl::AsciiStrToUpper(id))).status,
            200);
}

TEST_F(RestServerTest, GivesAllSlavesTheSameKey) {
  Start();
  const HttpsAnswer drawn = Ask("alice", "POST", kEnc, R"({"additional_slave_SAE_IDs":["carol"]})");
  const std::string get = absl::StrCat(kDec, "?key_ID=", IdOfOne(drawn));
  EXPECT_EQ(Ask("carol", "GET", get).body, drawn.body);
  EXPECT_EQ(Ask("bob", "GET", get).body, drawn.body);
}

TEST_F(RestServerTest, RefusesInTheHandshakeWhoMayNotCome) {
  Start();
  for (const char* name : {"forged", "expired", "early", "operator", "node"}) {
    const auto client = Client(name);
    EXPECT_FALSE(client->Ask("GET", kEnc).has_value()) << name;
  }
  PemFiles none = certs_.Client("alice");
  none.cert.clear();
  EXPECT_FALSE(HttpsClient(server_->port(), none).Ask("GET", kEnc).has_value());
  HttpsClient plain(server_->port());
  plain.Send("GET / HTTP/1.1\r\nHost: kme\r\n\r\n");
  EXPECT_TRUE(plain.Ended() || !plain.Read().has_value());
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

TEST_F(RestServerTest, SpeaksTls12And13Only) {
  Start();
  EXPECT_EQ(Client("alice", TLS1_2_VERSION)->Ask("GET", kEnc)->status, 200);
  EXPECT_EQ(Client("alice", TLS1_3_VERSION)->Ask("GET", kEnc)->status, 200);
  EXPECT_FALSE(Client("alice", TLS1_1_VERSION)->connected());
}

TEST_F(RestServerTest, TakesTheCallerFromTheCertificateOnly) {
  Start();
  const auto client = Client("carol");
  client->Send(
      "GET /api/v1/keys/bob/status HTTP/1.1\r\nHost: kme\r\nX-SAE-ID: alice\r\n"
      "X-SSL-Client-CN: alice\r\nAuthorization: Bearer alice\r\n\r\n");
  EXPECT_THAT(client->Read()->body, HasSubstr(R"("master_SAE_ID":"carol")"));
}

TEST_F(RestServerTest, AnswersUnauthorizedToACertificateWithoutASae) {
  Start();
  const HttpsAnswer answer = Ask("nameless", "GET", "/any/path");
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.body, R"({"message":"Unauthorized"})");
}

TEST_F(RestServerTest, ChecksEachRequestOfAConnection) {
  Start();
  const auto client = Client("alice");
  EXPECT_EQ(client->Ask("GET", kEnc)->status, 200);
  port_.Deregister("alice");
  EXPECT_EQ(client->Ask("GET", kEnc)->status, 401);
}

TEST_F(RestServerTest, ReadsTheCertificateAgainForEachRequestIfTold) {
  HttpsConfig config;
  config.tls = certs_.Node("saes");
  config.identity_life = Duration{0};
  std::atomic<int> reads = 0;
  config.read_certificate = [&](const std::string& der) -> absl::StatusOr<std::string> {
    // The first is at the handshake.
    if (++reads > 3) return absl::UnauthenticatedError("revoked");
    return SaeName(der);
  };
  server_ = *RestServer::Start(config, port_);
  const auto client = Client("alice");
  EXPECT_EQ(client->Ask("GET", kEnc)->status, 200);
  EXPECT_EQ(client->Ask("GET", kEnc)->status, 200);
  EXPECT_EQ(client->Ask("GET", kEnc)->status, 401);
}

class HttpsSiteTest : public ::testing::Test {
 protected:
  HttpsSiteTest() {
    HttpsConfig config;
    config.tls = certs_.Node("operators");
    config.read_certificate = [](const std::string& der) -> absl::StatusOr<std::string> {
      absl::StatusOr<CertificateFacts> facts = ReadCertificate(der, "client certificate");
      if (!facts.ok()) return facts.status();
      return IdOf(CertificateKind::kOperator, *facts, IdentityRules());
    };
    site_ = *HttpsSite::Start(config, [](const std::string& path) -> HttpsSite::Page {
      if (path == "/metrics") return {.text = "keyhop_draws_total 3\n"};
      return {.status = 404, .text = "no such page\n"};
    });
  }

  AkCerts certs_;
  std::unique_ptr<HttpsSite> site_;
};

TEST_F(HttpsSiteTest, ServesPagesToOperatorsOnly) {
  HttpsClient client(site_->port(), certs_.Client("operator"));
  const auto page = client.Ask("GET", "/metrics?x=1");
  EXPECT_EQ(page->status, 200);
  EXPECT_EQ(page->body, "keyhop_draws_total 3\n");
  EXPECT_THAT(page->headers.at("content-type"), StartsWith("text/plain"));
  EXPECT_EQ(client.Ask("GET", "/keys")->status, 404);
  EXPECT_EQ(client.Ask("POST", "/metrics")->status, 405);
  EXPECT_EQ(client.Ask("HEAD", "/metrics")->headers.at("content-length"), "21");
  EXPECT_EQ(client.Ask("GET", "/metrics")->status, 200);
  EXPECT_FALSE(HttpsClient(site_->port(), certs_.Client("alice")).Ask("GET", "/metrics"));
}

}  // namespace
}  // namespace keyhop
