// Boost 1.74 needs <utility> before its awaitable headers: our own header brings it.
#include "kms/ks004/tls_server.h"

#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <list>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "kms/ak/https_tls.h"
#include "kms/base/check.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"
#include "kms/ks004/codec.h"
#include "kms/ks004/sae_uri.h"

namespace keyhop {
namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;
using Clock = std::chrono::steady_clock;
using Stream = net::ssl::stream<tcp::socket>;
using TlsContext = std::shared_ptr<net::ssl::context>;
template <typename T>
using Task = net::awaitable<T>;
constexpr net::use_awaitable_t<> kAwait;

constexpr std::chrono::milliseconds kSweepEvery(200);
constexpr std::chrono::milliseconds kAcceptPause(50);
constexpr std::chrono::seconds kGoodbyeTimeout(2);

Clock::duration ToChrono(Duration d) { return std::chrono::nanoseconds(d.ns); }
Instant InstantNow() {
  return {std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
              .count()};
}

struct Counters {
  std::atomic<uint64_t> accepted = 0, refused_over_limit = 0, failed_handshakes = 0,
                        dropped_handshakes = 0, requests = 0, malformed = 0, timeouts = 0;
};

class Connection;

// What the connections share; on the server's thread, but for `tls` and the counters.
struct Shared {
  Shared(KeystreamServerConfig c, KeystreamPort& p)
      : config(std::move(c)), port(p), admission(config.admission) {}
  const KeystreamServerConfig config;
  KeystreamPort& port;
  Admission admission;
  Counters counters;
  std::atomic<bool> stopping = false;
  Mutex mu;
  TlsContext tls ABSL_GUARDED_BY(mu);
  std::set<Connection*> connections = {};
  std::list<Connection*> strangers = {};  // Without a finished handshake, oldest first.
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
class Connection {
 public:
  Connection(net::io_context& io, Shared& shared, tcp::socket socket, TlsContext tls)
      : io_(io), shared_(shared), tls_(std::move(tls)), stream_(std::move(socket), *tls_) {
    shared_.connections.insert(this);
    shared_.strangers.push_back(this);
    if (shared_.strangers.size() > std::max<size_t>(1, shared_.config.handshakes_max)) {
      ++shared_.counters.dropped_handshakes;
      shared_.strangers.front()->Close();
      shared_.strangers.pop_front();
    }
  }
  ~Connection() {
    if (admitted_) shared_.admission.Leave(InstantNow(), address_, name_);
    shared_.strangers.remove(this);
    shared_.connections.erase(this);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Task<void> Run();
  bool Overdue(Clock::time_point now) const { return now >= deadline_; }
  bool idle() const { return idle_; }
  void Close() {
    error_code ec;
    stream_.next_layer().close(ec);
  }

 private:
  Task<bool> ServeOne();  // False: the connection ends.
  Task<bool> Read(std::span<uint8_t> into);
  Task<bool> Write(SecretBytes message);
  Task<Outcome<KeystreamAnswer>> Ask(KeystreamRequest request);
  void SetDeadline(Duration d) { deadline_ = Clock::now() + ToChrono(d); }

  net::io_context& io_;
  Shared& shared_;
  TlsContext tls_;
  Stream stream_;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool idle_ = true;
  bool admitted_ = false;
  std::string address_;
  std::string name_;
  std::string certificate_;
};

Task<void> Connection::Run() {
  error_code ec;
  stream_.next_layer().set_option(tcp::no_delay(true), ec);
  const tcp::endpoint peer = stream_.next_layer().remote_endpoint(ec);
  address_ = peer.address().to_string();
  SetDeadline(shared_.config.handshake_timeout);
  co_await stream_.async_handshake(Stream::server, net::redirect_error(kAwait, ec));
  if (ec) {
    ++shared_.counters.failed_handshakes;
    const std::string why = FailedHandshake(stream_.native_handle(), peer, ec);
    if (!why.empty() && shared_.config.on_failed_handshake) shared_.config.on_failed_handshake(why);
    co_return;
  }
  certificate_ = PeerDer(stream_.native_handle());
  const auto caller = shared_.config.read_certificate(certificate_);
  if (!caller.ok()) co_return;
  name_ = *caller;
  if (shared_.admission.Enter(address_, name_).has_value()) {
    ++shared_.counters.refused_over_limit;
  } else {
    admitted_ = true;
    shared_.strangers.remove(this);
    while (co_await ServeOne()) {
    }
  }
  deadline_ = Clock::now() + kGoodbyeTimeout;
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
    ++shared_.counters.malformed;
    co_await Write(WriteErrorMessage(Dialect::kB));
    co_return false;
  }
  std::vector<uint8_t> payload(header->payload_bytes);
  whole = payload.empty() || co_await Read(payload);
  if (!whole) co_return false;
  auto message = ParseStreamMessage(*header, payload);
  if (!message.ok()) {
    ++shared_.counters.malformed;
    co_await Write(WriteErrorMessage(header->dialect));
    co_return false;
  }
  // A certificate that was valid at the handshake may not be any more.
  const auto caller = shared_.config.read_certificate(certificate_);
  if (!caller.ok()) co_return false;
  ++shared_.counters.requests;
  deadline_ = Clock::time_point::max();  // The call has its own.
  Call call = CallOf(header->dialect, *std::move(message), SaeId(*caller));
  if (call.request) {
    auto outcome = co_await Ask(*std::move(call.request));
    TakeOutcome(std::move(outcome), call);
  }
  co_return co_await Write(AnswerOf(call));
}

// Hands the call to the core and goes on, on the server's thread, once it is answered.
Task<Outcome<KeystreamAnswer>> Connection::Ask(KeystreamRequest request) {
  const auto start = [this, &request](auto handler) {
    struct Waiting {
      net::executor_work_guard<net::io_context::executor_type> work;
      decltype(handler) resume;
    };
    // Shared because std::function is copied; used by the one call of `done`.
    auto waiting = std::make_shared<std::optional<Waiting>>(
        Waiting{net::make_work_guard(io_), std::move(handler)});
    shared_.port.Keystream(std::move(request), [waiting](Outcome<KeystreamAnswer> outcome) {
      KEYHOP_CHECK(waiting->has_value(), "a call was answered twice");
      Waiting taken = std::move(**waiting);
      waiting->reset();
      const auto executor = taken.work.get_executor();
      net::post(executor, [resume = std::move(taken.resume), work = std::move(taken.work),
                           outcome = std::move(outcome)]() mutable { resume(std::move(outcome)); });
    });
  };
  co_return co_await net::async_initiate<const net::use_awaitable_t<>,
                                         void(Outcome<KeystreamAnswer>)>(start, kAwait);
}

}  // namespace

class KeystreamServer::Impl {
 public:
  Impl(KeystreamServerConfig config, KeystreamPort& port) : shared_(std::move(config), port) {}
  ~Impl() { Stop(); }

  absl::Status Listen() {
    if (!shared_.config.read_certificate) {
      return absl::InvalidArgumentError("read_certificate is required");
    }
    KEYHOP_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, ParseEndpoint(shared_.config.listen));
    KEYHOP_RETURN_IF_ERROR(ReloadTls());
    error_code ec;
    acceptor_.open(endpoint.protocol(), ec);
    if (!ec) acceptor_.set_option(net::socket_base::reuse_address(true), ec);
    if (!ec) acceptor_.bind(endpoint, ec);
    if (!ec) acceptor_.listen(net::socket_base::max_listen_connections, ec);
    if (!ec) port_ = acceptor_.local_endpoint(ec).port();
    if (!ec) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", shared_.config.listen, ": ", ec.message()));
  }

  void Run() {
    net::co_spawn(io_, Accept(), net::detached);
    net::post(io_, [this] { Sweep(); });
    thread_ = std::thread([this] { io_.run(); });
  }

  absl::Status ReloadTls() {
    KEYHOP_ASSIGN_OR_RETURN(TlsContext tls,
                            MakeServerContext(shared_.config.tls, shared_.config.tls_groups));
    MutexLock lock(shared_.mu);
    shared_.tls = std::move(tls);
    return absl::OkStatus();
  }

  void Stop() {
    MutexLock lock(stop_mu_);
    if (!thread_.joinable()) return;
    shared_.stopping = true;
    net::post(io_, [this] {
      error_code ec;
      acceptor_.close(ec);
      pause_.cancel();
      sweep_.cancel();
    });
    thread_.join();
  }

  uint16_t port() const { return port_; }
  const Counters& counters() const { return shared_.counters; }

 private:
  TlsContext CurrentTls() {
    MutexLock lock(shared_.mu);
    return shared_.tls;
  }

  Task<void> Accept() {
    while (!shared_.stopping) {
      error_code ec;
      tcp::socket socket = co_await acceptor_.async_accept(net::redirect_error(kAwait, ec));
      if (shared_.stopping) break;
      if (ec == net::error::connection_aborted) continue;
      if (ec) {  // Such as no more file descriptors: wait for some to be closed.
        pause_.expires_after(kAcceptPause);
        co_await pause_.async_wait(net::redirect_error(kAwait, ec));
        continue;
      }
      ++shared_.counters.accepted;
      net::co_spawn(io_, Serve(std::move(socket)), net::detached);
    }
  }

  Task<void> Serve(tcp::socket socket) {
    Connection connection(io_, shared_, std::move(socket), CurrentTls());
    co_await connection.Run();
  }

  // Ends what is overdue, now and again and again; once the server stops also what is idle. Ends
  // with the last connection then.
  void Sweep() {
    const Clock::time_point now = Clock::now();
    for (Connection* connection : shared_.connections) {
      const bool late = connection->Overdue(now);
      if (late) ++shared_.counters.timeouts;
      if (late || (shared_.stopping && connection->idle())) connection->Close();
    }
    if (shared_.stopping && shared_.connections.empty()) return;
    sweep_.expires_after(kSweepEvery);
    sweep_.async_wait([this](error_code) { Sweep(); });
  }

  Shared shared_;
  net::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  net::steady_timer pause_{io_};
  net::steady_timer sweep_{io_};
  uint16_t port_ = 0;
  Mutex stop_mu_;
  std::thread thread_;
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
  const Counters& c = impl_->counters();
  return {c.accepted, c.refused_over_limit, c.failed_handshakes, c.dropped_handshakes,
          c.requests, c.malformed,          c.timeouts};
}
absl::Status KeystreamServer::ReloadTls() { return impl_->ReloadTls(); }
void KeystreamServer::Stop() { impl_->Stop(); }

}  // namespace keyhop
