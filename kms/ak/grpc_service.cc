#include "kms/ak/grpc_service.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/message_allocator.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/ak/request_reader.h"
#include "kms/core/uuid.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;
using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;

struct KindText {
  grpc::StatusCode code;
  const char* name;
};

KindText Tell(Refusal::Kind kind) {
  switch (kind) {
    case Refusal::Kind::kBadRequest:
      return {grpc::StatusCode::INVALID_ARGUMENT, "bad-request"};
    case Refusal::Kind::kNotFound:
      return {grpc::StatusCode::NOT_FOUND, "not-found"};
    case Refusal::Kind::kUnauthorized:
      return {grpc::StatusCode::PERMISSION_DENIED, "unauthorized"};
    case Refusal::Kind::kUnavailable:
      return {grpc::StatusCode::UNAVAILABLE, "unavailable"};
    case Refusal::Kind::kExhausted:
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "exhausted"};
    case Refusal::Kind::kInternal:
      break;
  }
  return {grpc::StatusCode::INTERNAL, "internal"};
}

void Refuse(Context* context, Reactor* reactor, const Refusal& refusal) {
  const KindText kind = Tell(refusal.kind);
  context->AddTrailingMetadata("keyhop-refusal", kind.name);
  if (refusal.retry_after.has_value()) {
    context->AddTrailingMetadata("retry-after-ms",
                                 absl::StrCat(std::max<int64_t>(0, refusal.retry_after->millis())));
  }
  const bool unauthorized = refusal.kind == Refusal::Kind::kUnauthorized;
  reactor->Finish(grpc::Status(kind.code, unauthorized ? "Unauthorized" : refusal.message));
}

// Holds the messages of one call; wipes the keys of the answer when gRPC is done with it.
template <typename Request>
class WipingAllocator final : public grpc::MessageAllocator<Request, pb::KeyContainer> {
 public:
  grpc::MessageHolder<Request, pb::KeyContainer>* AllocateMessages() override {
    return new Holder();
  }

 private:
  class Holder final : public grpc::MessageHolder<Request, pb::KeyContainer> {
   public:
    Holder() {
      this->set_request(&request_);
      this->set_response(&response_);
    }
    void Release() override {
      for (pb::Key& key : *response_.mutable_keys()) Cleanse(*key.mutable_key());
      delete this;
    }

   private:
    Request request_;
    pb::KeyContainer response_;
  };
};

void Fill(const PairStatus& status, pb::Status& out) {
  out.set_source_kme_id(status.source_kme.value);
  out.set_target_kme_id(status.target_kme.value);
  out.set_master_sae_id(status.master.value);
  out.set_slave_sae_id(status.slave.value);
  out.set_key_size(status.key_size_bits);
  out.set_stored_key_count(status.stored_key_count);
  out.set_max_key_count(status.max_key_count);
  out.set_max_key_per_request(status.max_key_per_request);
  out.set_max_key_size(status.max_key_size_bits);
  out.set_min_key_size(status.min_key_size_bits);
  out.set_max_sae_id_count(status.max_sae_id_count);
  out.mutable_status_extension()->insert(status.extension.begin(), status.extension.end());
}

void Fill(const KeyContainer& container, pb::KeyContainer& out) {
  out.mutable_keys()->Reserve(static_cast<int>(container.keys.size()));
  for (const DeliveredKey& delivered : container.keys) {
    pb::Key& key = *out.add_keys();
    key.set_key_id(FormatUuid(delivered.id));
    const std::span<const uint8_t> bytes = delivered.key.Expose(SecretAccess::ForDelivery());
    key.set_key(bytes.data(), bytes.size());
  }
}

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

DrawRequest ReadDraw(const pb::KeyRequest& request, SaeId caller) {
  DrawRequest draw{.caller = std::move(caller), .slave = SaeId(request.slave_sae_id())};
  if (request.has_number()) draw.number = request.number();
  if (request.has_size()) draw.size_bits = request.size();
  for (const std::string& id : request.additional_slave_sae_ids()) {
    draw.additional_slaves.emplace_back(id);
  }
  for (const auto& p : request.extension_mandatory()) draw.extension_mandatory.push_back(p.name());
  for (const auto& p : request.extension_optional()) draw.extension_optional.push_back(p.name());
  return draw;
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
    Reactor* reactor = context->DefaultReactor();
    absl::StatusOr<SaeId> caller = Caller(context, reactor);
    if (!caller.ok()) return reactor;
    DrawRequest draw = ReadDraw(*request, *std::move(caller));
    if (const std::optional<Refusal> refusal = CheckDraw(draw)) {
      Refuse(context, reactor, *refusal);
      return reactor;
    }
    port_.Draw(std::move(draw), Answering<KeyContainer>(context, reactor, answer));
    return reactor;
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
    port_.Fetch(std::move(fetch), Answering<KeyContainer>(context, reactor, answer));
    return reactor;
  }

 private:
  // On an error the call was answered.
  absl::StatusOr<SaeId> Caller(Context* context, Reactor* reactor) {
    absl::StatusOr<SaeId> caller = peer_(*context);
    if (!caller.ok()) {
      context->AddTrailingMetadata("keyhop-refusal", "unauthorized");
      reactor->Finish(grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "Unauthorized"));
    }
    return caller;
  }

  DeliveryPort& port_;
  const GrpcPeerReader peer_;
  WipingAllocator<pb::KeyRequest> draw_messages_;
  WipingAllocator<pb::KeyIdsRequest> fetch_messages_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDeliveryGrpcService(DeliveryPort& port, GrpcPeerReader peer) {
  return std::make_unique<DeliveryService>(port, std::move(peer));
}

}  // namespace keyhop
