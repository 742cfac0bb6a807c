// The one file with Asio's coroutines: it takes the compiler as long as all others of this folder
// together.
// Boost 1.74 needs <utility> before its awaitable headers: our own header brings it.
#include "kms/ak/https_server.h"

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "kms/ak/answer_writer.h"
#include "kms/ak/http_reader.h"
#include "kms/ak/https_loop.h"
#include "kms/ak/https_tls.h"
#include "kms/base/check.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

using Acceptor = net::basic_socket_acceptor<tcp, Executor>;
using Stream = net::ssl::stream<Socket>;
template <typename T>
using Task = net::awaitable<T, Executor>;
constexpr net::use_awaitable_t<Executor> kAwait;

constexpr std::chrono::milliseconds kAcceptPause(50);
constexpr std::chrono::seconds kGoodbyeTimeout(2);
// Of one read; a TLS record holds no more.
constexpr size_t kReadBytes = size_t{16} << 10;
constexpr size_t kFirstReadBytes = size_t{4} << 10;
constexpr size_t kDrainMaxBytes = size_t{4} << 20;

HttpAnswer TooMany(std::string message, Duration wait) {
  HttpAnswer answer;
  answer.status = 503;
  answer.headers.emplace_back("Retry-After", absl::StrCat(wait.millis() / 1000 + 1));
  answer.body = WriteRefusal({.message = std::move(message)});
  return answer;
}

// One request that a handler answers, on whatever thread.
struct HandlerCall {
  enum State { kAsked, kAwaited, kAnswered };
  using Resumption = net::async_result<net::use_awaitable_t<Executor>, void()>::handler_type;

  explicit HandlerCall(const std::shared_ptr<Loop>& l)
      : loop(l), work(net::make_work_guard(l->io.get_executor())) {}
  // On the loop's thread.
  void Resume() {
    const std::shared_ptr<Loop> kept = loop;  // Outlives the call of post().
    net::post(kept->io.get_executor(),
              [go_on = *std::exchange(resume, std::nullopt)]() mutable { go_on(); });
  }

  const std::shared_ptr<Loop> loop;
  net::executor_work_guard<Executor> work;  // An answer is to come: the loop does not end.
  std::atomic<State> state = kAsked;
  std::optional<HttpAnswer> answer;
  std::optional<Resumption> resume;
};

// One client, from the handshake to the end.
class Connection final : public LoopMember {
 public:
  Connection(std::shared_ptr<Loop> loop, HttpsShared& shared, Socket socket)
      : loop_(std::move(loop)),
        shared_(shared),
        tls_(shared.CurrentTls()),
        stream_(std::move(socket), *tls_),
        reader_(shared.config.header_max_bytes, shared.config.body_max_bytes) {
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
  Task<bool> LetIn();     // False: it is not to be served.
  Task<bool> ServeOne();  // False: the connection ends.
  Task<bool> ReadRequest();
  Task<bool> ReadSome();
  Task<HttpAnswer> Ask(HttpRequest request);
  Task<bool> Write(const HttpAnswer& answer, bool keep_alive, bool head = false);
  Task<void> Goodbye(bool drain);
  absl::StatusOr<std::string> Caller();
  void SetDeadline(Duration d) { deadline_ = Clock::now() + ToChrono(d); }

  std::shared_ptr<Loop> loop_;
  HttpsShared& shared_;
  TlsContext tls_;
  Stream stream_;
  HttpReader reader_;
  std::vector<char> buffer_;  // What came and was not read yet: [begin_, end_).
  size_t begin_ = 0;
  size_t end_ = 0;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool idle_ = true;  // In the handshake or waiting for a request.
  bool admitted_ = false;
  bool drain_ = false;  // Unread input must be taken before closing, or the answer may be lost.
  std::string address_;
  std::string name_;  // As counted: of the certificate at the handshake.
  std::string certificate_;
  std::optional<PskPeer> psk_;  // Instead of a certificate.
  absl::StatusOr<std::string> caller_ = absl::UnauthenticatedError("not read yet");
  std::optional<Clock::time_point> caller_read_at_;
};

Task<void> Connection::Run() {
  if (shared_.stopping) co_return;
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
  if (shared_.config.psk.has_value()) psk_ = PskPeerOf(stream_.native_handle());
  const bool let_in = co_await LetIn();
  if (!let_in) co_return;
  while (co_await ServeOne()) {
  }
  co_await Goodbye(drain_);
}

// One that is over a limit is told so before it asks, and stays a stranger.
Task<bool> Connection::LetIn() {
  const absl::StatusOr<std::string> caller = Caller();
  name_ = caller.value_or("");
  const std::optional<std::string> refusal = shared_.admission.Enter(address_, name_);
  admitted_ = !refusal.has_value();
  if (admitted_) {
    loop_->NotStrange(this);
    co_return true;
  }
  ++shared_.counters.refused_over_limit;
  const HttpAnswer answer = TooMany(*refusal, Duration{});
  co_await Write(answer, /*keep_alive=*/false);
  co_await Goodbye(/*drain=*/true);
  co_return false;
}

Task<bool> Connection::ServeOne() {
  if (shared_.stopping) co_return false;
  const bool whole = co_await ReadRequest();
  if (!whole) co_return false;
  ++shared_.counters.requests;
  const bool keep_alive = reader_.keep_alive();
  deadline_ = Clock::time_point::max();  // The handler has its own.
  const std::optional<Duration> wait = shared_.admission.Request(ToInstant(Clock::now()), name_);
  if (wait.has_value()) {
    ++shared_.counters.requests_over_rate;
    const HttpAnswer answer = TooMany("too many requests of this SAE; retry later", *wait);
    co_return co_await Write(answer, keep_alive && !shared_.stopping, reader_.is_head());
  }
  HttpRequest request = reader_.TakeRequest();
  request.caller = Caller();
  const HttpAnswer answer = co_await Ask(std::move(request));
  co_return co_await Write(answer, keep_alive && !shared_.stopping, reader_.is_head());
}

// True: a whole request is in the reader. What is no acceptable one is answered here.
Task<bool> Connection::ReadRequest() {
  reader_.Next();
  SetDeadline(shared_.config.idle_timeout);
  idle_ = true;
  HttpReader::State before = HttpReader::State::kHead;
  while (true) {
    size_t taken = 0;
    if (begin_ < end_) {
      if (std::exchange(idle_, false)) SetDeadline(shared_.config.header_timeout);
      taken = reader_.Take({buffer_.data() + begin_, end_ - begin_});
      begin_ += taken;
    }
    const HttpReader::State state = reader_.state();
    if (state == HttpReader::State::kWhole) co_return true;
    if (state == HttpReader::State::kRefused) {
      drain_ = true;
      co_await Write(reader_.refusal(), /*keep_alive=*/false);
      co_return false;
    }
    if (std::exchange(before, state) != state) {
      SetDeadline(shared_.config.body_timeout);
      if (reader_.wants_continue() && begin_ == end_) {
        static constexpr absl::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        error_code ec;
        co_await net::async_write(stream_, net::buffer(kContinue.data(), kContinue.size()),
                                  net::redirect_error(kAwait, ec));
        if (ec) co_return false;
      }
    }
    if (taken > 0 && begin_ < end_) continue;
    const bool more = co_await ReadSome();
    if (!more) co_return false;
  }
}

// Reads behind what is in the buffer, which never holds more than a header and one read.
Task<bool> Connection::ReadSome() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (end_ == buffer_.size() && begin_ > 0) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.end(),
              buffer_.begin());
    end_ -= std::exchange(begin_, 0);
  }
  if (end_ == buffer_.size()) {
    buffer_.resize(std::min(std::max(kFirstReadBytes, 2 * end_),
                            shared_.config.header_max_bytes + kReadBytes));
  }
  error_code ec;
  const size_t got = co_await stream_.async_read_some(
      net::buffer(buffer_.data() + end_, buffer_.size() - end_), net::redirect_error(kAwait, ec));
  end_ += got;
  co_return !ec;
}

absl::StatusOr<std::string> Connection::Caller() {
  const Clock::time_point now = Clock::now();
  if (!caller_read_at_.has_value() ||
      now - *caller_read_at_ >= ToChrono(shared_.config.identity_life)) {
    caller_ = psk_.has_value() ? shared_.config.read_psk(*psk_)
                               : shared_.config.read_certificate(certificate_);
    caller_read_at_ = now;
  }
  return caller_;
}

// Hands the request to the handler and goes on, on this thread, once it is answered. Most answers
// are there when the handler returns: those cost no turn of the loop.
Task<HttpAnswer> Connection::Ask(HttpRequest request) {
  // Shared because std::function is copied, and whoever answers may outlive this connection.
  const auto call = std::make_shared<HandlerCall>(loop_);
  shared_.handler(std::move(request), [call](HttpAnswer answer) {
    KEYHOP_CHECK(!call->answer.has_value(), "a request was answered twice");
    call->answer = std::move(answer);
    if (call->state.exchange(HandlerCall::kAnswered) == HandlerCall::kAwaited) call->Resume();
  });
  if (call->state.load() != HandlerCall::kAnswered) {
    const auto wait = [&call](auto resume) {
      // Once it says so, the call may be answered and gone on with by another thread.
      const std::shared_ptr<HandlerCall> kept = call;
      kept->resume.emplace(std::move(resume));
      if (kept->state.exchange(HandlerCall::kAwaited) == HandlerCall::kAnswered) kept->Resume();
    };
    co_await net::async_initiate<const net::use_awaitable_t<Executor>, void()>(wait, kAwait);
  }
  co_return *std::move(call->answer);
}

Task<bool> Connection::Write(const HttpAnswer& answer, bool keep_alive, bool head) {
  ++shared_.counters.answers.at(static_cast<size_t>(answer.status));
  const SecretAccess access = SecretAccess::ForDelivery();
  const absl::string_view body = answer.secret_body.empty() ? absl::string_view(answer.body)
                                                            : answer.secret_body.Expose(access);
  std::string header = WriteHead(answer, {.reason = std::string(HttpReason(answer.status)),
                                          .date = loop_->Date(),
                                          .body_bytes = body.size(),
                                          .keep_alive = keep_alive,
                                          .http_1_0 = keep_alive && reader_.http_1_0()});

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
  Impl(HttpsConfig config, HttpHandler handler) : shared_(std::move(config), std::move(handler)) {
    const int threads = std::max(1, shared_.config.threads);
    for (int i = 0; i < threads; ++i) loops_.push_back(std::make_shared<Loop>());
    accept_pause_.emplace(loops_[0]->io);
  }
  ~Impl() { Stop(); }

  absl::Status Listen() {
    if (!shared_.config.read_certificate) {
      return absl::InvalidArgumentError("read_certificate is required");
    }
    if (shared_.config.psk.has_value() && !shared_.config.read_psk) {
      return absl::InvalidArgumentError("read_psk is required where pre-shared keys are");
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
    if (shared_.config.psk.has_value()) {
      KEYHOP_RETURN_IF_ERROR(SetUpPsk(tls->native_handle(), *shared_.config.psk));
    }
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
        loop->End();
      });
      threads_[i].join();
    }
    threads_.clear();
  }

  uint16_t port() const { return port_; }
  const HttpsCounters& counters() const { return shared_.counters; }

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
        for (const std::shared_ptr<Loop>& other : loops_) {
          net::post(other->io, [this, other] { other->DropOldestStranger(shared_); });
        }
        accept_pause_->expires_after(kAcceptPause);
        co_await accept_pause_->async_wait(net::redirect_error(kAwait, ec));
        continue;
      }
      ++shared_.counters.accepted;
      net::co_spawn(loop->io, Serve(loop, std::move(socket)), net::detached);
    }
  }

  Task<void> Serve(std::shared_ptr<Loop> loop, Socket socket) {
    Connection connection(std::move(loop), shared_, std::move(socket));
    co_await connection.Run();
  }

  HttpsShared shared_;
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
  const HttpsCounters& c = impl_->counters();
  HttpsCounts counts = {.accepted = c.accepted,
                        .refused_over_limit = c.refused_over_limit,
                        .failed_handshakes = c.failed_handshakes,
                        .dropped_handshakes = c.dropped_handshakes,
                        .requests = c.requests,
                        .requests_over_rate = c.requests_over_rate,
                        .timeouts = c.timeouts};
  for (size_t status = 0; status < c.answers.size(); ++status) {
    if (c.answers[status] > 0) counts.answers[static_cast<int>(status)] = c.answers[status];
  }
  return counts;
}

absl::Status HttpsServer::ReloadTls() { return impl_->ReloadTls(); }
void HttpsServer::Stop() { impl_->Stop(); }

}  // namespace keyhop
