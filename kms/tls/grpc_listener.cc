#include "kms/tls/grpc_listener.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kms/base/check.h"

namespace keyhop {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBacklog = 1024;
// Between two tries while the process or the machine lacks descriptors or memory.
constexpr int kBackoffMs = 100;
// A client that sent less has not sent its certificate and its proof (RFC 8446 §4.4): a ClientHello
// has 200 to 500 bytes (1,700 with post-quantum groups), the smallest certificate message 300.
constexpr uint64_t kCertificateBytesMin = 600;

absl::Status Failed(const std::string& address, const char* what) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen at ", address, ": ", what, ": ", std::strerror(errno)));
}

uint64_t CookieOf(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

struct FreeAddresses {
  void operator()(addrinfo* found) const { freeaddrinfo(found); }
};

absl::StatusOr<std::unique_ptr<addrinfo, FreeAddresses>> Resolve(const std::string& address) {
  const size_t colon = address.rfind(':');
  absl::string_view host = absl::string_view(address).substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      colon == std::string::npos
          ? EAI_NONAME
          : getaddrinfo(std::string(host).c_str(), address.c_str() + colon + 1, &hints, &found);
  if (error != 0 || found == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen at ", address, ": ", gai_strerror(error)));
  }
  return std::unique_ptr<addrinfo, FreeAddresses>(found);
}

int PortOf(int socket) {
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return bound.ss_family == AF_INET6 ? ntohs(reinterpret_cast<sockaddr_in6&>(bound).sin6_port)
                                     : ntohs(reinterpret_cast<sockaddr_in&>(bound).sin_port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcListener>> GrpcListener::Listen(
    const std::string& address, const GrpcListenerLimits& limits) {
  const auto found = Resolve(address);
  if (!found.ok()) return found.status();
  const addrinfo& at = **found;
  const int fd = socket(at.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Failed(address, "socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, at.ai_addr, at.ai_addrlen) != 0 || listen(fd, kBacklog) != 0) {
    absl::Status status = Failed(address, "bind");
    close(fd);
    return status;
  }
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  KEYHOP_CHECK(wake >= 0, "no descriptor left at the start");
  return std::unique_ptr<GrpcListener>(new GrpcListener(fd, PortOf(fd), wake, limits));
}

GrpcListener::~GrpcListener() {
  Stop();
  close(wake_);
}

void GrpcListener::AddTo(grpc::ServerBuilder& builder,
                         std::shared_ptr<grpc::ServerCredentials> credentials) {
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             static_cast<int>(limits_.handshake_timeout.count()));
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      std::move(credentials));
}

void GrpcListener::Start() {
  KEYHOP_CHECK(acceptor_ != nullptr, "added to a server before");
  thread_ = std::thread([this] { Run(); });
}

void GrpcListener::Stop() {
  const uint64_t one = 1;
  KEYHOP_CHECK(write(wake_, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN, "eventfd");
  if (thread_.joinable()) thread_.join();
  if (socket_ >= 0) close(std::exchange(socket_, -1));
}

GrpcListenerCounts GrpcListener::counts() const {
  MutexLock lock(mu_);
  return counts_;
}

void GrpcListener::Run() {
  pollfd waits[] = {{wake_, POLLIN, 0}, {socket_, POLLIN, 0}};
  while (true) {
    if (poll(waits, 2, -1) < 0) continue;  // A signal.
    if (waits[0].revents != 0) return;
    const int fd = accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Take(fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      if (poll(waits, 1, kBackoffMs) > 0) return;
    }
    // Whatever else went wrong belongs to that one connection.
  }
}

void GrpcListener::Take(int fd) {
  const Clock::time_point now = Clock::now();
  MakeRoom(now);
  if (fd >= limits_.descriptors_max) {
    close(fd);
    MutexLock lock(mu_);
    ++counts_.refused_over_limit;
    return;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  young_.push_back({fd, CookieOf(fd), now});
  {
    MutexLock lock(mu_);
    ++counts_.accepted;
  }
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = socket_;
  connection.fd = fd;
  acceptor_->HandleNewConnection(&connection);
}

void GrpcListener::MakeRoom(Clock::time_point now) {
  // gRPC itself ends a handshake that takes longer.
  while (!young_.empty() && now - young_.front().since >= limits_.handshake_timeout) {
    young_.pop_front();
  }
  while (young_.size() >= limits_.unfinished_max) {
    const bool dropped = DropIfUnfinished(young_.front());
    young_.pop_front();
    if (dropped) {
      MutexLock lock(mu_);
      ++counts_.dropped_unfinished;
    }
  }
}

bool GrpcListener::DropIfUnfinished(const Young& young) {
  // A descriptor of our own: that of gRPC may become another file's at any moment.
  const int fd = fcntl(young.fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return false;
  tcp_info info = {};
  socklen_t size = sizeof(info);
  const bool unfinished = young.cookie != 0 && CookieOf(fd) == young.cookie &&
                          getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
                          info.tcpi_bytes_received < kCertificateBytesMin;
  if (unfinished) shutdown(fd, SHUT_RDWR);  // gRPC sees the end and closes its descriptor.
  close(fd);
  return unfinished;
}

}  // namespace keyhop
