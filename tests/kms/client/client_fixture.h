#ifndef KEYHOP_TESTS_KMS_CLIENT_CLIENT_FIXTURE_H_
#define KEYHOP_TESTS_KMS_CLIENT_CLIENT_FIXTURE_H_

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/ak/grpc_service.h"
#include "kms/client/client.h"
#include "kms/tls/grpc_credentials.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/fake_delivery_port.h"
#include "tests/kms/client/scripted_node.h"

namespace keyhop {

// A node behind mutual TLS, scripted or real but for its stock, and clients of it.
class ClientFixture : public ::testing::Test {
 protected:
  ~ClientFixture() override { Stop(); }

  ScriptedNode& ServeScript(std::deque<End> script) {
    node_ = std::make_unique<ScriptedNode>(std::move(script));
    Serve(*node_);
    return *node_;
  }
  void ServeReal() {
    service_ = MakeDeliveryGrpcService(port_, [this](const grpc::ServerContextBase& context) {
      return peers_.PeerSae(*context.auth_context());
    });
    Serve(*service_);
  }
  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }

  std::unique_ptr<Client> Connect(const std::string& sae = "alice",
                                  Duration timeout = Duration::Seconds(60)) {
    auto client = Client::Create({.node = absl::StrCat("127.0.0.1:", listening_),
                                  .tls = certs_.Client(sae),
                                  .timeout = timeout,
                                  .retry = {.wait_min = Duration::Millis(1)}});
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  FakeDeliveryPort port_;

 private:
  // At the port of the last one, so that clients find a node that starts again.
  void Serve(grpc::Service& service) {
    Stop();
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        absl::StrCat("127.0.0.1:", listening_),
        GrpcTls::Create(certs_.Node("saes"))->Server(CertificateKind::kSae, IdentityRules()),
        &listening_);
    builder.RegisterService(&service);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }

  AkCerts certs_;
  GrpcPeers peers_{IdentityRules()};
  int listening_ = 0;
  std::unique_ptr<ScriptedNode> node_;
  std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_CLIENT_CLIENT_FIXTURE_H_
