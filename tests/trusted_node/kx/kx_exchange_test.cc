#include "trusted_node/kx/kx_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/generic/generic_stub.h"
#include "keyhop/kx/v1/kx.grpc.pb.h"
#include "kms/base/mutex.h"
#include "tests/trusted_node/grpc_keeper.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const auto* const kKeeper = ::testing::AddGlobalTestEnvironment(new GrpcKeeper);

// Remembers what Kx tells; `hold` leaves messages unprocessed.
class FakeNode final : public NodePort {
 public:
  void PeerUp(NodeId peer) override { Add(absl::StrCat("up ", peer.value)); }
  void PeerDown(NodeId peer) override { Add(absl::StrCat("down ", peer.value)); }
  void PeerSaid(NodeId peer, KxMessage message, std::function<void()> processed) override {
    const auto* state = std::get_if<LinkState>(&message);
    Add(absl::StrCat(peer.value, " said ", state != nullptr ? state->sequence : 0));
    MutexLock lock(mu_);
    open_.push_back(std::move(processed));
  }
  void BlockArrived(LinkId, BookId, uint64_t, SecretBytes,
                    std::function<void(absl::Status)>) override {}
  void ModuleChanged(ModuleStatusChanged, std::function<void()>) override {}
  void AskTakenTops(LinkId, std::function<void(std::map<BookId, uint64_t>)>) override {}
  void AskSnapshot(std::function<void(NodeSnapshot)>) override {}

  // As a core does, after the fact and on another thread than the caller's.
  void ProcessAll() {
    std::vector<std::function<void()>> open;
    {
      MutexLock lock(mu_);
      open.swap(open_);
    }
    for (auto& processed : open) processed();
  }
  std::vector<std::string> WaitFor(size_t count) {
    MutexLock lock(mu_);
    while (events_.size() < count) changed_.Wait(mu_);
    return events_;
  }
  std::vector<std::string> WaitForLast(const std::string& event) {
    MutexLock lock(mu_);
    while (events_.empty() || events_.back() != event) changed_.Wait(mu_);
    return events_;
  }
  std::vector<std::string> events() {
    MutexLock lock(mu_);
    return events_;
  }

 private:
  void Add(std::string event) {
    MutexLock lock(mu_);
    events_.push_back(std::move(event));
    changed_.SignalAll();
  }
  Mutex mu_;
  CondVar changed_;
  std::vector<std::string> events_ ABSL_GUARDED_BY(mu_);
  std::vector<std::function<void()>> open_ ABSL_GUARDED_BY(mu_);
};

// A node that serves; `caller` is who every certificate is said to name.
struct ServingNode {
  ServingNode(std::string self, std::vector<std::string> neighbours,
              absl::StatusOr<NodeId> caller) {
    KxOptions options;
    options.self = NodeId(std::move(self));
    for (std::string& id : neighbours) options.neighbours.push_back({NodeId(std::move(id)), "-"});
    options.credentials = [](const NodeId&) { return grpc::InsecureChannelCredentials(); };
    options.identify = [caller](const grpc::AuthContext&) { return caller; };
    options.limits.unprocessed_max = 4;
    kx = std::make_unique<KxExchange>(std::move(options));
    Listen(0);
    kx->Start(node);
  }
  ~ServingNode() {
    kx->Stop();
    server->Shutdown();
  }
  void Listen(int at) {
    grpc::ServerBuilder builder;
    KxExchange::Configure(builder);
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", at), grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(kx->service());
    server = builder.BuildAndStart();
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port); }

  FakeNode node;
  std::unique_ptr<KxExchange> kx;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

// A node that dials one other.
struct DiallingNode {
  DiallingNode(std::string self, std::string peer, std::string address) {
    KxOptions options;
    options.self = NodeId(std::move(self));
    options.neighbours.push_back({NodeId(std::move(peer)), std::move(address)});
    options.redial_min = Duration::Millis(5);
    options.redial_max = Duration::Millis(50);
    options.credentials = [](const NodeId&) { return grpc::InsecureChannelCredentials(); };
    options.identify = [](const grpc::AuthContext&) { return absl::UnauthenticatedError("no"); };
    options.log = [this](absl::string_view line) {
      MutexLock lock(mu);
      lines.emplace_back(line);
      changed.SignalAll();
    };
    kx = std::make_unique<KxExchange>(std::move(options));
    kx->Start(node);
  }
  ~DiallingNode() { kx->Stop(); }
  std::string WaitForLine() {
    MutexLock lock(mu);
    while (lines.empty()) changed.Wait(mu);
    return lines.front();
  }

  FakeNode node;
  Mutex mu;
  CondVar changed;
  std::vector<std::string> lines ABSL_GUARDED_BY(mu);
  std::unique_ptr<KxExchange> kx;
};

KxMessage Numbered(uint64_t number) { return LinkState{NodeId("x"), number}; }

TEST(KxExchangeTest, CarriesMessagesBothWaysInOrder) {
  ServingNode b("b", {"a"}, NodeId("a"));
  DiallingNode a("a", "b", b.address());
  a.node.WaitFor(1);
  b.node.WaitFor(1);
  for (uint64_t i = 1; i <= 3; ++i) {
    a.kx->Send(NodeId("b"), Numbered(i));
    b.kx->Send(NodeId("a"), Numbered(10 + i));
  }
  EXPECT_THAT(b.node.WaitFor(4), ElementsAre("up a", "a said 1", "a said 2", "a said 3"));
  EXPECT_THAT(a.node.WaitFor(4), ElementsAre("up b", "b said 11", "b said 12", "b said 13"));
  EXPECT_TRUE(a.kx->Status()[NodeId("b")].connected);
  EXPECT_EQ(a.kx->Status()[NodeId("b")].sent_messages, 3u);
  EXPECT_EQ(b.kx->Status()[NodeId("a")].received_messages, 3u);
}

TEST(KxExchangeTest, ReadsNoMoreThanTheCoreTakes) {
  ServingNode b("b", {"a"}, NodeId("a"));
  DiallingNode a("a", "b", b.address());
  a.node.WaitFor(1);
  for (uint64_t i = 1; i <= 6; ++i) a.kx->Send(NodeId("b"), Numbered(i));
  EXPECT_EQ(b.node.WaitFor(5).size(), 5u);  // "up" and four unprocessed messages.
  b.node.ProcessAll();
  EXPECT_EQ(b.node.WaitFor(7).back(), "a said 6");
}

TEST(KxExchangeTest, DialsAgainUntilTheNeighbourIsBack) {
  ServingNode b("b", {"a"}, NodeId("a"));
  DiallingNode a("a", "b", b.address());
  a.node.WaitFor(1);
  b.kx->Stop();
  EXPECT_THAT(a.node.WaitForLast("down b"), ElementsAre("up b", "down b"));
  b.kx->Start(b.node);
  a.node.WaitForLast("up b");
  b.node.WaitForLast("up a");
}

TEST(KxExchangeTest, ANewerStreamTakesTheOlderOnesPlace) {
  ServingNode b("b", {"a"}, NodeId("a"));
  DiallingNode first("a", "b", b.address());
  first.node.WaitFor(1);
  b.node.WaitFor(1);
  {
    DiallingNode second("a", "b", b.address());
    second.node.WaitFor(1);
    EXPECT_THAT(b.node.WaitFor(3), ::testing::Contains("down a"));
    first.node.WaitFor(2);  // "up", "down".
  }
}

TEST(KxExchangeTest, RefusesWhoIsNoNeighbour) {
  ServingNode b("b", {"a"}, NodeId("stranger"));
  DiallingNode a("a", "b", b.address());
  EXPECT_THAT(a.WaitForLine(), HasSubstr("node stranger is no neighbour here (code 7)"));
  EXPECT_THAT(b.node.events(), ElementsAre());
}

TEST(KxExchangeTest, RefusesACertificateThatNamesNoNode) {
  ServingNode b("b", {"a"}, absl::UnauthenticatedError("an SAE's certificate"));
  DiallingNode a("a", "b", b.address());
  EXPECT_THAT(a.WaitForLine(), HasSubstr("an SAE's certificate (code 16)"));
  EXPECT_THAT(b.node.events(), ElementsAre());
}

TEST(KxExchangeTest, TheEndWithTheHigherIdDoesNotDial) {
  ServingNode b("b", {"c"}, NodeId("c"));
  DiallingNode c("a", "b", b.address());  // Shows the certificate of c.
  EXPECT_THAT(c.WaitForLine(), HasSubstr("the end with the lower node ID dials"));
}

TEST(KxExchangeTest, GarbageEndsItsStreamAndDoesNothingElse) {
  ServingNode b("b", {"a"}, NodeId("a"));
  const auto channel = grpc::CreateChannel(b.address(), grpc::InsecureChannelCredentials());
  // For the server a message that is cut off looks as a half that ends.
  const std::string half_ends = "the half ends";
  const std::vector<std::string> bad = {"\xff\xff\xff garbage", std::string(3000, '\x12'), "",
                                        half_ends};
  uint64_t refused = 0;
  for (const std::string& bytes : bad) {
    grpc::ClientContext context;
    const auto stub = kx::v1::Kx::NewStub(channel);
    class Raw : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
     public:
      void OnDone(const grpc::Status& s) override {
        MutexLock lock(mu);
        status = s;
        done = true;
        changed.SignalAll();
      }
      grpc::Status Wait() {
        MutexLock lock(mu);
        while (!done) changed.Wait(mu);
        return status;
      }
      Mutex mu;
      CondVar changed;
      bool done ABSL_GUARDED_BY(mu) = false;
      grpc::Status status ABSL_GUARDED_BY(mu);
    } raw;
    grpc::GenericStub generic(channel);
    generic.PrepareBidiStreamingCall(&context, "/keyhop.kx.v1.Kx/Exchange", grpc::StubOptions(),
                                     &raw);
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer buffer(&slice, 1);
    if (bytes == half_ends) {
      raw.StartWritesDone();
    } else {
      raw.StartWrite(&buffer);
      ++refused;
    }
    raw.StartCall();
    EXPECT_EQ(raw.Wait().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  for (const std::string& event : b.node.events()) {
    EXPECT_TRUE(event == "up a" || event == "down a") << event;
  }
  EXPECT_EQ(b.kx->Status()[NodeId("a")].refused_messages, refused);
  DiallingNode a("a", "b", b.address());  // The next good stream is served.
  a.node.WaitFor(1);
}

TEST(KxExchangeTest, WhatANeighbourDoesNotReadIsDroppedAndCounted) {
  ServingNode b("b", {"a"}, NodeId("a"));
  DiallingNode a("a", "b", b.address());
  a.node.WaitFor(1);
  LinkState big;
  big.origin = NodeId("x");
  for (uint32_t i = 0; i < 5000; ++i) big.saes.push_back({SaeId(absl::StrCat("sae-", i)), i});
  for (int i = 0; i < 300; ++i) a.kx->Send(NodeId("b"), big);
  EXPECT_GT(a.kx->Status()[NodeId("b")].dropped_messages, 0u);
  a.kx->Send(NodeId("nobody"), Numbered(1));  // Nobody's queue: nothing happens.
}

}  // namespace
}  // namespace keyhop
