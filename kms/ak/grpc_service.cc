#include "kms/ak/grpc_service.h"

#include <grpcpp/grpcpp.h>

#include <optional>
#include <utility>
#include <variant>

#include "absl/memory/memory.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/ak/grpc_draw_stream.h"
#include "kms/ak/grpc_messages.h"
#include "kms/ak/grpc_refusal.h"
#include "kms/ak/grpc_watch.h"
#include "kms/ak/grpc_wiping_allocator.h"
#include "kms/ak/request_reader.h"
#include "kms/core/uuid.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;
using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;

void Refuse(Context* context, Reactor* reactor, const Refusal& refusal) {
  reactor->Finish(Refused(*context, refusal));
}

// A draw: who leaves before it was served gets nothing drawn.
class DrawReactor final : public Reactor {
 public:
  DrawReactor(DeliveryPort& port, uint64_t call) : port_(port), call_(call) {}
  void OnCancel() override { port_.Cancel(call_); }
  void OnDone() override { delete this; }

 private:
  // gRPC 1.51 hands the reactions of a reactor to another thread unless this says that they neither
  // block nor call back: a fifth of the CPU time of a draw.
  bool InternalInlineable() override { return true; }

  DeliveryPort& port_;
  const uint64_t call_;
};

// Answers the call with what the port says.
template <typename Result, typename Answer>
std::function<void(Outcome<Result>)> Answering(Context* context, Reactor* reactor, Answer* answer) {
  return [context, reactor, answer](Outcome<Result> outcome) {
    if (const auto* refusal = std::get_if<Refusal>(&outcome)) {
      return Refuse(context, reactor, *refusal);
    }
    Fill(std::get<Result>(outcome), *answer);
    reactor->Finish(grpc::Status::OK);
  };
}

// The metadata `idempotency-key`. Several of them are no key that anybody meant: with a line break
// it is refused.
std::optional<std::string> IdempotencyKeyOf(const Context& context) {
  std::optional<std::string> key;
  const auto found = context.client_metadata().equal_range("idempotency-key");
  for (auto it = found.first; it != found.second; ++it) {
    if (key) *key += '\n';
    key = key.value_or("") + std::string(it->second.data(), it->second.size());
  }
  return key;
}

class DeliveryService final : public pb::KeyDelivery::CallbackService {
 public:
  DeliveryService(DeliveryPort& port, GrpcPeerReader peer) : port_(port), peer_(std::move(peer)) {
    SetMessageAllocatorFor_GetKey(&draw_messages_);
    SetMessageAllocatorFor_GetKeyWithKeyIds(&fetch_messages_);
  }

  Reactor* GetStatus(Context* context, const pb::GetStatusRequest* request,
                     pb::Status* answer) override {
    Reactor* reactor = context->DefaultReactor();
    absl::StatusOr<SaeId> caller = Caller(context, reactor);
    if (!caller.ok()) return reactor;
    port_.Status({.caller = *std::move(caller), .slave = SaeId(request->slave_sae_id())},
                 Answering<PairStatus>(context, reactor, answer));
    return reactor;
  }

  Reactor* GetKey(Context* context, const pb::KeyRequest* request,
                  pb::KeyContainer* answer) override {
    const uint64_t call = port_.NewCall();
    Reactor* reactor = absl::make_unique<DrawReactor>(port_, call).release();
    absl::StatusOr<SaeId> caller = Caller(context, reactor);
    if (!caller.ok()) return reactor;
    DrawRequest draw = ReadDraw(*request, *std::move(caller));
    if (const std::optional<Refusal> refusal = CheckDraw(draw)) {
      Refuse(context, reactor, *refusal);
      return reactor;
    }
    draw.call = call;
    draw.wait_max = PatienceOf(*context);
    draw.idempotency_key = IdempotencyKeyOf(*context);
    port_.Draw(std::move(draw), Answering<KeyContainer>(context, reactor, answer));
    return reactor;
  }

  grpc::ServerBidiReactor<pb::DrawStreamRequest, pb::KeyContainer>* DrawStream(
      Context* context) override {
    return StartDrawStream(port_, peer_(*context), *context);
  }

  grpc::ServerWriteReactor<pb::KeysAnnounced>* WatchKeys(
      Context* context, const pb::WatchKeysRequest* request) override {
    return StartWatch(port_, peer_(*context), *request, *context);
  }

  Reactor* GetKeyWithKeyIds(Context* context, const pb::KeyIdsRequest* request,
                            pb::KeyContainer* answer) override {
    Reactor* reactor = context->DefaultReactor();
    absl::StatusOr<SaeId> caller = Caller(context, reactor);
    if (!caller.ok()) return reactor;
    FetchRequest fetch{
        .caller = *std::move(caller), .master = SaeId(request->master_sae_id()), .key_ids = {}};
    for (const pb::KeyIdentifier& item : request->key_ids()) {
      const std::optional<KeyId> id = ParseUuid(item.key_id());
      if (!id.has_value()) {
        Refuse(context, reactor, BadKeyId());
        return reactor;
      }
      fetch.key_ids.push_back(*id);
    }
    if (const std::optional<Refusal> refusal = CheckFetch(fetch)) {
      Refuse(context, reactor, *refusal);
      return reactor;
    }
    fetch.idempotency_key = IdempotencyKeyOf(*context);
    port_.Fetch(std::move(fetch), Answering<KeyContainer>(context, reactor, answer));
    return reactor;
  }

 private:
  // On an error the call was answered.
  absl::StatusOr<SaeId> Caller(Context* context, Reactor* reactor) {
    absl::StatusOr<SaeId> caller = peer_(*context);
    if (!caller.ok()) {
      reactor->Finish(RefusedUnauthenticated(*context));
    }
    return caller;
  }

  DeliveryPort& port_;
  const GrpcPeerReader peer_;
  WipingAllocator<pb::KeyRequest, pb::KeyContainer, CleanseKeys> draw_messages_;
  WipingAllocator<pb::KeyIdsRequest, pb::KeyContainer, CleanseKeys> fetch_messages_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDeliveryGrpcService(DeliveryPort& port, GrpcPeerReader peer) {
  return std::make_unique<DeliveryService>(port, std::move(peer));
}

}  // namespace keyhop
