#include "trusted_node/kq1/kq1_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/generic/generic_stub.h"
#include "keyhop/kq1/v1/kq1.grpc.pb.h"
#include "kms/base/mutex.h"
#include "tests/trusted_node/grpc_keeper.h"

namespace keyhop {
namespace {

namespace pb = kq1::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const auto* const kKeeper = ::testing::AddGlobalTestEnvironment(new GrpcKeeper);

// A core that takes blocks, or refuses them as it is told.
class FakeNode final : public NodePort {
 public:
  void PeerUp(NodeId) override {}
  void PeerDown(NodeId) override {}
  void PeerSaid(NodeId, KxMessage, std::function<void()>) override {}
  void BlockArrived(LinkId, BookId book, uint64_t block, SecretBytes bytes,
                    std::function<void(absl::Status)> taken) override {
    MutexLock lock(mu);
    if (refuse_times > 0) {
      --refuse_times;
      Later([taken = std::move(taken), status = refusal] { taken(status); });
      return;
    }
    blocks.push_back(absl::StrCat(book.module_pair, "/", book.run, "/", block, " ",
                                  bytes.Expose(SecretAccess::ForTest())[0]));
    changed.SignalAll();
    if (hold) {
      held.push_back(std::move(taken));
    } else {
      Later([taken = std::move(taken)] { taken(absl::OkStatus()); });
    }
  }
  void ModuleChanged(ModuleStatusChanged status, std::function<void()> processed) override {
    MutexLock lock(mu);
    statuses.push_back(absl::StrCat(status.up ? "up " : "down ", status.rate_bps));
    changed.SignalAll();
    Later(std::move(processed));
  }
  void AskTakenTops(LinkId, std::function<void(std::map<BookId, uint64_t>)> answer) override {
    MutexLock lock(mu);
    Later([answer = std::move(answer), tops = tops] { answer(tops); });
  }
  void AskSnapshot(std::function<void(NodeSnapshot)>) override {}

  std::vector<std::string> WaitForStatus(const std::string& last) {
    MutexLock lock(mu);
    while (statuses.empty() || statuses.back() != last) changed.Wait(mu);
    return statuses;
  }

  ~FakeNode() override {
    for (std::thread& thread : threads) thread.join();
  }

  Mutex mu;
  CondVar changed;
  bool hold ABSL_GUARDED_BY(mu) = false;
  int refuse_times ABSL_GUARDED_BY(mu) = 0;
  absl::Status refusal ABSL_GUARDED_BY(mu);
  std::map<BookId, uint64_t> tops ABSL_GUARDED_BY(mu);
  std::vector<std::string> blocks ABSL_GUARDED_BY(mu);
  std::vector<std::string> statuses ABSL_GUARDED_BY(mu);
  std::vector<std::function<void(absl::Status)>> held ABSL_GUARDED_BY(mu);

 private:
  // As the contract asks: never inside the call.
  void Later(std::function<void()> f) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    threads.emplace_back(std::move(f));
  }
  std::vector<std::thread> threads ABSL_GUARDED_BY(mu);
};

class Kq1ServerTest : public ::testing::Test {
 protected:
  Kq1ServerTest() {
    Kq1Options options;
    options.links.push_back({LinkId("ab"), NodeId("b"), {"module-ab"}, 4096});
    options.identify = [this](const grpc::AuthContext&) { return module_; };
    options.window_bytes = 4 * 1024;  // Four blocks of 1 KiB.
    options.retry = Duration::Millis(1);
    kq1_ = std::make_unique<Kq1Server>(std::move(options));
    grpc::ServerBuilder builder;
    Kq1Server::Configure(builder);
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(kq1_->service());
    server_ = builder.BuildAndStart();
    kq1_->Start(node_);
    channel_ =
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
    stub_ = pb::KeyManagerQ::NewStub(channel_);
  }
  ~Kq1ServerTest() override {
    kq1_->Stop();
    server_->Shutdown();
  }

  // One module's stream.
  struct Module {
    explicit Module(pb::KeyManagerQ::Stub& stub) : stream(stub.Attach(&context)) {}
    pb::ManagerMessage Read() {
      pb::ManagerMessage message;
      if (!stream->Read(&message)) message.Clear();
      return message;
    }
    void Attach(uint64_t run = 7, const std::string& link = "ab", const std::string& peer = "b",
                uint32_t block_bytes = 1024) {
      pb::ModuleMessage message;
      message.mutable_attach()->set_link_id(link);
      message.mutable_attach()->set_module_pair(1);
      message.mutable_attach()->set_run(run);
      message.mutable_attach()->set_block_bytes(block_bytes);
      message.mutable_attach()->set_peer_node_id(peer);
      stream->Write(message);
    }
    void Block(uint64_t block, uint64_t run = 7, size_t bytes = 1024) {
      pb::ModuleMessage message;
      message.mutable_key_block()->set_run(run);
      message.mutable_key_block()->set_block(block);
      message.mutable_key_block()->set_key(std::string(bytes, static_cast<char>(block + 65)));
      stream->Write(message);
    }
    void Status(bool up, uint64_t rate_bps) {
      pb::ModuleMessage message;
      message.mutable_link_status()->set_up(up);
      message.mutable_link_status()->set_secret_key_rate_bps(rate_bps);
      stream->Write(message);
    }
    // Attached and the first command.
    pb::Attached Opened() {
      const pb::ManagerMessage attached = Read();
      EXPECT_TRUE(attached.has_attached()) << attached.body_case();
      EXPECT_TRUE(Read().has_module_command());
      return attached.attached();
    }
    // Reads to the end: the refusal and the status of the stream.
    std::pair<pb::Refused, grpc::Status> End() {
      pb::Refused refused;
      pb::ManagerMessage message;
      while (stream->Read(&message)) {
        if (message.has_refused()) refused = message.refused();
      }
      return {refused, stream->Finish()};
    }
    ~Module() { context.TryCancel(); }

    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReaderWriter<pb::ModuleMessage, pb::ManagerMessage>> stream;
  };

  absl::StatusOr<std::string> module_ = std::string("module-ab");
  FakeNode node_;
  std::unique_ptr<Kq1Server> kq1_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::KeyManagerQ::Stub> stub_;
};

TEST_F(Kq1ServerTest, AcknowledgesBlocksThatAreDurable) {
  Module module(*stub_);
  module.Attach();
  EXPECT_EQ(module.Opened().window(), 4u);
  uint64_t acknowledged = 0;
  module.Block(0);
  EXPECT_EQ(module.Read().block_ack().run(), 7u);
  module.Block(1);
  module.Block(2);
  while (acknowledged < 2) acknowledged = module.Read().block_ack().block();
  MutexLock lock(node_.mu);
  EXPECT_THAT(node_.blocks, ElementsAre("1/7/0 65", "1/7/1 66", "1/7/2 67"));
}

TEST_F(Kq1ServerTest, SaysWhatIsTakenAndGoesOnThere) {
  {
    MutexLock lock(node_.mu);
    node_.tops = {{{1, 6}, 90}, {{1, 7}, 3}, {{2, 9}, 5}};
  }
  Module module(*stub_);
  module.Attach();
  const pb::Attached attached = module.Opened();
  ASSERT_EQ(attached.taken_size(), 2);  // Not those of the other module pair.
  EXPECT_EQ(attached.taken(1).run(), 7u);
  EXPECT_EQ(attached.taken(1).next_block(), 3u);
  module.Block(2);  // Sent twice: acknowledged and dropped.
  EXPECT_EQ(module.Read().block_ack().block(), 2u);
  module.Block(3);
  EXPECT_EQ(module.Read().block_ack().block(), 3u);
}

TEST_F(Kq1ServerTest, KeepsABlockThatTheCoreHasNoRoomFor) {
  {
    MutexLock lock(node_.mu);
    node_.refuse_times = 20;
    node_.refusal = absl::ResourceExhaustedError("the stock is full");
  }
  Module module(*stub_);
  module.Attach();
  module.Opened();
  for (uint64_t block = 0; block < 4; ++block) module.Block(block);
  uint64_t acknowledged = 0;
  while (acknowledged < 3) acknowledged = module.Read().block_ack().block();
  MutexLock lock(node_.mu);
  EXPECT_EQ(node_.blocks.size(), 4u);
}

TEST_F(Kq1ServerTest, RefusesMoreThanTheWindow) {
  {
    MutexLock lock(node_.mu);
    node_.hold = true;
  }
  Module module(*stub_);
  module.Attach();
  module.Opened();
  for (uint64_t block = 0; block < 5; ++block) module.Block(block);
  const auto [refused, status] = module.End();
  EXPECT_EQ(refused.reason(), pb::Refused::REASON_WINDOW_EXCEEDED);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(Kq1ServerTest, RefusesHolesAndOtherRunsAndSizes) {
  const auto refused = [this](uint64_t block, uint64_t run, size_t bytes) {
    Module module(*stub_);
    module.Attach();
    module.Opened();
    module.Block(block, run, bytes);
    const auto end = module.End();
    while (kq1_->Status()[LinkId("ab")].attached > 0) std::this_thread::yield();
    return std::pair(end.first.reason(), end.second.error_code());
  };
  EXPECT_EQ(refused(1, 7, 1024),
            std::pair(pb::Refused::REASON_BLOCK_GAP, grpc::StatusCode::FAILED_PRECONDITION));
  EXPECT_EQ(refused(0, 8, 1024),
            std::pair(pb::Refused::REASON_MALFORMED, grpc::StatusCode::INVALID_ARGUMENT));
  EXPECT_EQ(refused(0, 7, 1023),
            std::pair(pb::Refused::REASON_MALFORMED, grpc::StatusCode::INVALID_ARGUMENT));
  EXPECT_EQ(kq1_->refused(), 3u);
}

TEST_F(Kq1ServerTest, ARunThatIsFinishedIsRefused) {
  {
    MutexLock lock(node_.mu);
    node_.refuse_times = 1;
    node_.refusal = absl::FailedPreconditionError("a finished run");
  }
  Module module(*stub_);
  module.Attach();
  module.Opened();
  module.Block(0);
  EXPECT_EQ(module.End().first.reason(), pb::Refused::REASON_OLD_RUN);
}

TEST_F(Kq1ServerTest, RefusesAnAttachThatDoesNotFit) {
  const auto refused = [this](const std::string& link, const std::string& peer, uint32_t bytes) {
    Module module(*stub_);
    module.Attach(7, link, peer, bytes);
    const auto end = module.End();
    return std::pair(end.first.reason(), end.second.error_code());
  };
  EXPECT_EQ(refused("xy", "b", 1024),
            std::pair(pb::Refused::REASON_UNKNOWN_LINK, grpc::StatusCode::NOT_FOUND));
  EXPECT_EQ(refused("ab", "c", 1024).first, pb::Refused::REASON_MALFORMED);
  EXPECT_EQ(refused("ab", "b", 1023).first, pb::Refused::REASON_MALFORMED);
  EXPECT_EQ(refused("ab", "b", 8192).first, pb::Refused::REASON_MALFORMED);
  module_ = std::string("another-module");
  EXPECT_EQ(refused("ab", "b", 1024),
            std::pair(pb::Refused::REASON_NOT_AUTHORISED, grpc::StatusCode::PERMISSION_DENIED));
}

TEST_F(Kq1ServerTest, OneModuleAPair) {
  Module first(*stub_);
  first.Attach();
  first.Opened();
  Module second(*stub_);
  second.Attach();
  EXPECT_EQ(second.End().second.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  first.Block(0);
  EXPECT_EQ(first.Read().block_ack().block(), 0u);
}

TEST_F(Kq1ServerTest, ACertificateThatNamesNoModuleIsRefused) {
  module_ = absl::UnauthenticatedError("an SAE's certificate");
  Module module(*stub_);
  EXPECT_EQ(module.End().second.error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(Kq1ServerTest, TellsTheCoreOfTheLinksModules) {
  {
    Module module(*stub_);
    module.Attach();
    module.Opened();
    module.Status(true, 5000);
    node_.WaitForStatus("up 5000");
    module.Status(true, 6000);
    node_.WaitForStatus("up 6000");
  }
  EXPECT_THAT(node_.WaitForStatus("down 0"), ElementsAre("up 5000", "up 6000", "down 0"));
}

TEST_F(Kq1ServerTest, AnOperatorsCommandReachesTheModuleAndStays) {
  Module module(*stub_);
  module.Attach();
  module.Opened();
  EXPECT_TRUE(kq1_->SetLink(LinkId("ab"), false).ok());
  EXPECT_EQ(module.Read().module_command().action(), pb::ModuleCommand::ACTION_DISABLE);
  node_.WaitForStatus("down 0");
  EXPECT_FALSE(kq1_->Status()[LinkId("ab")].admin_up);
  EXPECT_EQ(kq1_->SetLink(LinkId("xy"), true).code(), absl::StatusCode::kNotFound);
}

TEST_F(Kq1ServerTest, AHalfThatEndsLeavesNothingBehind) {
  // For the server a message that is cut off looks the same.
  for (const bool attach : {false, true}) {
    Module module(*stub_);
    if (attach) {
      module.Attach();
      module.Opened();
    }
    module.stream->WritesDone();
    EXPECT_EQ(module.End().second.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  while (kq1_->Status()[LinkId("ab")].attached > 0) std::this_thread::yield();
  MutexLock lock(node_.mu);
  EXPECT_THAT(node_.blocks, ElementsAre());
}

TEST_F(Kq1ServerTest, GarbageEndsItsStreamAndDoesNothingElse) {
  for (const std::string bytes : {"\xff\xff garbage", ""}) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::GenericStub generic(channel_);
    const auto stream = generic.PrepareCall(&context, "/keyhop.kq1.v1.KeyManagerQ/Attach", &queue);
    void* tag = nullptr;
    bool ok = false;
    stream->StartCall(nullptr);
    queue.Next(&tag, &ok);
    const grpc::Slice slice(bytes);
    stream->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    queue.Next(&tag, &ok);
    grpc::ByteBuffer answer;
    do {
      stream->Read(&answer, nullptr);
      queue.Next(&tag, &ok);
    } while (ok);
    grpc::Status status;
    stream->Finish(&status, nullptr);
    queue.Next(&tag, &ok);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("ModuleMessage"));
  }
  MutexLock lock(node_.mu);
  EXPECT_THAT(node_.blocks, ElementsAre());
}

}  // namespace
}  // namespace keyhop
