#include "kms/tls/grpc_listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/generic/async_generic_service.h"
#include "gtest/gtest.h"
#include "kms/tls/grpc_credentials.h"
#include "tests/kms/tls/test_certs.h"

namespace keyhop {
namespace {

// A TCP connection that says nothing.
class Silent {
 public:
  explicit Silent(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) Close();
  }
  Silent(Silent&& from) noexcept : fd_(std::exchange(from.fd_, -1)) {}
  Silent& operator=(Silent&&) = delete;
  ~Silent() { Close(); }

  // Whether the server ends it before `patience` is over.
  bool EndsWithin(std::chrono::milliseconds patience) const {
    pollfd wait = {fd_, POLLIN, 0};
    char byte = 0;
    return poll(&wait, 1, static_cast<int>(patience.count())) == 1 && read(fd_, &byte, 1) <= 0;
  }

 private:
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int fd_;
};

class GrpcListenerTest : public ::testing::Test {
 protected:
  GrpcListenerTest() {
    certs_.AddCa("node-ca");
    certs_.AddCa("sae-ca");
    certs_.Add(
        "n1",
        {.ca = "node-ca", .common_name = "n1", .alt_names = "URI:keyhop://node/n1,IP:127.0.0.1"});
    certs_.Add("alice",
               {.ca = "sae-ca", .common_name = "alice", .alt_names = "URI:keyhop://sae/alice"});
  }
  ~GrpcListenerTest() override {
    listener_->Stop();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  void Serve(const GrpcListenerLimits& limits) {
    auto listener = GrpcListener::Listen("127.0.0.1:0", limits);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    const auto tls = GrpcTls::Create(certs_.Files("n1", "sae-ca"));
    ASSERT_TRUE(tls.ok()) << tls.status();
    grpc::ServerBuilder builder;
    listener_->AddTo(builder, tls->Server(CertificateKind::kSae, {}));
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    listener_->Start();
  }

  // Whether a holder of a certificate gets through a handshake.
  bool AliceConnects() {
    const auto tls = GrpcTls::Create(certs_.Files("alice", "node-ca"));
    const auto channel =
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", listener_->port()), tls->ChannelToHost());
    return channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }

  TestCerts certs_;
  grpc::CallbackGenericService service_;
  std::unique_ptr<GrpcListener> listener_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(GrpcListenerTest, SilentClientsLockOutNoCertificateHolder) {
  GrpcListenerLimits limits;
  limits.unfinished_max = 16;
  limits.handshake_timeout = std::chrono::minutes(10);
  Serve(limits);
  std::vector<Silent> silent;
  for (int i = 0; i < 200; ++i) silent.emplace_back(listener_->port());
  EXPECT_TRUE(AliceConnects());
  // The oldest had to go, the newest may stay.
  EXPECT_TRUE(silent.front().EndsWithin(std::chrono::seconds(20)));
  EXPECT_FALSE(silent.back().EndsWithin(std::chrono::milliseconds(0)));
  EXPECT_GE(listener_->counts().dropped_unfinished, 180u);
}

TEST_F(GrpcListenerTest, AFinishedHandshakeIsNeverDropped) {
  GrpcListenerLimits limits;
  limits.unfinished_max = 4;
  limits.handshake_timeout = std::chrono::minutes(10);
  Serve(limits);
  const auto tls = GrpcTls::Create(certs_.Files("alice", "node-ca"));
  const auto channel =
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", listener_->port()), tls->ChannelToHost());
  ASSERT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)));
  std::vector<Silent> silent;
  for (int i = 0; i < 50; ++i) silent.emplace_back(listener_->port());
  EXPECT_TRUE(silent.front().EndsWithin(std::chrono::seconds(20)));
  EXPECT_EQ(channel->GetState(false), GRPC_CHANNEL_READY);
}

TEST_F(GrpcListenerTest, ASilentHandshakeEndsInItsTime) {
  GrpcListenerLimits limits;
  limits.handshake_timeout = std::chrono::milliseconds(200);
  Serve(limits);
  const Silent silent(listener_->port());
  EXPECT_TRUE(silent.EndsWithin(std::chrono::seconds(20)));
}

TEST_F(GrpcListenerTest, ConnectionsAboveTheDescriptorLimitAreClosedAndOthersServedAgainLater) {
  const int lowest_free = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(lowest_free);
  GrpcListenerLimits limits;
  limits.descriptors_max = lowest_free + 120;
  limits.handshake_timeout = std::chrono::minutes(10);
  Serve(limits);
  {
    std::vector<Silent> silent;
    for (int i = 0; i < 150; ++i) silent.emplace_back(listener_->port());
    EXPECT_TRUE(silent.back().EndsWithin(std::chrono::seconds(20)));
    EXPECT_GT(listener_->counts().refused_over_limit, 0u);
  }
  EXPECT_TRUE(AliceConnects());
}

TEST_F(GrpcListenerTest, AProcessOutOfDescriptorsAcceptsAgainOnceThereAreSome) {
  Serve({});
  ASSERT_TRUE(AliceConnects());
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const Silent waits(listener_->port());  // Whose descriptor is there already.
  {
    // None is left, so the next accept fails.
    std::vector<int> all;
    for (int fd = 0; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) all.push_back(fd);
    ASSERT_EQ(errno, EMFILE);
    close(all.back());
    all.pop_back();
    const Silent refused(listener_->port());
    EXPECT_FALSE(refused.EndsWithin(std::chrono::milliseconds(300)));
    for (const int fd : all) close(fd);
  }
  EXPECT_TRUE(AliceConnects());
}

TEST_F(GrpcListenerTest, TwoListenersDoNotShareAPort) {
  Serve({});
  const auto second = GrpcListener::Listen(absl::StrCat("127.0.0.1:", listener_->port()), {});
  ASSERT_FALSE(second.ok());
  EXPECT_NE(std::string(second.status().message()).find("cannot listen at 127.0.0.1:"),
            std::string::npos);
}

}  // namespace
}  // namespace keyhop
