#include "kms/ks004/grpc_keystreams.h"

#include <grpcpp/grpcpp.h>

#include <optional>
#include <utility>
#include <variant>

#include "keyhop/etsi004/v2/etsi004.grpc.pb.h"
#include "kms/ak/grpc_refusal.h"
#include "kms/ak/grpc_wiping_allocator.h"
#include "kms/core/uuid.h"
#include "kms/ks004/sae_uri.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::etsi004::v2;
using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;

constexpr size_t kMimetypeBytesMax = 255;

Refusal BadRequest(const char* message) {
  return {Refusal::Kind::kBadRequest, message, {}, std::nullopt};
}

KeystreamQos QosOf(const pb::Qos& in) {
  return {in.chunk_bytes(), in.max_bps(),    in.min_bps(),     in.jitter_bps(),
          in.priority(),    in.timeout_ms(), in.ttl_seconds(), in.metadata_mimetype()};
}

void Fill(const KeystreamAnswer& in, pb::OpenConnectResponse& out) {
  out.set_status(static_cast<uint32_t>(in.status));
  pb::Qos& qos = *out.mutable_qos();
  qos.set_chunk_bytes(in.qos.chunk_bytes);
  qos.set_max_bps(in.qos.max_bps);
  qos.set_min_bps(in.qos.min_bps);
  qos.set_jitter_bps(in.qos.jitter_bps);
  qos.set_priority(in.qos.priority);
  qos.set_timeout_ms(in.qos.timeout_ms);
  qos.set_ttl_seconds(in.qos.ttl_s);
  qos.set_metadata_mimetype(in.qos.metadata_mimetype);
  if (in.id != KeyId{}) out.set_key_stream_id(FormatUuid(in.id));
}

void Fill(const KeystreamAnswer& in, pb::GetKeyResponse& out) {
  out.set_status(static_cast<uint32_t>(in.status));
  out.set_index(in.index);
  const auto key = in.key.Expose(SecretAccess::ForDelivery());
  out.set_key_buffer(key.data(), key.size());
  out.set_metadata(in.metadata);
  out.set_metadata_size(in.metadata_bytes_needed);
  out.set_next_index(in.next_index);
}

void Fill(const KeystreamAnswer& in, pb::CloseResponse& out) {
  out.set_status(static_cast<uint32_t>(in.status));
}

void CleanseKey(pb::GetKeyResponse& answer) { Cleanse(*answer.mutable_key_buffer()); }

class KeystreamService final : public pb::KeyStreams::CallbackService {
 public:
  KeystreamService(KeystreamPort& port, GrpcPeerReader peer) : port_(port), peer_(std::move(peer)) {
    SetMessageAllocatorFor_GetKey(&get_messages_);
  }

  Reactor* OpenConnect(Context* context, const pb::OpenConnectRequest* request,
                       pb::OpenConnectResponse* answer) override {
    const auto source = SaeOfUri(request->source());
    const auto destination = SaeOfUri(request->destination());
    if (!source || !destination) {
      return Refuse(context, BadRequest("source and destination shall each name an SAE"));
    }
    if (request->qos().metadata_mimetype().size() > kMimetypeBytesMax) {
      return Refuse(context, BadRequest("metadata_mimetype has more than 255 bytes"));
    }
    KeystreamOpen open;
    open.source = *source;
    open.destination = *destination;
    open.qos = QosOf(request->qos());
    if (!request->key_stream_id().empty()) {
      open.id = ParseUuid(request->key_stream_id());
      if (!open.id || *open.id == KeyId{}) {
        return Refuse(context, BadRequest("key_stream_id is no UUID, or the one of zeros"));
      }
    }
    return Ask(context, std::move(open), answer);
  }

  Reactor* GetKey(Context* context, const pb::GetKeyRequest* request,
                  pb::GetKeyResponse* answer) override {
    const auto id = ParseUuid(request->key_stream_id());
    if (!id) return Refuse(context, BadRequest("key_stream_id is no UUID"));
    KeystreamGet get;
    get.id = *id;
    get.index = request->index();
    get.metadata_bytes_max = request->metadata_size();
    return Ask(context, std::move(get), answer);
  }

  Reactor* Close(Context* context, const pb::CloseRequest* request,
                 pb::CloseResponse* answer) override {
    const auto id = ParseUuid(request->key_stream_id());
    if (!id) return Refuse(context, BadRequest("key_stream_id is no UUID"));
    KeystreamClose close;
    close.id = *id;
    return Ask(context, std::move(close), answer);
  }

 private:
  static Reactor* Refuse(Context* context, const Refusal& refusal) {
    Reactor* reactor = context->DefaultReactor();
    reactor->Finish(Refused(*context, refusal));
    return reactor;
  }

  template <typename Request, typename Answer>
  Reactor* Ask(Context* context, Request request, Answer* answer) {
    Reactor* reactor = context->DefaultReactor();
    absl::StatusOr<SaeId> caller = peer_(*context);
    if (!caller.ok()) {
      reactor->Finish(RefusedUnauthenticated(*context));
      return reactor;
    }
    request.caller = *std::move(caller);
    port_.Keystream(std::move(request),
                    [context, reactor, answer](Outcome<KeystreamAnswer> outcome) {
                      if (const auto* refusal = std::get_if<Refusal>(&outcome)) {
                        return reactor->Finish(Refused(*context, *refusal));
                      }
                      Fill(std::get<KeystreamAnswer>(outcome), *answer);
                      reactor->Finish(grpc::Status::OK);
                    });
    return reactor;
  }

  KeystreamPort& port_;
  const GrpcPeerReader peer_;
  WipingAllocator<pb::GetKeyRequest, pb::GetKeyResponse, CleanseKey> get_messages_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeKeystreamGrpcService(KeystreamPort& port, GrpcPeerReader peer) {
  return std::make_unique<KeystreamService>(port, std::move(peer));
}

}  // namespace keyhop
