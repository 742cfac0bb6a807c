#include "kms/tls/grpc_credentials.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "kms/base/mutex.h"
#include "tests/kms/tls/test_certs.h"

namespace keyhop {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Answers every call with what PeerSae, PeerNode or PeerModule says of the caller.
class WhoAmI final : public grpc::CallbackGenericService {
 public:
  explicit WhoAmI(CertificateKind kind, std::vector<ClientTrust> clients = {})
      : kind_(kind), peers_(IdentityRules{}, std::move(clients)) {}

 private:
  class Reactor final : public grpc::ServerGenericBidiReactor {
   public:
    Reactor(const std::string& id, const absl::Status& status) {
      if (!status.ok()) {
        Finish({static_cast<grpc::StatusCode>(status.code()), std::string(status.message())});
        return;
      }
      const grpc::Slice slice(id);
      answer_ = grpc::ByteBuffer(&slice, 1);
      StartWriteAndFinish(&answer_, {}, grpc::Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    grpc::ByteBuffer answer_;
  };

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* ctx) override {
    const auto id = IdOf(*ctx->auth_context());
    return new Reactor(id.value_or(""), id.status());
  }

  absl::StatusOr<std::string> IdOf(const grpc::AuthContext& context) {
    if (kind_ == CertificateKind::kSae) {
      const auto id = peers_.PeerSae(context);
      return id.ok() ? absl::StatusOr<std::string>(id->value) : id.status();
    }
    if (kind_ == CertificateKind::kNode) {
      const auto id = peers_.PeerNode(context);
      return id.ok() ? absl::StatusOr<std::string>(id->value) : id.status();
    }
    if (kind_ == CertificateKind::kOperator) {
      const auto id = peers_.PeerOperator(context);
      return id.ok() ? absl::StatusOr<std::string>(id->value) : id.status();
    }
    const auto id = peers_.PeerModule(context);
    return id.ok() ? absl::StatusOr<std::string>(id->value) : id.status();
  }

  const CertificateKind kind_;
  GrpcPeers peers_;
};

class GrpcCredentialsTest : public ::testing::Test {
 protected:
  GrpcCredentialsTest() {
    for (const char* ca : {"node-ca", "sae-ca", "operator-ca", "foreign-ca"}) certs_.AddCa(ca);
    const std::string local = ",DNS:localhost,IP:127.0.0.1";
    certs_.Add("n1",
               {.ca = "node-ca", .common_name = "n1", .alt_names = "URI:keyhop://node/n1" + local});
    certs_.Add("n2",
               {.ca = "node-ca", .common_name = "n2", .alt_names = "URI:keyhop://node/n2" + local});
    certs_.Add(
        "module",
        {.ca = "node-ca", .common_name = "link-12", .alt_names = "URI:keyhop://module/link-12"});
    certs_.Add("alice",
               {.ca = "sae-ca", .common_name = "alice", .alt_names = "URI:keyhop://sae/alice"});
  }
  ~GrpcCredentialsTest() override {
    if (server_ != nullptr) server_->Shutdown();
  }

  GrpcTls Tls(const std::string& name, const std::string& peer_ca) {
    auto tls = GrpcTls::Create(certs_.Files(name, peer_ca));
    EXPECT_TRUE(tls.ok()) << tls.status();
    return *std::move(tls);
  }

  // Node n1 listens for clients of that kind.
  void Serve(CertificateKind kind, const std::string& client_ca) {
    service_ = std::make_unique<WhoAmI>(kind);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0",
                             Tls("n1", client_ca)
                                 .Server(kind, {},
                                         [this](const std::string& why) {
                                           MutexLock lock(mu_);
                                           refused_.push_back(why);
                                         }),
                             &port_);
    builder.RegisterCallbackGenericService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }

  // Node n1 listens for SAEs and operators at one address; calls are for those of `kind`.
  void ServeBoth(CertificateKind kind) {
    const std::vector<ClientTrust> clients = {{CertificateKind::kSae, Trust("sae-ca")},
                                              {CertificateKind::kOperator, Trust("operator-ca")}};
    service_ = std::make_unique<WhoAmI>(kind, clients);
    grpc::ServerBuilder builder;
    const auto told = [this](const std::string& text) {
      MutexLock lock(refusals_mu_);
      refusals_ += text + "\n";
    };
    builder.AddListeningPort("127.0.0.1:0", Tls("n1", "sae-ca").Server(clients, {}, told), &port_);
    builder.RegisterCallbackGenericService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }

  std::shared_ptr<TrustFile> Trust(const std::string& ca) {
    auto trust = TrustFile::Open(certs_.Path(ca + ".crt"));
    EXPECT_TRUE(trust.ok()) << trust.status();
    return *std::move(trust);
  }

  grpc::Status CallAs(const std::string& name) {
    return Call(Tls(name, "node-ca").ChannelToHost(), &answer_);
  }

  // What the server says to a call, and in `*answer` who it says we are.
  grpc::Status Call(const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                    std::string* answer) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    grpc::GenericStub stub(
        grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_), credentials, arguments));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    grpc::CompletionQueue queue;
    grpc::ByteBuffer request;
    const auto call = stub.PrepareUnaryCall(&context, "/keyhop.test/WhoAmI", request, &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    grpc::Slice slice;
    if (status.ok() && response.TrySingleSlice(&slice).ok()) {
      answer->assign(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    return status;
  }

  TestCerts certs_;
  std::unique_ptr<WhoAmI> service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::string answer_;
  Mutex refusals_mu_;
  std::string refusals_ ABSL_GUARDED_BY(refusals_mu_);
  Mutex mu_;
  std::vector<std::string> refused_ ABSL_GUARDED_BY(mu_);
};

TEST_F(GrpcCredentialsTest, KnowsTheSae) {
  Serve(CertificateKind::kSae, "sae-ca");
  const grpc::Status status = Call(Tls("alice", "node-ca").ChannelToHost(), &answer_);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answer_, "alice");
}

TEST_F(GrpcCredentialsTest, TellsWhichFieldOfACertificateNamesNobody) {
  Serve(CertificateKind::kNode, "node-ca");
  EXPECT_FALSE(Call(Tls("module", "node-ca").ChannelToHost(), &answer_).ok());
  MutexLock lock(mu_);
  ASSERT_FALSE(refused_.empty());
  EXPECT_THAT(refused_[0], AllOf(HasSubstr("subject \"CN=link-12\", issued by \"CN=node-ca\""),
                                 HasSubstr("expected a certificate of kind node"),
                                 HasSubstr("found URI SANs \"keyhop://module/link-12\"")));
}

TEST_F(GrpcCredentialsTest, KnowsTheNode) {
  Serve(CertificateKind::kNode, "node-ca");
  const auto tls = Tls("n2", "node-ca");
  for (int i = 0; i < 2; ++i) {
    const grpc::Status status = Call(tls.ChannelToNode(NodeId("n1"), {}), &answer_);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(answer_, "n2");
  }
}

TEST_F(GrpcCredentialsTest, KnowsTheModule) {
  Serve(CertificateKind::kModule, "node-ca");
  const grpc::Status status =
      Call(Tls("module", "node-ca").ChannelToNode(NodeId("n1"), {}), &answer_);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answer_, "link-12");
}

TEST_F(GrpcCredentialsTest, RefusesAServerThatIsAnotherNode) {
  Serve(CertificateKind::kNode, "node-ca");
  const grpc::Status status = Call(Tls("n2", "node-ca").ChannelToNode(NodeId("n3"), {}), &answer_);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcCredentialsTest, RefusesAServerOfAForeignCa) {
  Serve(CertificateKind::kNode, "node-ca");
  const grpc::Status status =
      Call(Tls("n2", "foreign-ca").ChannelToNode(NodeId("n1"), {}), &answer_);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcCredentialsTest, RefusesAnSaeOnKx) {
  Serve(CertificateKind::kNode, "node-ca");
  EXPECT_FALSE(Call(Tls("alice", "node-ca").ChannelToNode(NodeId("n1"), {}), &answer_).ok());
}

TEST_F(GrpcCredentialsTest, RefusesAModuleOnKxAndANodeOnKq1) {
  Serve(CertificateKind::kNode, "node-ca");
  EXPECT_FALSE(Call(Tls("module", "node-ca").ChannelToNode(NodeId("n1"), {}), &answer_).ok());
  server_->Shutdown();
  Serve(CertificateKind::kModule, "node-ca");
  EXPECT_FALSE(Call(Tls("n2", "node-ca").ChannelToNode(NodeId("n1"), {}), &answer_).ok());
}

TEST_F(GrpcCredentialsTest, RefusesANodeAsAnSae) {
  Serve(CertificateKind::kSae, "sae-ca");
  EXPECT_FALSE(Call(Tls("n2", "node-ca").ChannelToHost(), &answer_).ok());
}

TEST_F(GrpcCredentialsTest, KnowsSaesAndOperatorsAtOneAddress) {
  certs_.Add("root", {.ca = "operator-ca", .alt_names = "URI:keyhop://operator/root"});
  ServeBoth(CertificateKind::kOperator);
  ASSERT_TRUE(CallAs("root").ok());
  EXPECT_EQ(answer_, "root");
  EXPECT_EQ(CallAs("alice").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  server_->Shutdown();
  ServeBoth(CertificateKind::kSae);
  ASSERT_TRUE(CallAs("alice").ok());
  EXPECT_EQ(answer_, "alice");
  EXPECT_EQ(CallAs("root").error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(GrpcCredentialsTest, WhatOneTrustStoreVouchesForIsNobodyOfTheOther) {
  certs_.Add("posing", {.ca = "sae-ca", .alt_names = "URI:keyhop://operator/root"});
  certs_.Add("both",
             {.ca = "sae-ca", .alt_names = "URI:keyhop://sae/both,URI:keyhop://operator/root"});
  certs_.Add("reverse", {.ca = "operator-ca",
                         .alt_names = "URI:keyhop://operator/root,URI:keyhop://sae/alice"});
  ServeBoth(CertificateKind::kOperator);
  EXPECT_EQ(CallAs("posing").error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(CallAs("both").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  server_->Shutdown();
  ServeBoth(CertificateKind::kSae);
  EXPECT_TRUE(CallAs("both").ok());
  EXPECT_EQ(CallAs("reverse").error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(GrpcCredentialsTest, SaysWhyAClientWasRefusedInTheHandshake) {
  certs_.Add("stranger", {.ca = "foreign-ca", .alt_names = "URI:keyhop://sae/stranger"});
  ServeBoth(CertificateKind::kSae);
  EXPECT_EQ(CallAs("stranger").error_code(), grpc::StatusCode::UNAVAILABLE);
  MutexLock lock(refusals_mu_);
  EXPECT_THAT(refusals_, HasSubstr("unable to get local issuer certificate"));
  EXPECT_THAT(refusals_, HasSubstr("sae-ca.crt vouches for"));
}

TEST_F(GrpcCredentialsTest, ATrustStoreIsReadAgainWhenItChanges) {
  certs_.Add("stranger", {.ca = "foreign-ca", .alt_names = "URI:keyhop://sae/stranger"});
  ServeBoth(CertificateKind::kSae);
  EXPECT_FALSE(CallAs("stranger").ok());
  std::filesystem::rename(certs_.Path("foreign-ca.crt"), certs_.Path("sae-ca.crt"));
  EXPECT_TRUE(CallAs("stranger").ok());
  EXPECT_FALSE(CallAs("alice").ok());
}

TEST_F(GrpcCredentialsTest, RefusesToStartWithFilesThatDoNotFit) {
  PemFiles files = certs_.Files("n1", "node-ca");
  files.key = certs_.Path("n2.key");
  EXPECT_THAT(std::string(GrpcTls::Create(files).status().message()),
              HasSubstr("n2.key: expected the private key of"));
}

}  // namespace
}  // namespace keyhop
