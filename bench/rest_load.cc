// Boost 1.74 needs <utility> before its awaitable headers, which Beast includes.
#include "bench/rest_load.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop::bench {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using net::ip::tcp;
using Executor = net::io_context::executor_type;
using Socket = net::basic_stream_socket<tcp, Executor>;
using Stream = net::ssl::stream<Socket>;
using Timer = net::basic_waitable_timer<Clock, net::wait_traits<Clock>, Executor>;

struct Connection {
  Connection(net::io_context& io, net::ssl::context& tls) : stream(io, tls) {}
  Stream stream;
  boost::beast::flat_buffer buffer;
  std::optional<http::response_parser<http::string_body>> answer;
  Clock::time_point due;
};

}  // namespace

class RestLoad::Impl {
 public:
  absl::Status Open(const RestTarget& target) {
    KEYHOP_RETURN_IF_ERROR(CheckPemFiles(target.files));
    error_code ec;
    tls_.use_certificate_chain_file(target.files.cert, ec);
    if (!ec) tls_.use_private_key_file(target.files.key, net::ssl::context::pem, ec);
    if (!ec) tls_.load_verify_file(target.files.peer_ca, ec);
    if (!ec) tls_.set_verify_mode(net::ssl::verify_peer, ec);
    if (ec) return absl::InvalidArgumentError(absl::StrCat("TLS: ", ec.message()));
    const size_t colon = target.address.rfind(':');
    if (colon == std::string::npos) return absl::InvalidArgumentError("expected IP:PORT");
    tcp::resolver resolver(io_);
    const auto found =
        resolver.resolve(target.address.substr(0, colon), target.address.substr(colon + 1), ec);
    if (ec || found.empty()) return absl::InvalidArgumentError(absl::StrCat(target.address, ": ?"));
    request_ = absl::StrCat("GET /api/v1/keys/", target.slave,
                            "/enc_keys HTTP/1.1\r\nHost: ", target.address,
                            "\r\nAccept: application/json\r\n\r\n");
    for (int i = 0; i < target.connections; ++i) {
      auto connection = std::make_unique<Connection>(io_, tls_);
      connection->stream.next_layer().connect(found.begin()->endpoint(), ec);
      if (!ec) connection->stream.next_layer().set_option(tcp::no_delay(true), ec);
      if (!ec) connection->stream.handshake(Stream::client, ec);
      if (ec) {
        return absl::UnavailableError(absl::StrCat(target.address, ": ", ec.message()));
      }
      connections_.push_back(std::move(connection));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<WindowResult> Run(const WindowPlan& plan) {
    result_ = {};
    failure_ = absl::OkStatus();
    start_ = last_ = Clock::now();
    end_ = start_ + std::chrono::nanoseconds(plan.length.ns);
    open_ = plan.rate > 0;
    const size_t used =
        std::min(connections_.size(), static_cast<size_t>(std::max(1, plan.concurrency)));
    free_.clear();
    due_.clear();
    arrivals_.emplace(start_, open_ ? plan.rate : 1.0);
    for (size_t i = 0; i < used; ++i) {
      if (open_) {
        free_.push_back(connections_[i].get());
      } else {
        Send(*connections_[i], Clock::now());
      }
    }
    if (open_) AwaitArrival();
    io_.restart();
    io_.run();  // Until nothing is under way.
    KEYHOP_RETURN_IF_ERROR(failure_);
    result_.seconds = std::chrono::duration<double>(last_ - start_).count();
    return std::move(result_);
  }

 private:
  void AwaitArrival() {
    if (arrivals_->next() >= end_) return;
    timer_.expires_at(arrivals_->next());
    timer_.async_wait([this](error_code) {
      const Clock::time_point now = Clock::now();
      for (; arrivals_->next() <= now && arrivals_->next() < end_; arrivals_->Advance()) {
        due_.push_back(arrivals_->next());
      }
      SendDue();
      if (failure_.ok()) AwaitArrival();
    });
  }
  void SendDue() {
    while (!due_.empty() && !free_.empty() && failure_.ok()) {
      Connection& connection = *free_.back();
      free_.pop_back();
      Send(connection, due_.front());
      due_.pop_front();
    }
  }

  void Send(Connection& connection, Clock::time_point due) {
    connection.due = due;
    net::async_write(
        connection.stream, net::buffer(request_), [this, &connection](error_code ec, size_t) {
          if (ec) return Fail(ec.message());
          connection.answer.emplace();
          http::async_read(
              connection.stream, connection.buffer, *connection.answer,
              [this, &connection](error_code error, size_t) { Answered(connection, error); });
        });
  }
  void Answered(Connection& connection, error_code ec) {
    if (ec) return Fail(ec.message());
    const auto& answer = connection.answer->get();
    if (answer.result_int() != 200) {
      return Fail(absl::StrCat("a request failed: ", answer.result_int()));
    }
    const Clock::time_point now = Clock::now();
    // In an open loop late answers count too: who leaves them out sees no overload.
    if (open_ || now <= end_) {
      ++result_.done;
      result_.latencies_ns.push_back((now - connection.due).count());
      last_ = now;
    }
    if (open_) {
      free_.push_back(&connection);
      SendDue();
    } else if (now < end_ && failure_.ok()) {
      Send(connection, now);
    }
  }
  void Fail(const std::string& text) {
    if (failure_.ok()) failure_ = absl::UnavailableError(text);
  }

  net::io_context io_{1};
  net::ssl::context tls_{net::ssl::context::tls_client};
  Timer timer_{io_};
  std::string request_;
  std::vector<std::unique_ptr<Connection>> connections_;
  // Of the window under way.
  WindowResult result_;
  absl::Status failure_;
  Clock::time_point start_, end_, last_;
  bool open_ = false;
  std::optional<Arrivals> arrivals_;
  std::deque<Clock::time_point> due_;
  std::vector<Connection*> free_;
};

RestLoad::RestLoad(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RestLoad::~RestLoad() = default;

absl::StatusOr<std::unique_ptr<RestLoad>> RestLoad::Connect(const RestTarget& target) {
  auto impl = std::make_unique<Impl>();
  KEYHOP_RETURN_IF_ERROR(impl->Open(target));
  return absl::WrapUnique(new RestLoad(std::move(impl)));
}

absl::StatusOr<WindowResult> RestLoad::Run(const WindowPlan& plan) { return impl_->Run(plan); }

}  // namespace keyhop::bench
