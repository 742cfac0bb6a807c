#include "trusted_node/kx/kx_exchange.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/support/time.h"
#include "grpcpp/alarm.h"
#include "grpcpp/generic/generic_stub.h"
#include "keyhop/kx/v1/kx.grpc.pb.h"
#include "kms/base/check.h"
#include "trusted_node/wire/limits.h"

namespace keyhop {
namespace {

using grpc::ByteBuffer;
using grpc::StatusCode;

constexpr char kMethod[] = "/keyhop.kx.v1.Kx/Exchange";
// In the initial metadata of a server that took the stream: its node ID.
constexpr char kAcceptedKey[] = "keyhop-node";
constexpr int kKeepaliveMs = 5000;

class ServerStream final : public grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>,
                           public PeerStream {
 public:
  ServerStream(grpc::CallbackServerContext* context, NodeId peer, NodePort& node,
               const KxLimits& limits, KxCounts& counts)
      : PeerStream(std::move(peer), node, limits, counts), context_(context) {}

  void Begin(std::function<void()> on_done) {
    on_done_ = std::move(on_done);
    self_ = shared_from_this();
    StartSendInitialMetadata();
    BeginReading();
  }

 private:
  void OnReadDone(bool ok) override { DidRead(ok); }
  void OnWriteDone(bool ok) override { DidWrite(ok); }
  void OnCancel() override { Close(grpc::Status::CANCELLED, How::kNow); }
  void OnDone() override {
    on_done_();
    self_.reset();
  }
  void StartReadOp(ByteBuffer* into) override { StartRead(into); }
  void StartWriteOp(const ByteBuffer* from, grpc::WriteOptions options) override {
    StartWrite(from, options);
  }
  void Cancel() override { context_->TryCancel(); }
  void End(const grpc::Status& status, bool broken) override {
    // gRPC does not tell a message that was cut off from the end of the caller's half. A neighbour
    // leaves by cancelling its call; where the connection broke nobody hears this.
    Finish(broken ? grpc::Status(StatusCode::INVALID_ARGUMENT,
                                 "the stream ended, or a keyhop.kx.v1.KxMessage was cut off")
                  : status);
  }

  grpc::CallbackServerContext* const context_;
  std::function<void()> on_done_;
  std::shared_ptr<PeerStream> self_;  // gRPC's hold, until OnDone.
};

// What a server does with a caller that it does not take.
class RefusedStream final : public grpc::ServerBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

class ClientStream final : public grpc::ClientBidiReactor<ByteBuffer, ByteBuffer>,
                           public PeerStream {
 public:
  ClientStream(NodeId peer, NodePort& node, const KxLimits& limits, KxCounts& counts)
      : PeerStream(std::move(peer), node, limits, counts) {}

  void Begin(grpc::GenericStub& stub, std::function<void()> on_open,
             std::function<void(const grpc::Status&)> on_done) {
    on_open_ = std::move(on_open);
    on_done_ = std::move(on_done);
    self_ = shared_from_this();
    stub.PrepareBidiStreamingCall(&context_, kMethod, grpc::StubOptions(), this);
    AddHold();  // Operations are started from other threads; End lets go.
    StartCall();
  }

 private:
  void OnReadInitialMetadataDone(bool ok) override {
    if (!ok || context_.GetServerInitialMetadata().count(kAcceptedKey) == 0) {
      Broke();
      return;
    }
    on_open_();
    BeginReading();
  }
  void OnReadDone(bool ok) override { DidRead(ok); }
  void OnWriteDone(bool ok) override { DidWrite(ok); }
  void OnDone(const grpc::Status& status) override {
    on_done_(status);
    self_.reset();
  }
  void StartReadOp(ByteBuffer* into) override { StartRead(into); }
  void StartWriteOp(const ByteBuffer* from, grpc::WriteOptions options) override {
    StartWrite(from, options);
  }
  void Cancel() override { context_.TryCancel(); }
  void End(const grpc::Status&, bool broken) override {
    // Where the other end closed it, its reason shall reach OnDone.
    if (!broken) context_.TryCancel();
    RemoveHold();
  }

  grpc::ClientContext context_;
  std::function<void()> on_open_;
  std::function<void(const grpc::Status&)> on_done_;
  std::shared_ptr<PeerStream> self_;  // gRPC's hold, until OnDone.
};

}  // namespace

struct KxExchange::Impl {
  struct Peer {
    KxNeighbour neighbour;
    bool dial = false;
    KxCounts counts;
    std::shared_ptr<PeerStream> stream;  // Open: the core was told PeerConnected.
    // Where this end dials.
    std::unique_ptr<grpc::GenericStub> stub;
    std::shared_ptr<ClientStream> dialling;  // Until its OnDone.
    std::unique_ptr<grpc::Alarm> redial;     // A new one each time: the old one may still run.
    bool redial_set = false;
    Duration backoff;
    std::string trouble;  // What the log was told last.
  };

  explicit Impl(KxOptions o) : options(std::move(o)) {
    for (const KxNeighbour& neighbour : options.neighbours) {
      auto [it, fresh] = peers.try_emplace(neighbour.id);
      Peer& peer = it->second;
      if (!fresh) continue;
      peer.neighbour = neighbour;
      peer.dial = options.self < neighbour.id;
      peer.backoff = options.redial_min;
    }
  }

  // A stream opened: it takes the place of an older one.
  void Open(const NodeId& id, const std::shared_ptr<PeerStream>& stream) ABSL_LOCKS_EXCLUDED(mu) {
    MutexLock lock(mu);
    Peer& peer = peers.at(id);
    if (stopping) {
      stream->Close(grpc::Status(StatusCode::UNAVAILABLE, "shutting down"),
                    PeerStream::How::kAfterWrite);
      return;
    }
    if (peer.stream != nullptr) {
      peer.stream->Close(grpc::Status(StatusCode::ABORTED, "a newer stream took over"),
                         PeerStream::How::kNow);
      node->PeerDown(id);
    }
    peer.stream = stream;
    peer.backoff = options.redial_min;
    Tell(peer, absl::StrCat("kx: connected with ", id.value));
    node->PeerUp(id);
  }

  // gRPC is done with a stream that was open, or never came to it.
  void Ended(const NodeId& id, const PeerStream* stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Peer& peer = peers.at(id);
    if (peer.stream.get() != stream) return;
    peer.stream = nullptr;
    node->PeerDown(id);
  }

  void Dial(Peer& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const NodeId id = peer.neighbour.id;
    auto stream = std::make_shared<ClientStream>(id, *node, options.limits, peer.counts);
    peer.dialling = stream;
    stream->Begin(
        *peer.stub, [this, id, raw = stream.get()] { Open(id, raw->shared_from_this()); },
        [this, id, raw = stream.get()](const grpc::Status& status) {
          MutexLock lock(mu);
          DialEnded(id, raw, status);
        });
  }

  void DialEnded(const NodeId& id, const PeerStream* stream, const grpc::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Ended(id, stream);
    Peer& peer = peers.at(id);
    peer.dialling = nullptr;
    changed.SignalAll();
    if (stopping) return;
    Tell(peer, absl::StrCat("kx: no stream with ", id.value, " at ", peer.neighbour.address, ": ",
                            status.error_message(), " (code ", status.error_code(), ")"));
    peer.redial_set = true;
    peer.redial = std::make_unique<grpc::Alarm>();
    peer.redial->Set(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                  gpr_time_from_nanos(peer.backoff.ns, GPR_TIMESPAN)),
                     [this, id](bool) {
                       MutexLock lock(mu);
                       Peer& due = peers.at(id);
                       due.redial_set = false;
                       if (!stopping) Dial(due);
                       changed.SignalAll();
                     });
    peer.backoff = std::min(peer.backoff * 2, options.redial_max);
  }

  void Tell(Peer& peer, std::string line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (peer.trouble == line) return;
    options.log(line);
    peer.trouble = std::move(line);
  }

  bool AllQuiet() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return serving.empty() && std::all_of(peers.begin(), peers.end(), [](const auto& entry) {
             return entry.second.dialling == nullptr && !entry.second.redial_set;
           });
  }

  const KxOptions options;
  mutable Mutex mu;
  CondVar changed;
  NodePort* node ABSL_GUARDED_BY(mu) = nullptr;
  bool stopping ABSL_GUARDED_BY(mu) = true;
  std::map<NodeId, Peer> peers;  // Keys and neighbours never change; the rest is guarded by mu.
  std::set<std::shared_ptr<PeerStream>> serving ABSL_GUARDED_BY(mu);  // Until their OnDone.
};

// Raw: a message that cannot be parsed must end the stream with a reason, not look like its end.
class KxExchange::Service final
    : public kx::v1::Kx::WithRawCallbackMethod_Exchange<kx::v1::Kx::Service> {
 public:
  explicit Service(Impl& impl) : impl_(impl) {}

  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* Exchange(
      grpc::CallbackServerContext* context) override {
    const auto refuse = [](StatusCode code, absl::string_view text) {
      return new RefusedStream(grpc::Status(code, std::string(text)));
    };
    const absl::StatusOr<NodeId> caller = impl_.options.identify(*context->auth_context());
    if (!caller.ok()) return refuse(StatusCode::UNAUTHENTICATED, caller.status().message());
    const auto found = impl_.peers.find(*caller);
    if (found == impl_.peers.end()) {
      return refuse(StatusCode::PERMISSION_DENIED,
                    absl::StrCat("node ", caller->value, " is no neighbour here"));
    }
    if (found->second.dial) {
      return refuse(StatusCode::FAILED_PRECONDITION, "the end with the lower node ID dials");
    }
    std::shared_ptr<ServerStream> stream;
    {
      MutexLock lock(impl_.mu);
      if (impl_.stopping) return refuse(StatusCode::UNAVAILABLE, "not serving now");
      stream = std::make_shared<ServerStream>(context, *caller, *impl_.node, impl_.options.limits,
                                              found->second.counts);
      impl_.serving.insert(stream);
    }
    context->AddInitialMetadata(kAcceptedKey, impl_.options.self.value);
    impl_.Open(*caller, stream);
    stream->Begin([impl = &impl_, id = *caller, raw = stream.get()] {
      const std::shared_ptr<PeerStream> self = raw->shared_from_this();
      MutexLock lock(impl->mu);
      impl->Ended(id, raw);
      impl->serving.erase(self);
      impl->changed.SignalAll();
    });
    return stream.get();
  }

 private:
  Impl& impl_;
};

KxExchange::KxExchange(KxOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))),
      service_(std::make_unique<Service>(*impl_)) {}

KxExchange::~KxExchange() { Stop(); }

grpc::Service* KxExchange::service() { return service_.get(); }

void KxExchange::Configure(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(kWireMessageBytesMax));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kKeepaliveMs / 2);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4);
}

void KxExchange::Start(NodePort& node) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kWireMessageBytesMax));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   static_cast<int>(impl_->options.redial_min.millis()));
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                   static_cast<int>(impl_->options.redial_max.millis()));
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A proxy has no place between two key managers.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  MutexLock lock(impl_->mu);
  impl_->node = &node;
  impl_->stopping = false;
  for (auto& [id, peer] : impl_->peers) {
    if (!peer.dial) continue;
    peer.stub = std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(
        peer.neighbour.address, impl_->options.credentials(id), arguments));
    impl_->Dial(peer);
  }
}

void KxExchange::Stop() {
  MutexLock lock(impl_->mu);
  impl_->stopping = true;
  const grpc::Status status(StatusCode::UNAVAILABLE, "shutting down");
  for (auto& [id, peer] : impl_->peers) {
    if (peer.dialling != nullptr) peer.dialling->Close(status, PeerStream::How::kNow);
    if (peer.redial_set) peer.redial->Cancel();
  }
  for (const auto& stream : impl_->serving) stream->Close(status, PeerStream::How::kNow);
  while (!impl_->AllQuiet()) impl_->changed.Wait(impl_->mu);
}

void KxExchange::Send(const NodeId& peer, KxMessage message) {
  std::shared_ptr<PeerStream> stream;
  {
    MutexLock lock(impl_->mu);
    const auto found = impl_->peers.find(peer);
    if (found == impl_->peers.end()) return;
    stream = found->second.stream;
    if (stream == nullptr) ++found->second.counts.dropped_messages;
  }
  if (stream != nullptr) stream->Send(std::move(message));
}

std::map<NodeId, KxPeerStatus> KxExchange::Status() const {
  std::map<NodeId, KxPeerStatus> out;
  MutexLock lock(impl_->mu);
  for (const auto& [id, peer] : impl_->peers) {
    KxPeerStatus& status = out[id];
    status.connected = peer.stream != nullptr;
    status.sent_messages = peer.counts.sent_messages;
    status.sent_bytes = peer.counts.sent_bytes;
    status.received_messages = peer.counts.received_messages;
    status.received_bytes = peer.counts.received_bytes;
    status.dropped_messages = peer.counts.dropped_messages;
    status.refused_messages = peer.counts.refused_messages;
  }
  return out;
}

}  // namespace keyhop
