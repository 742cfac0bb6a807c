#include "kms/ak/https_server.h"

#include <algorithm>
#include <array>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "kms/ak/answer_writer.h"
#include "kms/ak/http_reader.h"
#include "kms/ak/https_tls.h"
#include "kms/ak/tls_listener.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

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

struct HttpsCounters {
  std::atomic<uint64_t> requests = 0, requests_over_rate = 0;
  std::array<std::atomic<uint64_t>, 600> answers = {};  // By status code.
};

struct HttpsShared : LoopShared {
  HttpsShared(HttpsConfig c, HttpHandler h)
      : LoopShared(c.threads, c.handshakes_max),
        config(std::move(c)),
        handler(std::move(h)),
        admission(config.admission) {}

  const HttpsConfig config;
  const HttpHandler handler;
  Admission admission;
  HttpsCounters counters;
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
  TlsStream stream_;
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
  SetDeadline(shared_.config.handshake_timeout);
  const bool shaken =
      co_await TlsHandshake(stream_, shared_, address_, shared_.config.on_failed_handshake);
  if (!shaken) co_return;
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
  ++shared_.loop_counters.refused_over_limit;
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

Task<HttpAnswer> Connection::Ask(HttpRequest request) {
  return LoopCall<HttpAnswer>::Await(loop_,
                                     [this, request = std::move(request)](HttpDone done) mutable {
                                       shared_.handler(std::move(request), std::move(done));
                                     });
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
  Impl(HttpsConfig config, HttpHandler handler)
      : shared_(std::move(config), std::move(handler)),
        listener_(shared_, shared_.config.threads) {}

  absl::Status Listen() {
    if (!shared_.config.read_certificate) {
      return absl::InvalidArgumentError("read_certificate is required");
    }
    if (shared_.config.psk.has_value() && !shared_.config.read_psk) {
      return absl::InvalidArgumentError("read_psk is required where pre-shared keys are");
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
                            MakeHttpsContext(shared_.config.tls, shared_.config.tls_groups));
    if (shared_.config.psk.has_value()) {
      KEYHOP_RETURN_IF_ERROR(SetUpPsk(tls->native_handle(), *shared_.config.psk));
    }
    shared_.SetTls(std::move(tls));
    return absl::OkStatus();
  }

  void Stop() { listener_.Stop(); }
  uint16_t port() const { return listener_.port(); }
  const HttpsShared& shared() const { return shared_; }

 private:
  Task<void> Serve(std::shared_ptr<Loop> loop, Socket socket) {
    Connection connection(std::move(loop), shared_, std::move(socket));
    co_await connection.Run();
  }

  HttpsShared shared_;
  TlsListener listener_;
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
  const LoopCounters& l = impl_->shared().loop_counters;
  const HttpsCounters& c = impl_->shared().counters;
  HttpsCounts counts = {.accepted = l.accepted,
                        .refused_over_limit = l.refused_over_limit,
                        .failed_handshakes = l.failed_handshakes,
                        .dropped_handshakes = l.dropped_handshakes,
                        .requests = c.requests,
                        .requests_over_rate = c.requests_over_rate,
                        .timeouts = l.timeouts};
  for (size_t status = 0; status < c.answers.size(); ++status) {
    if (c.answers[status] > 0) counts.answers[static_cast<int>(status)] = c.answers[status];
  }
  return counts;
}

absl::Status HttpsServer::ReloadTls() { return impl_->ReloadTls(); }
void HttpsServer::Stop() { impl_->Stop(); }

}  // namespace keyhop
