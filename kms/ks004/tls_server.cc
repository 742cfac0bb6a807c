#include "kms/ks004/tls_server.h"

#include <array>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "kms/ak/https_tls.h"
#include "kms/ak/tls_listener.h"
#include "kms/base/status_macros.h"
#include "kms/ks004/codec.h"
#include "kms/ks004/sae_uri.h"

namespace keyhop {
namespace {

constexpr std::chrono::seconds kGoodbyeTimeout(2);

struct Shared : LoopShared {
  Shared(KeystreamServerConfig c, KeystreamPort& p)
      : LoopShared(/*threads=*/1, c.handshakes_max),
        config(std::move(c)),
        port(p),
        admission(config.admission) {}
  const KeystreamServerConfig config;
  KeystreamPort& port;
  Admission admission;
  std::atomic<uint64_t> requests = 0, malformed = 0;
};

// What a refusal is in a form that has status codes only (docs/etsi004.md).
KeystreamStatus StatusOf(const Refusal& refusal, Service service) {
  if (refusal.kind == Refusal::Kind::kUnavailable) return KeystreamStatus::kTimeout;
  switch (service) {
    case Service::kGetRequest:
      return refusal.kind == Refusal::Kind::kExhausted ? KeystreamStatus::kInsufficientKey
                                                       : KeystreamStatus::kPeerNotYetConnected;
    case Service::kCloseRequest:
      // What is not there any more is closed.
      return refusal.kind == Refusal::Kind::kExhausted ? KeystreamStatus::kTimeout
                                                       : KeystreamStatus::kSuccessful;
    default:
      return KeystreamStatus::kNoConnection;
  }
}

// A message that came, and what becomes of it.
struct Call {
  Dialect dialect = Dialect::kA;
  Service service = Service::kCloseRequest;
  std::optional<KeystreamRequest> request = {};  // None: the answer is there already.
  KeystreamAnswer answer = {};
};

Call CallOf(Dialect dialect, StreamMessageIn message, SaeId caller) {
  Call call;
  call.dialect = dialect;
  if (auto* open = std::get_if<OpenMessage>(&message)) {
    call.service = Service::kOpenRequest;
    call.answer.status = KeystreamStatus::kNoConnection;
    call.answer.qos = open->qos;
    call.answer.id = open->id.value_or(KeyId{});
    const auto source = SaeOfUri(open->source);
    const auto destination = SaeOfUri(open->destination);
    if (!source || !destination) return call;
    // Clients of A go on with a stream that was answered with 7.
    call.request = KeystreamOpen{std::move(caller),    *source,  *destination,
                                 std::move(open->qos), open->id, dialect == Dialect::kA};
  } else if (const auto* get = std::get_if<GetMessage>(&message)) {
    call.service = Service::kGetRequest;
    call.answer.index = get->index;
    call.request = KeystreamGet{std::move(caller), get->id, get->index, get->metadata_bytes_max};
  } else {
    call.request = KeystreamClose{std::move(caller), std::get<CloseMessage>(message).id};
  }
  return call;
}

void TakeOutcome(Outcome<KeystreamAnswer> outcome, Call& call) {
  if (const auto* refusal = std::get_if<Refusal>(&outcome)) {
    call.answer.status = StatusOf(*refusal, call.service);
  } else {
    call.answer = std::move(std::get<KeystreamAnswer>(outcome));
  }
}

SecretBytes AnswerOf(const Call& call) {
  if (call.service == Service::kOpenRequest) return WriteOpenResponse(call.dialect, call.answer);
  if (call.service == Service::kGetRequest) return WriteGetResponse(call.dialect, call.answer);
  return WriteCloseResponse(call.dialect, call.answer.status);
}

// One client, from the handshake to the end.
class Connection final : public LoopMember {
 public:
  Connection(std::shared_ptr<Loop> loop, Shared& shared, Socket socket)
      : loop_(std::move(loop)),
        shared_(shared),
        tls_(shared.CurrentTls()),
        stream_(std::move(socket), *tls_) {
    loop_->Add(this, shared_);
  }
  ~Connection() override {
    if (admitted_) shared_.admission.Leave(ToInstant(Clock::now()), address_, name_);
    loop_->Remove(this, shared_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Task<void> Run();
  bool Overdue(Clock::time_point now) const override { return now >= deadline_; }
  bool idle() const override { return idle_; }
  void Close() override {
    error_code ec;
    stream_.next_layer().close(ec);
  }

 private:
  Task<bool> ServeOne();  // False: the connection ends.
  Task<bool> Read(std::span<uint8_t> into);
  Task<bool> Write(SecretBytes message);
  Task<Outcome<KeystreamAnswer>> Ask(KeystreamRequest request);
  void SetDeadline(Duration d) { deadline_ = Clock::now() + ToChrono(d); }

  const std::shared_ptr<Loop> loop_;
  Shared& shared_;
  TlsContext tls_;
  TlsStream stream_;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool idle_ = true;
  bool admitted_ = false;
  std::string address_;
  std::string name_;
  std::string certificate_;
};

Task<void> Connection::Run() {
  if (shared_.stopping) co_return;
  SetDeadline(shared_.config.handshake_timeout);
  const bool shaken =
      co_await TlsHandshake(stream_, shared_, address_, shared_.config.on_failed_handshake);
  if (!shaken) co_return;
  certificate_ = PeerDer(stream_.native_handle());
  const auto caller = shared_.config.read_certificate(certificate_);
  if (!caller.ok()) co_return;
  name_ = *caller;
  if (shared_.admission.Enter(address_, name_).has_value()) {
    ++shared_.loop_counters.refused_over_limit;
  } else {
    admitted_ = true;
    loop_->NotStrange(this);
    while (co_await ServeOne()) {
    }
  }
  deadline_ = Clock::now() + kGoodbyeTimeout;
  error_code ec;
  co_await stream_.async_shutdown(net::redirect_error(kAwait, ec));
}

Task<bool> Connection::Read(std::span<uint8_t> into) {
  error_code ec;
  co_await net::async_read(stream_, net::buffer(into.data(), into.size()),
                           net::redirect_error(kAwait, ec));
  co_return !ec;
}

Task<bool> Connection::Write(SecretBytes message) {
  const auto bytes = message.Expose(SecretAccess::ForDelivery());
  SetDeadline(shared_.config.write_timeout);
  error_code ec;
  co_await net::async_write(stream_, net::buffer(bytes.data(), bytes.size()),
                            net::redirect_error(kAwait, ec));
  co_return !ec;
}

Task<bool> Connection::ServeOne() {
  if (shared_.stopping) co_return false;
  std::array<uint8_t, kHeaderBytes> head = {};
  idle_ = true;
  SetDeadline(shared_.config.idle_timeout);
  bool whole = co_await Read(std::span(head).first(1));
  if (!whole) co_return false;
  idle_ = false;
  SetDeadline(shared_.config.message_timeout);
  whole = co_await Read(std::span(head).subspan(1));
  if (!whole) co_return false;
  const auto header = ParseStreamHeader(head);
  if (!header.ok()) {
    ++shared_.malformed;
    co_await Write(WriteErrorMessage(Dialect::kB));
    co_return false;
  }
  std::vector<uint8_t> payload(header->payload_bytes);
  whole = payload.empty() || co_await Read(payload);
  if (!whole) co_return false;
  auto message = ParseStreamMessage(*header, payload);
  if (!message.ok()) {
    ++shared_.malformed;
    co_await Write(WriteErrorMessage(header->dialect));
    co_return false;
  }
  // A certificate that was valid at the handshake may not be any more.
  const auto caller = shared_.config.read_certificate(certificate_);
  if (!caller.ok()) co_return false;
  ++shared_.requests;
  deadline_ = Clock::time_point::max();  // The call has its own.
  Call call = CallOf(header->dialect, *std::move(message), SaeId(*caller));
  if (call.request) {
    auto outcome = co_await Ask(*std::move(call.request));
    TakeOutcome(std::move(outcome), call);
  }
  co_return co_await Write(AnswerOf(call));
}

Task<Outcome<KeystreamAnswer>> Connection::Ask(KeystreamRequest request) {
  return LoopCall<Outcome<KeystreamAnswer>>::Await(
      loop_, [this, request = std::move(request)](auto done) mutable {
        shared_.port.Keystream(std::move(request), std::move(done));
      });
}

}  // namespace

class KeystreamServer::Impl {
 public:
  Impl(KeystreamServerConfig config, KeystreamPort& port)
      : shared_(std::move(config), port), listener_(shared_, /*threads=*/1) {}

  absl::Status Listen() {
    if (!shared_.config.read_certificate) {
      return absl::InvalidArgumentError("read_certificate is required");
    }
    KEYHOP_RETURN_IF_ERROR(ParseEndpoint(shared_.config.listen).status());
    KEYHOP_RETURN_IF_ERROR(ReloadTls());
    return listener_.Listen(shared_.config.listen);
  }

  void Run() {
    listener_.Run([this](std::shared_ptr<Loop> loop, Socket socket) {
      return Serve(std::move(loop), std::move(socket));
    });
  }

  absl::Status ReloadTls() {
    KEYHOP_ASSIGN_OR_RETURN(TlsContext tls,
                            MakeServerContext(shared_.config.tls, shared_.config.tls_groups));
    shared_.SetTls(std::move(tls));
    return absl::OkStatus();
  }

  void Stop() { listener_.Stop(); }
  uint16_t port() const { return listener_.port(); }
  const Shared& shared() const { return shared_; }

 private:
  Task<void> Serve(std::shared_ptr<Loop> loop, Socket socket) {
    Connection connection(std::move(loop), shared_, std::move(socket));
    co_await connection.Run();
  }

  Shared shared_;
  TlsListener listener_;
};

KeystreamServer::KeystreamServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KeystreamServer::~KeystreamServer() = default;

absl::StatusOr<std::unique_ptr<KeystreamServer>> KeystreamServer::Start(
    KeystreamServerConfig config, KeystreamPort& port) {
  auto impl = std::make_unique<Impl>(std::move(config), port);
  KEYHOP_RETURN_IF_ERROR(impl->Listen());
  impl->Run();
  return absl::WrapUnique(new KeystreamServer(std::move(impl)));
}

uint16_t KeystreamServer::port() const { return impl_->port(); }
KeystreamServerCounts KeystreamServer::counts() const {
  const Shared& shared = impl_->shared();
  const LoopCounters& l = shared.loop_counters;
  return {l.accepted,      l.refused_over_limit, l.failed_handshakes, l.dropped_handshakes,
          shared.requests, shared.malformed,     l.timeouts};
}
absl::Status KeystreamServer::ReloadTls() { return impl_->ReloadTls(); }
void KeystreamServer::Stop() { impl_->Stop(); }

}  // namespace keyhop
