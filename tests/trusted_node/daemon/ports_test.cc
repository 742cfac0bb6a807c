#include "trusted_node/daemon/ports.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

using ::testing::HasSubstr;

// A socket that listens on a free port of the loopback address.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(fd_, 1), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { Close(); }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int port() const { return port_; }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  int fd_;
  int port_ = 0;
};

TEST(PortsTest, SaysWhoHoldsAPortOnceTheWindowIsOver) {
  const Listener listener;
  const absl::Status held = WaitForPort(listener.address(), Duration::Millis(250));
  EXPECT_EQ(held.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(held.message()),
              HasSubstr(absl::StrCat(listener.address(), ": held by process ", getpid(), " (")));
}

TEST(PortsTest, TakesAPortThatBecomesFreeWithinTheWindow) {
  Listener listener;
  const std::string address = listener.address();
  ASSERT_FALSE(WaitForPort(address, Duration{}).ok());
  std::thread holder([&] { listener.Close(); });
  const absl::Status waited = WaitForPort(address, Duration::Seconds(60));
  EXPECT_TRUE(waited.ok()) << waited;
  holder.join();
}

TEST(PortsTest, RefusesAnAddressThatIsNotOurs) {
  // 192.0.2.0/24 is nobody's (RFC 5737).
  const absl::Status foreign = WaitForPort("192.0.2.1:7000", Duration::Seconds(60));
  EXPECT_EQ(foreign.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(foreign.message()), HasSubstr("192.0.2.1:7000: cannot listen"));
  EXPECT_EQ(WaitForPort("no port", Duration{}).code(), absl::StatusCode::kInvalidArgument);
}

TEST(PortsTest, FindsTheHolderByItsPort) {
  Listener listener;
  EXPECT_THAT(HolderOfPort(listener.port()), HasSubstr(absl::StrCat("process ", getpid(), " (")));
  listener.Close();
  EXPECT_EQ(HolderOfPort(listener.port()), "another process");
}

}  // namespace
}  // namespace keyhop
