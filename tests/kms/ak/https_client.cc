#include "tests/kms/ak/https_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kms/base/check.h"

namespace keyhop {

HttpsClient::HttpsClient(uint16_t port, const std::optional<PemFiles>& files, int tls_version,
                         const std::function<void(SSL_CTX*)>& set_up) {
  signal(SIGPIPE, SIG_IGN);
  fd_ = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  KEYHOP_CHECK(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0,
               "the server listens");
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!files.has_value()) return;
  ctx_ = SSL_CTX_new(TLS_client_method());
  if (tls_version != 0) {
    // Old versions need the lowest security level of this OpenSSL to be offered at all.
    SSL_CTX_set_security_level(ctx_, 0);
    SSL_CTX_set_min_proto_version(ctx_, tls_version);
    SSL_CTX_set_max_proto_version(ctx_, tls_version);
  }
  KEYHOP_CHECK(SSL_CTX_load_verify_file(ctx_, files->peer_ca.c_str()) == 1, "a CA file");
  SSL_CTX_set_verify(ctx_, SSL_VERIFY_PEER, nullptr);
  if (!files->cert.empty()) {
    KEYHOP_CHECK(SSL_CTX_use_certificate_chain_file(ctx_, files->cert.c_str()) == 1, "a cert");
    KEYHOP_CHECK(SSL_CTX_use_PrivateKey_file(ctx_, files->key.c_str(), SSL_FILETYPE_PEM) == 1,
                 "its key");
  }
  if (set_up) set_up(ctx_);
  ssl_ = SSL_new(ctx_);
  SSL_set_fd(ssl_, fd_);
  if (SSL_connect(ssl_) != 1) {
    SSL_free(ssl_);
    ssl_ = nullptr;
  }
}

HttpsClient::~HttpsClient() {
  if (ssl_ != nullptr) SSL_shutdown(ssl_);
  SSL_free(ssl_);
  SSL_CTX_free(ctx_);
  close(fd_);
}

void HttpsClient::Send(absl::string_view bytes) {
  if (ssl_ != nullptr) {
    SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
  } else {
    send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
}

bool HttpsClient::Fill() {
  char chunk[4096];
  const ssize_t n =
      ssl_ != nullptr ? SSL_read(ssl_, chunk, sizeof chunk) : recv(fd_, chunk, sizeof chunk, 0);
  if (n <= 0) return false;
  in_.append(chunk, static_cast<size_t>(n));
  return true;
}

std::optional<HttpsAnswer> HttpsClient::Read(bool head) {
  size_t end;
  while ((end = in_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) return std::nullopt;
  }
  HttpsAnswer answer;
  const std::string header = in_.substr(0, end);
  in_.erase(0, end + 4);
  bool first = true;
  for (const absl::string_view line : absl::StrSplit(header, "\r\n")) {
    if (first) {
      KEYHOP_CHECK(absl::SimpleAtoi(line.substr(9, 3), &answer.status), "a status line");
      first = false;
      continue;
    }
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(line, absl::MaxSplits(": ", 1));
    answer.headers[absl::AsciiStrToLower(pair.first)] = std::string(pair.second);
  }
  size_t size = 0;
  if (const auto it = answer.headers.find("content-length"); it != answer.headers.end() && !head) {
    KEYHOP_CHECK(absl::SimpleAtoi(it->second, &size), "a length");
  }
  while (in_.size() < size) {
    if (!Fill()) return std::nullopt;
  }
  answer.body = in_.substr(0, size);
  in_.erase(0, size);
  return answer;
}

std::optional<HttpsAnswer> HttpsClient::Ask(absl::string_view method, absl::string_view target,
                                            absl::string_view body) {
  std::string request = absl::StrCat(method, " ", target, " HTTP/1.1\r\nHost: kme\r\n");
  if (method == "POST" || !body.empty()) {
    absl::StrAppend(&request, "Content-Length: ", body.size(), "\r\n");
  }
  Send(absl::StrCat(request, "\r\n", body));
  return Read(method == "HEAD");
}

std::string HttpsClient::ReadBytes(size_t size) {
  while (in_.size() < size && Fill()) {
  }
  const std::string out = in_.substr(0, size);
  in_.erase(0, size);
  return out;
}

bool HttpsClient::Ended() { return in_.empty() && !Fill(); }

}  // namespace keyhop
