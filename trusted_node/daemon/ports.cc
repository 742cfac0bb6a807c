#include "trusted_node/daemon/ports.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

constexpr auto kPause = std::chrono::milliseconds(100);

struct Addresses {
  explicit Addresses(const std::string& host_port) {
    const size_t colon = host_port.rfind(':');
    if (colon == std::string::npos) return;
    std::string host = host_port.substr(0, colon);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    const std::string service = host_port.substr(colon + 1);
    if (getaddrinfo(host.c_str(), service.c_str(), &hints, &list) != 0) list = nullptr;
  }
  ~Addresses() {
    if (list != nullptr) freeaddrinfo(list);
  }
  addrinfo* list = nullptr;
};

// 0, or the errno of binding and listening there.
int TryListen(const addrinfo& address) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  int error = 0;
  if (bind(fd, address.ai_addr, address.ai_addrlen) != 0 || listen(fd, 1) != 0) error = errno;
  close(fd);
  return error;
}

int PortOf(const addrinfo& address) {
  return address.ai_family == AF_INET6
             ? ntohs(reinterpret_cast<const sockaddr_in6*>(address.ai_addr)->sin6_port)
             : ntohs(reinterpret_cast<const sockaddr_in*>(address.ai_addr)->sin_port);
}

// The inode of the socket that listens on `port`, as text; empty if none is found.
std::string InodeOfListener(int port) {
  constexpr char kListening[] = "0A";
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream in(table);
    std::string line;
    std::getline(in, line);
    while (std::getline(in, line)) {
      std::istringstream words(line);
      std::string word, local, state, inode;
      words >> word >> local >> word >> state;
      for (int i = 0; i < 6; ++i) words >> inode;
      const size_t colon = local.rfind(':');
      int found = 0;
      if (state == kListening && colon != std::string::npos &&
          absl::SimpleHexAtoi(local.substr(colon + 1), &found) && found == port) {
        return inode;
      }
    }
  }
  return "";
}

}  // namespace

std::string HolderOfPort(int port) {
  const std::string inode = InodeOfListener(port);
  if (inode.empty()) return "another process";
  const std::string wanted = absl::StrCat("socket:[", inode, "]");
  std::error_code error;
  for (const auto& process : std::filesystem::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code denied;
    for (const auto& fd : std::filesystem::directory_iterator(process.path() / "fd", denied)) {
      std::error_code gone;
      if (std::filesystem::read_symlink(fd.path(), gone) != wanted) continue;
      std::string name;
      std::ifstream comm(process.path() / "comm");
      std::getline(comm, name);
      return absl::StrCat("process ", pid, " (", name, ")");
    }
  }
  return "a process of another user";
}

absl::Status WaitForPort(const std::string& host_port, Duration window) {
  const Addresses addresses(host_port);
  if (addresses.list == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(host_port, ": no such address"));
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(window.ns);
  while (true) {
    const int error = TryListen(*addresses.list);
    if (error == 0) return absl::OkStatus();
    if (error != EADDRINUSE) {
      return absl::InvalidArgumentError(
          absl::StrCat(host_port, ": cannot listen: ", std::generic_category().message(error)));
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return absl::UnavailableError(
          absl::StrCat(host_port, ": held by ", HolderOfPort(PortOf(*addresses.list))));
    }
    // The kernel tells nobody when a port becomes free: this polls.
    std::this_thread::sleep_for(kPause);  // NOLINT(keyhop): see above
  }
}

}  // namespace keyhop
