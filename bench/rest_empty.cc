// Boost 1.74 needs <utility> before its awaitable headers, which Beast includes.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/servers.h"
#include "kms/base/status_macros.h"
#include "kms/tls/asio_context.h"

namespace keyhop::bench {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using net::ip::tcp;
using Executor = net::io_context::executor_type;
using Socket = net::basic_stream_socket<tcp, Executor>;
using Acceptor = net::basic_socket_acceptor<tcp, Executor>;
using Stream = boost::beast::ssl_stream<Socket>;

// One client; keeps itself alive while something is under way.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Socket socket, net::ssl::context& tls, const std::string& body)
      : stream_(std::move(socket), tls), answer_(http::status::ok, 11) {
    answer_.set(http::field::content_type, "application/json");
    answer_.body() = body;
    answer_.prepare_payload();
  }

  void Start() {
    error_code ec;
    stream_.next_layer().set_option(tcp::no_delay(true), ec);
    stream_.async_handshake(net::ssl::stream_base::server,
                            [self = shared_from_this()](error_code error) {
                              if (!error) self->Read();
                            });
  }

 private:
  void Read() {
    request_.emplace();
    http::async_read(stream_, buffer_, *request_,
                     [self = shared_from_this()](error_code ec, size_t) {
                       if (!ec) self->Answer();
                     });
  }
  void Answer() {
    http::async_write(stream_, answer_, [self = shared_from_this()](error_code ec, size_t) {
      if (!ec) self->Read();
    });
  }

  Stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> request_;
  http::response<http::string_body> answer_;
};

class Server {
 public:
  Server(std::shared_ptr<net::ssl::context> tls, std::string body)
      : tls_(std::move(tls)), body_(std::move(body)) {}

  absl::Status Run(const std::string& address) {
    const size_t colon = address.rfind(':');
    if (colon == std::string::npos) return absl::InvalidArgumentError("expected IP:PORT");
    error_code ec;
    const net::ip::address ip = net::ip::make_address(address.substr(0, colon), ec);
    const tcp::endpoint at(ip, static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    if (!ec) acceptor_.open(at.protocol(), ec);
    if (!ec) acceptor_.set_option(net::socket_base::reuse_address(true), ec);
    if (!ec) acceptor_.bind(at, ec);
    if (!ec) acceptor_.listen(net::socket_base::max_listen_connections, ec);
    if (ec) return absl::UnavailableError(absl::StrCat(address, ": ", ec.message()));
    Accept();
    std::thread worker([this] { io_.run(); });
    WaitForEndSignal();
    io_.stop();
    worker.join();
    return absl::OkStatus();
  }

 private:
  void Accept() {
    acceptor_.async_accept([this](error_code ec, Socket socket) {
      if (!ec) std::make_shared<Session>(std::move(socket), *tls_, body_)->Start();
      Accept();
    });
  }

  const std::shared_ptr<net::ssl::context> tls_;
  const std::string body_;
  net::io_context io_{1};
  Acceptor acceptor_{io_};
};

}  // namespace

absl::Status ServeRestEmpty(const std::string& address, const PemFiles& files,
                            const std::vector<std::string>& groups, int key_bytes) {
  BlockEndSignals();
  KEYHOP_ASSIGN_OR_RETURN(auto tls, MakeServerContext(files, groups));
  const std::string key(static_cast<size_t>(key_bytes + 2) / 3 * 4, 'A');
  return Server(std::move(tls),
                absl::StrCat(R"({"keys":[{"key_ID":"00000000-0000-4000-8000-000000000000","key":")",
                             key, R"("}]})"))
      .Run(address);
}

}  // namespace keyhop::bench
