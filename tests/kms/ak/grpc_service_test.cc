#include "kms/ak/grpc_service.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "keyhop/rpc/v1/error_details.pb.h"
#include "kms/core/uuid.h"
#include "kms/tls/grpc_credentials.h"
#include "tests/kms/ak/ak_fixture.h"
#include "tests/kms/ak/fake_delivery_port.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;
using grpc::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GrpcServiceTest : public ::testing::Test {
 protected:
  GrpcServiceTest()
      : service_(MakeDeliveryGrpcService(port_, [this](const grpc::ServerContextBase& context) {
          return peers_.PeerSae(*context.auth_context());
        })) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        "127.0.0.1:0",
        GrpcTls::Create(certs_.Node("saes"))->Server(CertificateKind::kSae, IdentityRules()),
        &listening_);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
  }
  ~GrpcServiceTest() override { server_->Shutdown(); }

  std::unique_ptr<pb::KeyDelivery::Stub> Stub(const std::string& sae) {
    return pb::KeyDelivery::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", listening_),
                            GrpcTls::Create(certs_.Client(sae))->ChannelToHost()));
  }

  struct Result {
    grpc::Status status;
    pb::KeyContainer keys;
    std::multimap<std::string, std::string> trailer;
  };
  void Keep(const grpc::ClientContext& context, Result& result) {
    for (const auto& [name, value] : context.GetServerTrailingMetadata()) {
      result.trailer.emplace(std::string(name.data(), name.size()),
                             std::string(value.data(), value.size()));
    }
  }
  Result Get(const std::string& caller, const pb::KeyRequest& request) {
    Result result;
    grpc::ClientContext context;
    result.status = Stub(caller)->GetKey(&context, request, &result.keys);
    Keep(context, result);
    return result;
  }
  Result Get(const std::string& caller, const std::string& slave) {
    pb::KeyRequest request;
    request.set_slave_sae_id(slave);
    return Get(caller, request);
  }
  Result Fetch(const std::string& caller, const std::string& master,
               const std::vector<std::string>& ids) {
    pb::KeyIdsRequest request;
    request.set_master_sae_id(master);
    for (const std::string& id : ids) request.add_key_ids()->set_key_id(id);
    Result result;
    grpc::ClientContext context;
    result.status = Stub(caller)->GetKeyWithKeyIds(&context, request, &result.keys);
    Keep(context, result);
    return result;
  }
  static std::string Trailer(const Result& result, const std::string& name) {
    const auto it = result.trailer.find(name);
    return it == result.trailer.end() ? "" : it->second;
  }

  AkCerts certs_;
  FakeDeliveryPort port_;
  GrpcPeers peers_{IdentityRules()};
  std::unique_ptr<grpc::Service> service_;
  int listening_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(GrpcServiceTest, HandsOnTheIdempotencyKey) {
  const auto get = [&](const std::vector<std::string>& keys) {
    pb::KeyRequest request;
    request.set_slave_sae_id("bob");
    grpc::ClientContext context;
    for (const std::string& key : keys) context.AddMetadata("idempotency-key", key);
    pb::KeyContainer answer;
    return Stub("alice")->GetKey(&context, request, &answer);
  };
  EXPECT_TRUE(get({}).ok());
  EXPECT_EQ(port_.idempotency_key(), std::nullopt);
  EXPECT_TRUE(get({"order 17"}).ok());
  EXPECT_EQ(port_.idempotency_key(), "order 17");
  get({"a", "b"});
  ASSERT_TRUE(port_.idempotency_key().has_value());
  EXPECT_THAT(*port_.idempotency_key(), HasSubstr("\n")) << "which the core refuses";
  const grpc::Status refused = get({"another's"});
  EXPECT_EQ(refused.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.error_message(), "used for another request");
  pb::KeyIdsRequest fetch;
  fetch.set_master_sae_id("alice");
  fetch.add_key_ids()->set_key_id("00000000-0000-4000-8000-000000000000");
  grpc::ClientContext context;
  context.AddMetadata("idempotency-key", "k2");
  pb::KeyContainer answer;
  EXPECT_FALSE(Stub("bob")->GetKeyWithKeyIds(&context, fetch, &answer).ok());
  EXPECT_EQ(port_.idempotency_key(), "k2");
}

TEST_F(GrpcServiceTest, TellsTheStatusOfThePair) {
  pb::GetStatusRequest request;
  request.set_slave_sae_id("bob");
  pb::Status answer;
  grpc::ClientContext context;
  ASSERT_TRUE(Stub("alice")->GetStatus(&context, request, &answer).ok());
  EXPECT_EQ(answer.source_kme_id(), "kme-a");
  EXPECT_EQ(answer.target_kme_id(), "kme-b");
  EXPECT_EQ(answer.master_sae_id(), "alice");
  EXPECT_EQ(answer.slave_sae_id(), "bob");
  EXPECT_EQ(answer.key_size(), 256u);
  EXPECT_EQ(answer.stored_key_count(), 200u);
  EXPECT_EQ(answer.max_key_count(), 1000u);
  EXPECT_EQ(answer.max_key_per_request(), 128u);
  EXPECT_EQ(answer.max_key_size(), 16384u);
  EXPECT_EQ(answer.min_key_size(), 32u);
  EXPECT_EQ(answer.max_sae_id_count(), 2u);
}

TEST_F(GrpcServiceTest, DeliversTheSameKeyToTheSlaveOnce) {
  pb::KeyRequest request;
  request.set_slave_sae_id("bob");
  request.set_number(2);
  request.set_size(512);
  const Result drawn = Get("alice", request);
  ASSERT_TRUE(drawn.status.ok()) << drawn.status.error_message();
  ASSERT_EQ(drawn.keys.keys_size(), 2);
  EXPECT_TRUE(drawn.keys.keys(0).key().size() == 64);
  const std::vector<std::string> ids = {drawn.keys.keys(1).key_id(), drawn.keys.keys(0).key_id()};
  EXPECT_EQ(Fetch("carol", "alice", ids).status.error_code(), StatusCode::PERMISSION_DENIED);
  const Result fetched = Fetch("bob", "alice", ids);
  ASSERT_TRUE(fetched.status.ok()) << fetched.status.error_message();
  // Compared as truth values: a failure must not print keys.
  EXPECT_TRUE(fetched.keys.keys(0).key() == drawn.keys.keys(1).key());
  EXPECT_TRUE(fetched.keys.keys(1).key() == drawn.keys.keys(0).key());
  const Result again = Fetch("bob", "alice", ids);
  EXPECT_EQ(again.status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(again.status.error_message(), kKeysNotFound);
}

TEST_F(GrpcServiceTest, MapsRefusalsToCodesWithTheirTexts) {
  const Result down = Get("alice", "down");
  EXPECT_EQ(down.status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(down.status.error_message(), "not enough key now");
  EXPECT_EQ(Trailer(down, "retry-after-ms"), "1500");
  EXPECT_EQ(Trailer(down, "keyhop-refusal"), "unavailable");
  const Result full = Get("alice", "full");
  EXPECT_EQ(full.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Trailer(full, "retry-after-ms"), "200");
  EXPECT_EQ(Get("alice", "broken").status.error_code(), StatusCode::INTERNAL);
  pb::KeyRequest odd;
  odd.set_slave_sae_id("bob");
  odd.set_size(7);
  EXPECT_EQ(Get("alice", odd).status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Get("alice", odd).status.error_message(), kSizeNotMultipleOf8);
  port_.Deregister("alice");
  const Result unknown = Get("alice", "bob");
  EXPECT_EQ(unknown.status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(unknown.status.error_message(), "Unauthorized");
  EXPECT_EQ(Trailer(unknown, "retry-after-ms"), "");
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

// The detail of a refusal, read as a client of google.rpc would.
template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status, const std::string& name) {
  rpc::v1::Status whole;
  if (!whole.ParseFromString(status.error_details())) return std::nullopt;
  EXPECT_EQ(whole.code(), status.error_code());
  EXPECT_EQ(whole.message(), status.error_message());
  for (const google::protobuf::Any& any : whole.details()) {
    if (any.type_url() != "type.googleapis.com/google.rpc." + name) continue;
    Detail detail;
    EXPECT_TRUE(detail.ParseFromString(any.value()));
    return detail;
  }
  return std::nullopt;
}

TEST_F(GrpcServiceTest, RefusalsCarryRichDetails) {
  const grpc::Status down = Get("alice", "down").status;
  const auto info = DetailOf<rpc::v1::ErrorInfo>(down, "ErrorInfo");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->reason(), "UNAVAILABLE");
  EXPECT_EQ(info->domain(), "keyhop");
  EXPECT_EQ(info->metadata().at("bits_asked"), "256");
  const auto retry = DetailOf<rpc::v1::RetryInfo>(down, "RetryInfo");
  ASSERT_TRUE(retry.has_value());
  EXPECT_EQ(retry->retry_delay().seconds(), 1);
  EXPECT_EQ(retry->retry_delay().nanos(), 500'000'000);
  EXPECT_FALSE(DetailOf<rpc::v1::BadRequest>(down, "BadRequest").has_value());

  pb::KeyRequest odd;
  odd.set_slave_sae_id("bob");
  odd.set_size(7);
  const auto bad = DetailOf<rpc::v1::BadRequest>(Get("alice", odd).status, "BadRequest");
  ASSERT_TRUE(bad.has_value());
  ASSERT_EQ(bad->field_violations_size(), 1);
  EXPECT_EQ(bad->field_violations(0).field(), "size");
  EXPECT_EQ(bad->field_violations(0).description(), kSizeNotMultipleOf8);
  pb::KeyRequest extension;
  extension.set_slave_sae_id("bob");
  extension.add_extension_mandatory()->set_name("abc_x");
  const auto names = DetailOf<rpc::v1::BadRequest>(Get("alice", extension).status, "BadRequest");
  ASSERT_TRUE(names.has_value());
  ASSERT_EQ(names->field_violations_size(), 2);
  EXPECT_EQ(names->field_violations(1).field(), "extension_mandatory");
  EXPECT_THAT(names->field_violations(1).description(), HasSubstr("abc_x"));
}

TEST_F(GrpcServiceTest, TheDeadlineOfACallBoundsItsWait) {
  Get("alice", "bob");
  EXPECT_FALSE(port_.last_wait_max().has_value());
  pb::KeyRequest request;
  request.set_slave_sae_id("bob");
  pb::KeyContainer keys;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  ASSERT_TRUE(Stub("alice")->GetKey(&context, request, &keys).ok());
  ASSERT_TRUE(port_.last_wait_max().has_value());
  EXPECT_LT(*port_.last_wait_max(), Duration::Seconds(20));
  EXPECT_GT(*port_.last_wait_max(), Duration::Seconds(1));
}

TEST_F(GrpcServiceTest, ACallThatIsCancelledIsCancelledInTheCore) {
  pb::KeyRequest request;
  request.set_slave_sae_id("slow");
  pb::KeyContainer keys;
  grpc::ClientContext context;
  grpc::Status status;
  std::thread caller([&] { status = Stub("alice")->GetKey(&context, request, &keys); });
  port_.AwaitSlow();
  context.TryCancel();
  EXPECT_EQ(port_.AwaitCancel(), port_.last_call());
  port_.Release();
  caller.join();
  EXPECT_EQ(status.error_code(), StatusCode::CANCELLED);
}

class DrawStreamTest : public GrpcServiceTest {
 protected:
  using Call = grpc::ClientReaderWriter<pb::DrawStreamRequest, pb::KeyContainer>;

  std::unique_ptr<Call> Open(const std::string& caller, const std::string& slave, uint64_t number,
                             uint32_t credit) {
    stub_ = Stub(caller);
    std::unique_ptr<Call> call = stub_->DrawStream(&context_);
    pb::DrawStreamRequest request;
    request.mutable_draw()->set_slave_sae_id(slave);
    request.mutable_draw()->set_number(number);
    request.set_credit(credit);
    EXPECT_TRUE(call->Write(request));
    return call;
  }
  static void Give(Call& call, uint32_t credit) {
    pb::DrawStreamRequest more;
    more.set_credit(credit);
    EXPECT_TRUE(call.Write(more));
  }
  // The sizes of the containers that come next, up to `keys` keys.
  static std::vector<int> Read(Call& call, int keys) {
    std::vector<int> sizes;
    pb::KeyContainer container;
    while (keys > 0 && call.Read(&container)) {
      sizes.push_back(container.keys_size());
      keys -= container.keys_size();
    }
    return sizes;
  }

  std::unique_ptr<pb::KeyDelivery::Stub> stub_;
  grpc::ClientContext context_;
};

TEST_F(DrawStreamTest, DrawsNoMoreThanTheCreditGiven) {
  const auto call = Open("alice", "bob", 4, 10);
  EXPECT_THAT(Read(*call, 10), ElementsAre(4, 4, 2));
  // An answer to something else: the service has handled all that it had to do before.
  ASSERT_TRUE(Get("alice", "bob").status.ok());
  EXPECT_EQ(port_.keys_drawn(), 11u);
  Give(*call, 3);
  Give(*call, 1);
  call->WritesDone();
  int rest = 0;
  for (int size : Read(*call, 4)) rest += size;
  EXPECT_EQ(rest, 4);
  pb::KeyContainer none;
  EXPECT_FALSE(call->Read(&none));
  EXPECT_TRUE(call->Finish().ok());
  EXPECT_EQ(port_.keys_drawn(), 15u);
}

TEST_F(DrawStreamTest, ARefusalEndsTheCallWithItsDetails) {
  const auto call = Open("alice", "down", 4, 10);
  pb::KeyContainer none;
  EXPECT_FALSE(call->Read(&none));
  const grpc::Status status = call->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  const auto info = DetailOf<rpc::v1::ErrorInfo>(status, "ErrorInfo");
  ASSERT_TRUE(info.has_value());
  // The last attempt was for one key.
  EXPECT_EQ(info->metadata().at("bits_asked"), "256");
}

TEST_F(DrawStreamTest, ContainersShrinkToWhatAQuotaGivesAtOnce) {
  const auto call = Open("alice", "thrifty", 16, 7);
  EXPECT_THAT(Read(*call, 7), ElementsAre(3, 3, 1));
}

TEST_F(DrawStreamTest, RefusesMalformedMessages) {
  {
    const auto call = Open("alice", "alice", 1, 1);
    EXPECT_EQ(call->Finish().error_code(), StatusCode::INVALID_ARGUMENT);
  }
  const auto stub = Stub("alice");
  {
    grpc::ClientContext context;
    const auto call = stub->DrawStream(&context);
    Give(*call, 1);
    EXPECT_EQ(call->Finish().error_code(), StatusCode::INVALID_ARGUMENT);
  }
  {
    grpc::ClientContext context;
    const auto call = stub->DrawStream(&context);
    pb::DrawStreamRequest request;
    request.mutable_draw()->set_slave_sae_id("bob");
    EXPECT_TRUE(call->Write(request));
    EXPECT_TRUE(call->Write(request));
    EXPECT_EQ(call->Finish().error_code(), StatusCode::INVALID_ARGUMENT);
  }
  EXPECT_EQ(port_.keys_drawn(), 0u);
  grpc::ClientContext context;
  const auto nameless = Stub("nameless");
  EXPECT_FALSE(nameless->DrawStream(&context)->Finish().ok());
}

TEST_F(DrawStreamTest, AClientThatLeavesCancelsTheDrawUnderWay) {
  const auto call = Open("alice", "slow", 1, 5);
  port_.AwaitSlow();
  context_.TryCancel();
  EXPECT_EQ(port_.AwaitCancel(), port_.last_call());
  port_.Release();
  EXPECT_EQ(call->Finish().error_code(), StatusCode::CANCELLED);
}

class WatchKeysTest : public GrpcServiceTest {
 protected:
  struct Watching {
    std::unique_ptr<pb::KeyDelivery::Stub> stub;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<pb::KeysAnnounced>> reader;
  };
  std::unique_ptr<Watching> Watch(const std::string& caller, const std::string& token = "") {
    auto watching = std::make_unique<Watching>();
    watching->stub = Stub(caller);
    pb::WatchKeysRequest request;
    request.set_resume_token(token);
    watching->reader = watching->stub->WatchKeys(&watching->context, request);
    return watching;
  }
  static WatchEntry Drawn(uint8_t number) {
    WatchEntry entry;
    entry.key_id[15] = number;
    entry.master = SaeId("alice");
    entry.size_bits = 256;
    return entry;
  }
};

TEST_F(WatchKeysTest, TellsOfDrawsAndGapsAndGoesOnFromAToken) {
  port_.Announce(Drawn(1));
  WatchEntry gap;
  gap.gap_at = NodeId("kme-a");
  port_.Announce(gap);
  const auto first = Watch("bob");
  pb::KeysAnnounced told;
  ASSERT_TRUE(first->reader->Read(&told));
  ASSERT_EQ(told.announcements_size(), 1);
  EXPECT_EQ(told.announcements(0).drawn().key_id(), "00000000-0000-0000-0000-000000000001");
  EXPECT_EQ(told.announcements(0).drawn().master_sae_id(), "alice");
  EXPECT_EQ(told.announcements(0).drawn().size(), 256u);
  const std::string token = told.resume_token();
  ASSERT_TRUE(first->reader->Read(&told));
  EXPECT_EQ(told.announcements(0).gap().source_kme_id(), "kme-a");
  first->context.TryCancel();
  EXPECT_EQ(first->reader->Finish().error_code(), StatusCode::CANCELLED);

  const auto second = Watch("bob", token);
  ASSERT_TRUE(second->reader->Read(&told));
  EXPECT_TRUE(told.announcements(0).has_gap());
  port_.AwaitWatcher();
  port_.Announce(Drawn(3));
  ASSERT_TRUE(second->reader->Read(&told));
  EXPECT_EQ(told.announcements(0).drawn().key_id(), "00000000-0000-0000-0000-000000000003");
  second->context.TryCancel();
  second->reader->Finish();
}

TEST_F(WatchKeysTest, AWatcherThatLeavesIsForgotten) {
  const auto watching = Watch("bob");
  port_.AwaitWatcher();
  watching->context.TryCancel();
  EXPECT_EQ(port_.AwaitCancel(), port_.last_call());
  EXPECT_EQ(watching->reader->Finish().error_code(), StatusCode::CANCELLED);
}

TEST_F(WatchKeysTest, RefusesATokenThatItNeverGaveAndStrangers) {
  for (const std::string& token :
       {std::string("x"), std::string(17, '\x7f'), std::string(65, 'a')}) {
    const grpc::Status status = Watch("bob", token)->reader->Finish();
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    const auto bad = DetailOf<rpc::v1::BadRequest>(status, "BadRequest");
    ASSERT_TRUE(bad.has_value());
    EXPECT_EQ(bad->field_violations(0).field(), "resume_token");
  }
  EXPECT_FALSE(Watch("nameless")->reader->Finish().ok());
}

TEST_F(GrpcServiceTest, RefusesMalformedRequests) {
  EXPECT_EQ(Get("alice", "").status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Get("alice", "alice").status.error_code(), StatusCode::INVALID_ARGUMENT);
  pb::KeyRequest twice;
  twice.set_slave_sae_id("bob");
  twice.add_additional_slave_sae_ids("bob");
  EXPECT_EQ(Get("alice", twice).status.error_code(), StatusCode::INVALID_ARGUMENT);
  pb::KeyRequest extension;
  extension.set_slave_sae_id("bob");
  extension.add_extension_mandatory()->set_name("abc_x");
  EXPECT_EQ(Get("alice", extension).status.error_message(), kExtensionUnsupported);
  pb::KeyRequest zero;
  zero.set_slave_sae_id("bob");
  zero.set_number(0);
  EXPECT_EQ(Get("alice", zero).status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Fetch("bob", "alice", {}).status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(Fetch("bob", "alice", {"x"}).status.error_message(), HasSubstr("UUID"));
  const std::string id = "00000000-0000-4000-8000-000000000000";
  EXPECT_THAT(Fetch("bob", "alice", {id, id}).status.error_message(), HasSubstr("twice"));
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

TEST_F(GrpcServiceTest, LetsOnlySaesIn) {
  for (const char* name : {"forged", "operator", "node", "nameless"}) {
    const Result result = Get(name, "bob");
    EXPECT_FALSE(result.status.ok()) << name;
    EXPECT_EQ(result.keys.keys_size(), 0) << name;
  }
  EXPECT_EQ(port_.keys_drawn(), 0u);
}

TEST_F(GrpcServiceTest, FieldsAreNamedAsInTheStandard) {
  const auto name = [](const google::protobuf::Descriptor* message, const char* field) {
    return message->FindFieldByName(field)->json_name();
  };
  EXPECT_EQ(name(pb::Key::descriptor(), "key_id"), "key_ID");
  EXPECT_EQ(name(pb::KeyIdsRequest::descriptor(), "key_ids"), "key_IDs");
  EXPECT_EQ(name(pb::KeyRequest::descriptor(), "additional_slave_sae_ids"),
            "additional_slave_SAE_IDs");
  EXPECT_EQ(name(pb::KeyRequest::descriptor(), "extension_mandatory"), "extension_mandatory");
  EXPECT_EQ(name(pb::Status::descriptor(), "source_kme_id"), "source_KME_ID");
  EXPECT_EQ(name(pb::Status::descriptor(), "max_sae_id_count"), "max_SAE_ID_count");
}

}  // namespace
}  // namespace keyhop
