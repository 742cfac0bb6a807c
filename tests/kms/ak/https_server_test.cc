#include "kms/ak/https_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kms/ak/rest_fixture.h"

namespace keyhop {
namespace {

using ::testing::HasSubstr;

using HttpsServerTest = RestServerTest;

TEST_F(HttpsServerTest, ServesOthersWhileAClientIsSilent) {
  Start();
  const HttpsClient silent(server_->port());  // Never begins its handshake.
  const auto idle = Client("bob");            // Never asks.
  const auto half = Client("carol");
  half->Send("POST /api/v1/keys/bob/enc_keys HTTP/1.1\r\nHost: kme\r\nContent-Length: 9\r\n\r\n{");
  EXPECT_EQ(Ask("alice", "GET", kEnc).status, 200);
}

TEST_F(HttpsServerTest, EndsClientsThatAreTooSlow) {
  HttpsConfig config;
  config.handshake_timeout = Duration::Millis(50);
  config.idle_timeout = Duration::Millis(50);
  config.body_timeout = Duration::Millis(50);
  Start(config);
  HttpsClient silent(server_->port());
  EXPECT_TRUE(silent.Ended());
  EXPECT_TRUE(Client("bob")->Ended());
  const auto half = Client("carol");
  half->Send("POST /api/v1/keys/bob/enc_keys HTTP/1.1\r\nHost: kme\r\nContent-Length: 9\r\n\r\n{");
  EXPECT_TRUE(half->Ended());
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

TEST_F(HttpsServerTest, EndsAClientThatIsTooSlowWithItsHeader) {
  HttpsConfig config;
  config.header_timeout = Duration::Millis(50);
  Start(config);
  const auto slow = Client("alice");
  slow->Send("GET / HT");
  EXPECT_TRUE(slow->Ended());
  EXPECT_EQ(server_->counts().timeouts, 1u);
}

TEST_F(HttpsServerTest, EndsAClientThatDoesNotTakeItsAnswers) {
  HttpsConfig config;
  config.write_timeout = Duration::Millis(100);
  Start(config);
  const auto deaf = Client("alice");
  std::string many;
  for (int i = 0; i < 2000; ++i) {
    absl::StrAppend(&many, "GET ", kEnc, "?number=128&size=16384 HTTP/1.1\r\nHost: kme\r\n\r\n");
  }
  deaf->Send(many);  // Answers for 700 MB: more than any socket buffer.
  while (server_->counts().timeouts == 0) EXPECT_EQ(Ask("bob", "GET", kDec).status, 400);
}

TEST_F(HttpsServerTest, DropsTheOldestThatShowsNoCertificate) {
  HttpsConfig config;
  config.handshakes_max = 3;
  Start(config);
  const auto known = Client("bob");
  ASSERT_EQ(known->Ask("GET", kDec)->status, 400);
  std::vector<std::unique_ptr<HttpsClient>> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(std::make_unique<HttpsClient>(server_->port()));
  EXPECT_EQ(Ask("alice", "GET", kEnc).status, 200);
  for (size_t i = 0; i < 17; ++i) EXPECT_TRUE(silent[i]->Ended()) << i;
  EXPECT_GE(server_->counts().dropped_handshakes, 17u);
  EXPECT_EQ(known->Ask("GET", kDec)->status, 400) << "who was let in is not dropped";
}

TEST_F(HttpsServerTest, LimitsTheRequestsOfOneSaeOverAllItsConnections) {
  HttpsConfig config;
  config.admission.requests_per_second = 1;
  config.admission.requests_burst = 2;
  Start(config);
  const auto first = Client("alice");
  const auto second = Client("alice");
  EXPECT_EQ(first->Ask("GET", kEnc)->status, 200);
  EXPECT_EQ(second->Ask("GET", kEnc)->status, 200);
  const auto over = first->Ask("GET", kEnc);
  EXPECT_EQ(over->status, 503);
  EXPECT_EQ(over->headers.at("retry-after"), "1");
  EXPECT_EQ(Ask("bob", "GET", kDec).status, 400);
  EXPECT_EQ(port_.keys_drawn(), 2u);
  while (first->Ask("GET", kEnc)->status != 200) {
  }
}

TEST_F(HttpsServerTest, AnswersPipelinedRequestsInOrder) {
  Start();
  const auto client = Client("alice");
  std::string all;
  for (const char* slave : {"bob", "carol", "down", "a%20b"}) {
    absl::StrAppend(&all, "GET /api/v1/keys/", slave, "/status HTTP/1.1\r\nHost: kme\r\n\r\n");
  }
  client->Send(all);
  for (const char* slave : {"bob", "carol", "down", "a b"}) {
    EXPECT_THAT(client->Read()->body, HasSubstr(absl::StrCat("\"slave_SAE_ID\":\"", slave, "\"")));
  }
}

TEST_F(HttpsServerTest, ReadsChunkedBodies) {
  Start();
  const auto client = Client("alice");
  client->Send(absl::StrCat("POST ", kEnc,
                            " HTTP/1.1\r\nHost: kme\r\nTransfer-Encoding: chunked\r\n\r\n"
                            "6\r\n{\"size\r\n6\r\n\":512}\r\n0\r\n\r\n"));
  const auto answer = client->Read();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body.size(),
            absl::string_view(R"({"keys":[{"key_ID":"","key":""}]})").size() + 36 + 88);
}

TEST_F(HttpsServerTest, SaysContinueWhenAsked) {
  Start();
  const auto client = Client("alice");
  client->Send(absl::StrCat("POST ", kEnc,
                            " HTTP/1.1\r\nHost: kme\r\nExpect: 100-continue\r\n"
                            "Content-Length: 2\r\n\r\n"));
  EXPECT_EQ(client->Read(/*head=*/true)->status, 100);
  client->Send("{}");
  EXPECT_EQ(client->Read()->status, 200);
}

TEST_F(HttpsServerTest, ServesHttp10AndClosesUnlessAskedToStay) {
  Start();
  const auto close = Client("alice");
  close->Send(absl::StrCat("GET ", kEnc, " HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(close->Read()->headers.at("connection"), "close");
  EXPECT_TRUE(close->Ended());
  const auto stay = Client("alice");
  stay->Send(absl::StrCat("GET ", kEnc, " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_EQ(stay->Read()->headers.at("connection"), "keep-alive");
  EXPECT_EQ(stay->Ask("GET", kEnc)->status, 200);
}

TEST_F(HttpsServerTest, ClosesWhenAsked) {
  Start();
  const auto client = Client("alice");
  client->Send(absl::StrCat("GET ", kEnc, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  EXPECT_EQ(client->Read()->status, 200);
  EXPECT_TRUE(client->Ended());
}

TEST_F(HttpsServerTest, RefusesBodiesAndHeadersBeyondTheLimits) {
  Start();
  const auto announced = Client("alice");
  announced->Send(
      absl::StrCat("POST ", kEnc, " HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n"));
  EXPECT_EQ(announced->Read()->status, 413);
  const auto chunked = Client("alice");
  chunked->Send(absl::StrCat("POST ", kEnc,
                             " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n",
                             std::string(0x200000, ' ')));
  EXPECT_EQ(chunked->Read()->status, 413);
  const auto header = Client("alice");
  header->Send(absl::StrCat("GET ", kEnc, " HTTP/1.1\r\nHost: a\r\nX: ", std::string(100'000, 'x'),
                            "\r\n\r\n"));
  const auto answer = header->Read();
  EXPECT_EQ(answer->status, 431);
  EXPECT_EQ(answer->headers.at("connection"), "close");
  EXPECT_EQ(port_.keys_drawn(), 0u);
  EXPECT_EQ(Ask("alice", "POST", kEnc, std::string((1 << 20) - 2, ' ') + "{}").status, 200);
}

TEST_F(HttpsServerTest, RefusesWhatIsNotHttp) {
  Start();
  for (const char* bytes :
       {"hello\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"}) {
    const auto client = Client("alice");
    client->Send(bytes);
    const auto answer = client->Read();
    ASSERT_TRUE(answer.has_value()) << bytes;
    EXPECT_EQ(answer->status, 400) << bytes;
    EXPECT_TRUE(client->Ended()) << bytes;
  }
}

TEST_F(HttpsServerTest, RefusesConnectionsBeyondTheLimitAndGoesOn) {
  HttpsConfig config;
  config.admission.connections_max = 2;
  Start(config);
  auto first = Client("alice");
  const auto second = Client("bob");
  ASSERT_EQ(first->Ask("GET", kEnc)->status, 200);
  ASSERT_EQ(second->Ask("GET", "/api/v1/keys/alice/enc_keys")->status, 200);
  const auto over = Client("carol");
  const auto told = over->Ask("GET", kEnc);
  ASSERT_TRUE(told.has_value());
  EXPECT_EQ(told->status, 503);
  EXPECT_EQ(told->headers.at("retry-after"), "1");
  EXPECT_THAT(told->body, HasSubstr("too many connections"));
  EXPECT_TRUE(over->Ended());
  first->Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(first->Read()->status, 404);
  EXPECT_TRUE(first->Ended());
  first.reset();
  while (Ask("carol", "GET", kEnc).status != 200) {
  }
  EXPECT_GE(server_->counts().refused_over_limit, 1u);
}

TEST_F(HttpsServerTest, ServesManyClientsOnSeveralThreads) {
  HttpsConfig config;
  config.threads = 3;
  Start(config);
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const auto client = Client("alice");
      for (int i = 0; i < 50; ++i) {
        const auto answer = client->Ask("GET", kEnc);
        if (answer.has_value() && answer->status == 200) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 400);
  EXPECT_EQ(port_.keys_drawn(), 400u);
  EXPECT_EQ(server_->counts().requests, 400u);
}

TEST_F(HttpsServerTest, StopAnswersWhatIsUnderWayAndClosesTheRest) {
  Start();
  HttpsClient silent(server_->port());
  const auto idle = Client("bob");
  const auto client = Client("alice");
  client->Send("GET /api/v1/keys/slow/enc_keys HTTP/1.1\r\nHost: kme\r\n\r\n");
  port_.AwaitSlow();
  std::thread stopping([&] { server_->Stop(); });
  EXPECT_TRUE(idle->Ended());
  EXPECT_TRUE(silent.Ended());
  port_.Release();
  const auto answer = client->Read();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->headers.at("connection"), "close");
  stopping.join();
  server_->Stop();  // Does nothing.
}

TEST_F(HttpsServerTest, SurvivesAClientThatLeavesBeforeItsAnswer) {
  Start();
  auto client = Client("alice");
  client->Send("GET /api/v1/keys/slow/enc_keys HTTP/1.1\r\nHost: kme\r\n\r\n");
  port_.AwaitSlow();
  client.reset();
  port_.Release();
  EXPECT_EQ(Ask("alice", "GET", kEnc).status, 200);
}

TEST_F(HttpsServerTest, SaysWhyItCannotStart) {
  Start();
  HttpsConfig config;
  config.tls = certs_.Node("saes");
  config.read_certificate = SaeName;
  config.listen = absl::StrCat("127.0.0.1:", server_->port());
  EXPECT_EQ(RestServer::Start(config, port_).status().code(), absl::StatusCode::kUnavailable);
  for (const char* listen : {"", "127.0.0.1", "localhost:1", "127.0.0.1:x", "127.0.0.1:65536"}) {
    config.listen = listen;
    EXPECT_THAT(std::string(RestServer::Start(config, port_).status().message()),
                HasSubstr("expected IP:PORT"))
        << listen;
  }
  config.listen = "127.0.0.1:0";
  config.tls.cert = certs_.Path("missing.crt");
  EXPECT_THAT(std::string(RestServer::Start(config, port_).status().message()),
              HasSubstr("missing.crt"));
}

TEST_F(HttpsServerTest, KeepsItsCertificateIfTheNewOneIsBad) {
  Start();
  EXPECT_TRUE(server_->ReloadTls().ok());
  EXPECT_EQ(Ask("alice", "GET", kEnc).status, 200);
}

}  // namespace
}  // namespace keyhop
