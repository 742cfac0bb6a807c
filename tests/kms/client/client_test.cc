#include "kms/client/client.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/ak/grpc_service.h"
#include "kms/core/uuid.h"
#include "kms/tls/grpc_credentials.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/fake_delivery_port.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// How the scripted node ends a call.
enum class End {
  kAnswer,
  kNotNow,     // The node's own word, with a hint.
  kQuota,      // The same, of a quota.
  kRefuse,     // The node's own word.
  kBreak,      // As a broken connection looks: UNAVAILABLE, and nothing of the node.
  kBreakLate,  // As a deadline that ran out.
};

// A node that counts what it drew and ends calls as it is told; kAnswer when nothing is left.
class ScriptedNode final : public pb::KeyDelivery::Service {
 public:
  explicit ScriptedNode(std::deque<End> script) : script_(std::move(script)) {}

  grpc::Status GetStatus(grpc::ServerContext* context, const pb::GetStatusRequest*,
                         pb::Status* answer) override {
    answer->set_key_size(256);
    return Finish(context);
  }
  grpc::Status GetKey(grpc::ServerContext* context, const pb::KeyRequest*,
                      pb::KeyContainer* answer) override {
    return Give(context, answer);
  }
  grpc::Status GetKeyWithKeyIds(grpc::ServerContext* context, const pb::KeyIdsRequest*,
                                pb::KeyContainer* answer) override {
    return Give(context, answer);
  }

  int calls() const { return calls_; }
  int drawn() const { return drawn_; }
  const std::vector<std::string>& idempotency_keys() const { return keys_; }

 private:
  grpc::Status Give(grpc::ServerContext* context, pb::KeyContainer* answer) {
    const auto key = context->client_metadata().find("idempotency-key");
    if (key != context->client_metadata().end()) {
      keys_.emplace_back(key->second.data(), key->second.size());
    }
    const End end = script_.empty() ? End::kAnswer : script_.front();
    if (end == End::kAnswer || end == End::kBreak || end == End::kBreakLate) {
      ++drawn_;  // Done, whether or not the answer arrives.
      pb::Key& made = *answer->add_keys();
      made.set_key_id("0f52ae4e-3c1c-4d4b-9a53-6a3b8a3e54d1");
      made.set_key(std::string(32, 'k'));
    }
    return Finish(context);
  }
  grpc::Status Finish(grpc::ServerContext* context) {
    ++calls_;
    End end = End::kAnswer;
    if (!script_.empty()) {
      end = script_.front();
      script_.pop_front();
    }
    switch (end) {
      case End::kAnswer:
        return grpc::Status::OK;
      case End::kNotNow:
        return Say(context, "unavailable", {grpc::StatusCode::UNAVAILABLE, "not enough key now"});
      case End::kQuota:
        return Say(context, "exhausted", {grpc::StatusCode::RESOURCE_EXHAUSTED, "quota"});
      case End::kRefuse:
        context->AddTrailingMetadata("keyhop-refusal", "bad-request");
        return {grpc::StatusCode::INVALID_ARGUMENT, "never"};
      case End::kBreak:
        return {grpc::StatusCode::UNAVAILABLE, "Socket closed"};
      case End::kBreakLate:
        break;
    }
    return {grpc::StatusCode::DEADLINE_EXCEEDED, "too late"};
  }
  static grpc::Status Say(grpc::ServerContext* context, const char* kind, grpc::Status status) {
    context->AddTrailingMetadata("keyhop-refusal", kind);
    context->AddTrailingMetadata("retry-after-ms", "20");
    return status;
  }

  std::deque<End> script_;
  int calls_ = 0;
  int drawn_ = 0;
  std::vector<std::string> keys_;
};

class ClientTest : public ::testing::Test {
 protected:
  ~ClientTest() override {
    if (server_ != nullptr) server_->Shutdown();
  }

  void Serve(grpc::Service* service) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        absl::StrCat("127.0.0.1:", port_),
        GrpcTls::Create(certs_.Node("saes"))->Server(CertificateKind::kSae, IdentityRules()),
        &port_);
    builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  ScriptedNode& Serve(std::deque<End> script) {
    node_ = std::make_unique<ScriptedNode>(std::move(script));
    Serve(node_.get());
    return *node_;
  }
  std::unique_ptr<Client> Connect(const std::string& sae = "alice",
                                  Duration timeout = Duration::Seconds(20)) {
    auto client = Client::Connect({.node = absl::StrCat("127.0.0.1:", port_),
                                   .tls = certs_.Client(sae),
                                   .timeout = timeout,
                                   .retry = {.wait_min = Duration::Millis(1)}});
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  AkCerts certs_;
  int port_ = 0;
  std::unique_ptr<ScriptedNode> node_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(ClientTest, FetchesWhatAnotherDrew) {
  FakeDeliveryPort port;
  GrpcPeers peers{IdentityRules()};
  const auto service = MakeDeliveryGrpcService(port, [&](const grpc::ServerContextBase& context) {
    return peers.PeerSae(*context.auth_context());
  });
  Serve(service.get());
  const auto drawn = Connect()->Draw(SaeId("bob"), {.number = 2, .size_bits = 128});
  ASSERT_TRUE(drawn.ok()) << drawn.status();
  ASSERT_THAT(drawn->keys, SizeIs(2));
  EXPECT_EQ(drawn->keys[0].key.size(), 16u);
  const auto fetched = Connect("bob")->Fetch(
      SaeId("alice"), {FormatUuid(drawn->keys[0].id), FormatUuid(drawn->keys[1].id)});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(fetched->keys[i].key.EqualsConstantTime(drawn->keys[i].key));
  }
  const auto again = Connect("bob")->Fetch(SaeId("alice"), {FormatUuid(drawn->keys[0].id)});
  EXPECT_EQ(again.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(KindOf(again.status()), FailureKind::kRefused);
  EXPECT_EQ(Connect()->Status(SaeId("bob"))->stored_key_count, 200u);
  server_->Shutdown();
  server_.reset();
}

TEST_F(ClientTest, DrawsAgainWhenTheNodeSaidNotNow) {
  ScriptedNode& node = Serve({End::kNotNow, End::kQuota});
  EXPECT_TRUE(Connect()->Draw(SaeId("bob")).ok());
  EXPECT_EQ(node.calls(), 3);
  EXPECT_EQ(node.drawn(), 1);
}

TEST_F(ClientTest, NeverDrawsTwiceWhenTheAnswerWasLost) {
  for (const End end : {End::kBreak, End::kBreakLate}) {
    ScriptedNode& node = Serve({end});
    const auto drawn = Connect()->Draw(SaeId("bob"));
    EXPECT_EQ(KindOf(drawn.status()), FailureKind::kLost);
    EXPECT_EQ(node.drawn(), 1);
    server_->Shutdown();
    port_ = 0;
  }
}

TEST_F(ClientTest, AsksAgainUnderTheSameIdempotencyKey) {
  ScriptedNode& node = Serve({End::kBreak, End::kNotNow});
  DrawOptions options;
  options.idempotency_key = "first";
  EXPECT_TRUE(Connect()->Draw(SaeId("bob"), options).ok());
  EXPECT_THAT(node.idempotency_keys(), ElementsAre("first", "first", "first"));
}

TEST_F(ClientTest, FetchesOnceWithoutAKeyAndAgainWithOne) {
  ScriptedNode& node = Serve({End::kBreak, End::kBreak});
  const std::vector<std::string> ids = {"0f52ae4e-3c1c-4d4b-9a53-6a3b8a3e54d1"};
  EXPECT_EQ(KindOf(Connect()->Fetch(SaeId("bob"), ids).status()), FailureKind::kLost);
  EXPECT_EQ(node.calls(), 1);
  EXPECT_TRUE(Connect()->Fetch(SaeId("bob"), ids, {.idempotency_key = "k"}).ok());
  EXPECT_EQ(node.calls(), 3);
}

TEST_F(ClientTest, ReadsTheStatusAgainWhateverHappened) {
  ScriptedNode& node = Serve({End::kBreak, End::kNotNow});
  EXPECT_EQ(Connect()->Status(SaeId("bob"))->key_size_bits, 256u);
  EXPECT_EQ(node.calls(), 3);
}

TEST_F(ClientTest, DoesNotRepeatARefusal) {
  ScriptedNode& node = Serve({End::kRefuse});
  const auto refused = Connect()->Draw(SaeId("bob"));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(KindOf(refused.status()), FailureKind::kRefused);
  EXPECT_EQ(node.calls(), 1);
}

TEST_F(ClientTest, GivesUpAfterSoManyAttemptsAndTellsTheHint) {
  ScriptedNode& node = Serve(std::deque<End>(10, End::kNotNow));
  const auto refused = Connect()->Draw(SaeId("bob"));
  EXPECT_EQ(KindOf(refused.status()), FailureKind::kUnavailable);
  EXPECT_EQ(RetryAfter(refused.status()), Duration::Millis(20));
  EXPECT_EQ(node.calls(), 4);
}

TEST_F(ClientTest, ComesBackToANodeThatStartsLater) {
  Serve({});
  server_->Shutdown();
  server_.reset();
  const std::unique_ptr<Client> client = Connect();
  const auto nobody = client->Draw(SaeId("bob"));
  EXPECT_EQ(KindOf(nobody.status()), FailureKind::kNoConnection);
  EXPECT_NE(nobody.status().message(), "");
  ScriptedNode& node = Serve({});
  EXPECT_TRUE(client->Draw(SaeId("bob")).ok());
  EXPECT_EQ(node.drawn(), 1);
}

TEST_F(ClientTest, ABrokenConnectionLosesTheAnswerAndDrawsNoMore) {
  FakeDeliveryPort port;
  GrpcPeers peers{IdentityRules()};
  const auto service = MakeDeliveryGrpcService(port, [&](const grpc::ServerContextBase& context) {
    return peers.PeerSae(*context.auth_context());
  });
  Serve(service.get());
  absl::Status failure;
  const std::unique_ptr<Client> client = Connect();
  std::thread caller([&] { failure = client->Draw(SaeId("slow")).status(); });
  port.AwaitSlow();
  // Ends the connections at once; what the handler answers later finds nobody.
  std::thread ender([&] { server_->Shutdown(std::chrono::system_clock::now()); });
  caller.join();
  port.Release();
  ender.join();
  server_.reset();
  EXPECT_EQ(KindOf(failure), FailureKind::kLost) << failure;
  EXPECT_EQ(port.keys_drawn(), 1u);
}

TEST_F(ClientTest, SaysWhichFileCannotBeUsed) {
  auto client = Client::Connect(
      {.node = "127.0.0.1:1", .tls = {"/nonexistent.crt", certs_.Path("alice.key"), ""}});
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("/nonexistent.crt"));
}

TEST(IdempotencyKeyTest, IsAUuidThatNeverComesAgain) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string key = NewIdempotencyKey();
    EXPECT_TRUE(ParseUuid(key).has_value()) << key;
    EXPECT_TRUE(seen.insert(key).second);
  }
}

}  // namespace
}  // namespace keyhop
