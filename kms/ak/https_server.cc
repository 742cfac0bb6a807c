// The one file that includes Boost.Beast and coroutines: it takes the compiler as long as all
// others of this folder together.
// Boost 1.74 needs <utility> before its awaitable headers: our own header brings it.
#include "kms/ak/https_server.h"

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "kms/ak/answer_writer.h"
#include "kms/ak/https_tls.h"
#include "kms/base/check.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using net::ip::tcp;

// Concrete executors: Asio's polymorphic one costs an allocation and a virtual call each time.
using Executor = net::io_context::executor_type;
using Socket = net::basic_stream_socket<tcp, Executor>;
using Acceptor = net::basic_socket_acceptor<tcp, Executor>;
using Stream = net::ssl::stream<Socket>;
using Clock = std::chrono::steady_clock;
using Timer = net::basic_waitable_timer<Clock, net::wait_traits<Clock>, Executor>;
template <typename T>
using Task = net::awaitable<T, Executor>;
constexpr net::use_awaitable_t<Executor> kAwait;

constexpr std::chrono::milliseconds kSweepEvery(200);
constexpr std::chrono::milliseconds kAcceptPause(50);
constexpr std::chrono::seconds kGoodbyeTimeout(2);
constexpr size_t kDrainMaxBytes = size_t{4} << 20;

Clock::duration ToChrono(Duration d) { return std::chrono::nanoseconds(d.ns); }

using TlsContext = std::shared_ptr<net::ssl::context>;

// --- One thread and its connections -----------------------------------------------------------

struct Counters {
  std::atomic<uint64_t> accepted = 0, refused_over_limit = 0, failed_handshakes = 0, requests = 0,
                        timeouts = 0;
  std::atomic<size_t> open = 0;
};

struct Shared {
  HttpsConfig config;
  HttpHandler handler;
  Counters counters;
  std::atomic<bool> stopping = false;
  Mutex mu;
  TlsContext tls ABSL_GUARDED_BY(mu);

  TlsContext CurrentTls() {
    MutexLock lock(mu);
    return tls;
  }
};

class Connection;

// All members but `io` are used on the loop's own thread only. Held by whoever may still post to
// it, so that a late poster never meets a dead loop.
struct Loop {
  net::io_context io{1};
  std::optional<net::executor_work_guard<Executor>> work{io.get_executor()};
  Timer sweep{io};
  std::set<Connection*> connections;
  std::time_t date_second = 0;
  std::string date;

  const std::string& Date();
  void Sweep(Shared& shared);
  void CloseIdle();
};

// One client, from the handshake to the end.
class Connection {
 public:
  Connection(std::shared_ptr<Loop> loop, Shared& shared, Socket socket)
      : loop_(std::move(loop)),
        shared_(shared),
        tls_(shared.CurrentTls()),
        stream_(std::move(socket), *tls_) {
    loop_->connections.insert(this);
  }
  ~Connection() {
    loop_->connections.erase(this);
    --shared_.counters.open;
    if (shared_.stopping) loop_->sweep.cancel();
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
  using Parser = http::request_parser<http::string_body>;

  Task<bool> ServeOne();  // False: the connection ends.
  Task<bool> ReadRequest(Parser& parser);
  Task<bool> RefuseRead(error_code ec);
  Task<HttpAnswer> Ask(HttpRequest request);
  Task<bool> Write(const HttpAnswer& answer, const Parser* parser, bool keep_alive);
  Task<void> Goodbye(bool drain);
  absl::StatusOr<std::string> Caller();
  void SetDeadline(Duration d) { deadline_ = Clock::now() + ToChrono(d); }

  std::shared_ptr<Loop> loop_;
  Shared& shared_;
  TlsContext tls_;
  Stream stream_;
  boost::beast::flat_buffer buffer_;  // What came and was not parsed: pipelined requests.
  Clock::time_point deadline_ = Clock::time_point::max();
  bool idle_ = true;    // In the handshake or waiting for a request.
  bool drain_ = false;  // Unread input must be taken before closing, or the answer may be lost.
  std::string certificate_;
  absl::StatusOr<std::string> caller_ = absl::UnauthenticatedError("not read yet");
  std::optional<Clock::time_point> caller_read_at_;
};

const std::string& Loop::Date() {
  const std::time_t now = std::time(nullptr);
  if (now != date_second) date = HttpDate(now);
  date_second = now;
  return date;
}

// Ends what is overdue, now and every kSweepEvery; a timer for each connection would cost more.
void Loop::Sweep(Shared& shared) {
  const Clock::time_point now = Clock::now();
  for (Connection* connection : connections) {
    if (!connection->Overdue(now)) continue;
    ++shared.counters.timeouts;
    connection->Close();
  }
  if (shared.stopping && connections.empty()) return;
  sweep.expires_after(kSweepEvery);
  sweep.async_wait([this, &shared](error_code) { Sweep(shared); });
}

void Loop::CloseIdle() {
  for (Connection* connection : connections) {
    if (connection->idle()) connection->Close();
  }
}

Task<void> Connection::Run() {
  if (shared_.stopping) co_return;
  error_code ec;
  stream_.next_layer().set_option(tcp::no_delay(true), ec);
  const tcp::endpoint peer = stream_.next_layer().remote_endpoint(ec);
  SetDeadline(shared_.config.handshake_timeout);
  co_await stream_.async_handshake(Stream::server, net::redirect_error(kAwait, ec));
  if (ec) {
    ++shared_.counters.failed_handshakes;
    const std::string why = FailedHandshake(stream_.native_handle(), peer, ec);
    if (!why.empty() && shared_.config.on_failed_handshake) shared_.config.on_failed_handshake(why);
    co_return;
  }
  idle_ = false;
  certificate_ = PeerDer(stream_.native_handle());
  while (co_await ServeOne()) {
  }
  co_await Goodbye(drain_);
}

Task<bool> Connection::ServeOne() {
  if (shared_.stopping) co_return false;
  Parser parser;
  parser.body_limit(shared_.config.body_max_bytes);
  parser.header_limit(static_cast<uint32_t>(shared_.config.header_max_bytes));
  const bool whole = co_await ReadRequest(parser);
  if (!whole) co_return false;
  ++shared_.counters.requests;
  const bool keep_alive = parser.get().keep_alive();
  if (parser.get().version() >= 11 && parser.get().count(http::field::host) != 1) {
    HttpAnswer answer;
    answer.status = 400;
    answer.body = WriteRefusal({.message = "one Host header is required"});
    co_await Write(answer, &parser, /*keep_alive=*/false);
    co_return false;
  }
  HttpRequest request;
  request.method = std::string(parser.get().method_string());
  request.target = std::string(parser.get().target());
  request.body = std::move(parser.get().body());
  request.caller = Caller();
  deadline_ = Clock::time_point::max();  // The handler has its own.
  const HttpAnswer answer = co_await Ask(std::move(request));
  co_return co_await Write(answer, &parser, keep_alive && !shared_.stopping);
}

Task<bool> Connection::ReadRequest(Parser& parser) {
  error_code ec;
  SetDeadline(shared_.config.idle_timeout);
  idle_ = true;
  co_await http::async_read_header(stream_, buffer_, parser, net::redirect_error(kAwait, ec));
  idle_ = false;
  if (ec) co_return co_await RefuseRead(ec);
  if (parser.is_done()) co_return true;
  SetDeadline(shared_.config.body_timeout);
  if (boost::beast::iequals(parser.get()[http::field::expect], "100-continue") &&
      parser.get().version() >= 11) {
    static constexpr absl::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    co_await net::async_write(stream_, net::buffer(kContinue.data(), kContinue.size()),
                              net::redirect_error(kAwait, ec));
    if (ec) co_return false;
  }
  co_await http::async_read(stream_, buffer_, parser, net::redirect_error(kAwait, ec));
  if (ec) co_return co_await RefuseRead(ec);
  co_return true;
}

// Answers what is no acceptable request, where there is somebody to answer. Always false.
Task<bool> Connection::RefuseRead(error_code ec) {
  HttpAnswer answer;
  if (ec == http::error::body_limit) {
    answer.status = 413;
    answer.body = WriteRefusal({.message = absl::StrCat("the body is longer than ",
                                                        shared_.config.body_max_bytes, " bytes")});
  } else if (ec == http::error::header_limit) {
    answer.status = 431;
    answer.body =
        WriteRefusal({.message = absl::StrCat("the header is longer than ",
                                              shared_.config.header_max_bytes, " bytes")});
  } else if (ec.category() == http::make_error_code(http::error::bad_method).category() &&
             ec != http::error::end_of_stream && ec != http::error::partial_message) {
    answer.status = 400;
    answer.body = WriteRefusal({.message = "this is not an HTTP/1.1 request"});
  } else {
    co_return false;
  }
  drain_ = true;
  co_await Write(answer, nullptr, /*keep_alive=*/false);
  co_return false;
}

absl::StatusOr<std::string> Connection::Caller() {
  const Clock::time_point now = Clock::now();
  if (!caller_read_at_.has_value() ||
      now - *caller_read_at_ >= ToChrono(shared_.config.identity_life)) {
    caller_ = shared_.config.read_certificate(certificate_);
    caller_read_at_ = now;
  }
  return caller_;
}

// Hands the request to the handler and goes on, on this thread, once it is answered.
Task<HttpAnswer> Connection::Ask(HttpRequest request) {
  const auto start = [this, &request](auto handler) {
    struct Waiting {
      std::shared_ptr<Loop> loop;
      std::optional<net::executor_work_guard<Executor>> work;
      decltype(handler) resume;
    };
    const Executor executor = loop_->io.get_executor();
    // Shared because std::function is copied; used by the one call of `done`.
    auto waiting = std::make_shared<std::optional<Waiting>>(
        Waiting{loop_, net::make_work_guard(executor), std::move(handler)});
    shared_.handler(std::move(request), [waiting](HttpAnswer answer) {
      KEYHOP_CHECK(waiting->has_value(), "a request was answered twice");
      Waiting taken = std::move(**waiting);
      waiting->reset();
      const std::shared_ptr<Loop> loop = taken.loop;  // Outlives the call of post().
      net::post(loop->io.get_executor(),
                [resume = std::move(taken.resume), work = std::move(taken.work),
                 answer = std::move(answer)]() mutable { resume(std::move(answer)); });
    });
  };
  co_return co_await net::async_initiate<const net::use_awaitable_t<Executor>, void(HttpAnswer)>(
      start, kAwait);
}

Task<bool> Connection::Write(const HttpAnswer& answer, const Parser* parser, bool keep_alive) {
  const SecretAccess access = SecretAccess::ForDelivery();
  const absl::string_view body = answer.secret_body.empty() ? absl::string_view(answer.body)
                                                            : answer.secret_body.Expose(access);
  const bool head = parser != nullptr && parser->get().method() == http::verb::head;
  const bool old_client = parser != nullptr && parser->get().version() < 11;
  std::string header = WriteHead(
      answer,
      {.reason = std::string(http::obsolete_reason(static_cast<http::status>(answer.status))),
       .date = loop_->Date(),
       .body_bytes = body.size(),
       .keep_alive = keep_alive,
       .http_1_0 = old_client});

  SetDeadline(shared_.config.write_timeout);
  // One buffer, one TLS record: of several buffers Asio would make a copy that nobody wipes.
  error_code ec;
  if (answer.secret_body.empty()) {
    if (!head) header.append(body.data(), body.size());
    co_await net::async_write(stream_, net::buffer(header), net::redirect_error(kAwait, ec));
  } else {
    SecretText message(header.size() + body.size());
    message.Append(header);
    if (!head) message.Append(body);
    const absl::string_view bytes = message.Expose(access);
    co_await net::async_write(stream_, net::buffer(bytes.data(), bytes.size()),
                              net::redirect_error(kAwait, ec));
  }
  co_return !ec && keep_alive;
}

// Says that we close. A client that still sends gets its input swallowed for a while: closing a
// socket with unread input would reset the connection, and our answer might be lost with it.
Task<void> Connection::Goodbye(bool drain) {
  error_code ec;
  // The goodbye is sent at once; waiting for the other's is a courtesy that ends with the server.
  deadline_ = Clock::now() + (shared_.stopping ? Clock::duration::zero() : kGoodbyeTimeout);
  co_await stream_.async_shutdown(net::redirect_error(kAwait, ec));
  if (!drain) co_return;
  stream_.next_layer().shutdown(tcp::socket::shutdown_send, ec);
  std::vector<char> sink(16 << 10);
  for (size_t taken = 0; !ec && taken < kDrainMaxBytes;) {
    taken += co_await stream_.next_layer().async_read_some(net::buffer(sink),
                                                           net::redirect_error(kAwait, ec));
  }
}

}  // namespace

// --- The server -------------------------------------------------------------------------------

class HttpsServer::Impl {
 public:
  Impl(HttpsConfig config, HttpHandler handler) {
    shared_.config = std::move(config);
    shared_.handler = std::move(handler);
    const int threads = std::max(1, shared_.config.threads);
    for (int i = 0; i < threads; ++i) loops_.push_back(std::make_shared<Loop>());
    accept_pause_.emplace(loops_[0]->io);
  }
  ~Impl() { Stop(); }

  absl::Status Listen() {
    if (!shared_.config.read_certificate) {
      return absl::InvalidArgumentError("read_certificate is required");
    }
    KEYHOP_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, ParseEndpoint(shared_.config.listen));
    KEYHOP_RETURN_IF_ERROR(ReloadTls());
    error_code ec;
    acceptor_.emplace(loops_[0]->io);
    acceptor_->open(endpoint.protocol(), ec);
    if (!ec) acceptor_->set_option(net::socket_base::reuse_address(true), ec);
    if (!ec) acceptor_->bind(endpoint, ec);
    if (!ec) acceptor_->listen(net::socket_base::max_listen_connections, ec);
    if (!ec) port_ = acceptor_->local_endpoint(ec).port();
    if (!ec) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", shared_.config.listen, ": ", ec.message()));
  }

  void Run() {
    net::co_spawn(loops_[0]->io, Accept(), net::detached);
    for (const std::shared_ptr<Loop>& loop : loops_) {
      net::post(loop->io, [this, loop] { loop->Sweep(shared_); });
      threads_.emplace_back([loop] { loop->io.run(); });
    }
  }

  absl::Status ReloadTls() {
    KEYHOP_ASSIGN_OR_RETURN(TlsContext tls,
                            MakeHttpsContext(shared_.config.tls, shared_.config.tls_groups));
    MutexLock lock(shared_.mu);
    shared_.tls = std::move(tls);
    return absl::OkStatus();
  }

  void Stop() {
    MutexLock lock(stop_mu_);
    shared_.stopping = true;
    // The first loop accepts for the others: once it has ended, nothing new comes to them.
    for (size_t i = 0; i < threads_.size(); ++i) {
      const std::shared_ptr<Loop>& loop = loops_[i];
      net::post(loop->io, [this, i, loop] {
        error_code ec;
        if (i == 0) acceptor_->close(ec);
        if (i == 0) accept_pause_->cancel();
        loop->CloseIdle();
        loop->work.reset();
        loop->sweep.cancel();
      });
      threads_[i].join();
    }
    threads_.clear();
  }

  uint16_t port() const { return port_; }
  const Counters& counters() const { return shared_.counters; }

 private:
  // Never waits for a client, and ends with the server only.
  Task<void> Accept() {
    for (size_t turn = 0; !shared_.stopping; ++turn) {
      const std::shared_ptr<Loop>& loop = loops_[turn % loops_.size()];
      error_code ec;
      Socket socket = co_await acceptor_->async_accept(loop->io, net::redirect_error(kAwait, ec));
      if (shared_.stopping) break;
      if (ec == net::error::connection_aborted) continue;
      if (ec) {  // Such as no more file descriptors: wait for some to be closed.
        accept_pause_->expires_after(kAcceptPause);
        co_await accept_pause_->async_wait(net::redirect_error(kAwait, ec));
        continue;
      }
      if (shared_.counters.open >= shared_.config.connections_max) {
        ++shared_.counters.refused_over_limit;
        continue;
      }
      ++shared_.counters.accepted;
      ++shared_.counters.open;
      net::co_spawn(loop->io, Serve(loop, std::move(socket)), net::detached);
    }
  }

  Task<void> Serve(std::shared_ptr<Loop> loop, Socket socket) {
    Connection connection(std::move(loop), shared_, std::move(socket));
    co_await connection.Run();
  }

  Shared shared_;
  std::vector<std::shared_ptr<Loop>> loops_;
  std::optional<Acceptor> acceptor_;
  std::optional<Timer> accept_pause_;
  uint16_t port_ = 0;
  Mutex stop_mu_;
  std::vector<std::thread> threads_;
};

HttpsServer::HttpsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpsServer::~HttpsServer() = default;

absl::StatusOr<std::unique_ptr<HttpsServer>> HttpsServer::Start(HttpsConfig config,
                                                                HttpHandler handler) {
  auto impl = std::make_unique<Impl>(std::move(config), std::move(handler));
  KEYHOP_RETURN_IF_ERROR(impl->Listen());
  impl->Run();
  return absl::WrapUnique(new HttpsServer(std::move(impl)));
}

uint16_t HttpsServer::port() const { return impl_->port(); }

HttpsCounts HttpsServer::counts() const {
  const Counters& c = impl_->counters();
  return {.accepted = c.accepted,
          .refused_over_limit = c.refused_over_limit,
          .failed_handshakes = c.failed_handshakes,
          .requests = c.requests,
          .timeouts = c.timeouts};
}

absl::Status HttpsServer::ReloadTls() { return impl_->ReloadTls(); }
void HttpsServer::Stop() { impl_->Stop(); }

}  // namespace keyhop
