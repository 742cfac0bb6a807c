#ifndef KEYHOP_KMS_AK_TLS_LISTENER_H_
#define KEYHOP_KMS_AK_TLS_LISTENER_H_

// clang-format off
#include <utility>  // Boost 1.74 needs it before its awaitable headers.
// clang-format on
#include <atomic>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "kms/ak/tls_loop.h"
#include "kms/base/check.h"

// A server over TLS without its protocol: for the servers' own .cc files, since Asio's coroutines
// take the compiler long.

namespace keyhop {

template <typename T>
using Task = net::awaitable<T, Executor>;
using TlsStream = net::ssl::stream<Socket>;
inline constexpr net::use_awaitable_t<Executor> kAwait;

// Listens, and spreads the connections over threads of its own. Its owner stops it before anything
// goes that `serve` uses. Thread-safe but for Listen and Run.
class TlsListener {
 public:
  // Serves one connection to its end, on the loop's thread.
  using Serve = std::function<Task<void>(std::shared_ptr<Loop> loop, Socket socket)>;

  TlsListener(LoopShared& shared, int threads);
  ~TlsListener() { Stop(); }

  // INVALID_ARGUMENT: bad address; UNAVAILABLE: the address is taken.
  absl::Status Listen(const std::string& address);
  void Run(Serve serve);
  // Closes the listener and idle connections, lets others end, and waits for that. A second call
  // does nothing.
  void Stop();
  uint16_t port() const { return port_; }

 private:
  Task<void> Accept();

  LoopShared& shared_;
  Serve serve_;
  std::vector<std::shared_ptr<Loop>> loops_;
  net::basic_socket_acceptor<tcp, Executor> acceptor_;
  Timer accept_pause_;
  uint16_t port_ = 0;
  Mutex stop_mu_;
  std::vector<std::thread> threads_;
};

// The server's side of a handshake. False: it failed, which was counted, and told to `on_failed`
// (if there is one) with the reason, if it was begun at all. `address` gets the other end's.
Task<bool> TlsHandshake(TlsStream& stream, LoopShared& shared, std::string& address,
                        const std::function<void(const std::string& text)>& on_failed);

// One call that somebody answers once, on whatever thread. Shared, because std::function is copied
// and who answers may outlive the connection.
template <typename Answer>
class LoopCall {
 public:
  // Calls `start(done)` and goes on, on the loop's thread, once `done` was called. Most answers are
  // there when `start` returns: those cost no turn of the loop.
  template <typename Start>
  static Task<Answer> Await(std::shared_ptr<Loop> loop, Start start) {
    const auto call = std::make_shared<LoopCall>(std::move(loop));
    start(std::function<void(Answer)>([call](Answer answer) {
      KEYHOP_CHECK(!call->answer_.has_value(), "a request was answered twice");
      call->answer_ = std::move(answer);
      if (call->state_.exchange(kAnswered) == kAwaited) call->Resume();
    }));
    if (call->state_.load() != kAnswered) {
      const auto wait = [&call](auto resume) {
        // Once it says so, the call may be answered and gone on with by another thread.
        const std::shared_ptr<LoopCall> kept = call;
        kept->resume_.emplace(std::move(resume));
        if (kept->state_.exchange(kAwaited) == kAnswered) kept->Resume();
      };
      co_await net::async_initiate<const net::use_awaitable_t<Executor>, void()>(wait, kAwait);
    }
    co_return *std::move(call->answer_);
  }

  explicit LoopCall(std::shared_ptr<Loop> loop)
      : loop_(std::move(loop)), work_(net::make_work_guard(loop_->io.get_executor())) {}

 private:
  enum State { kAsked, kAwaited, kAnswered };
  using Resumption =
      typename net::async_result<net::use_awaitable_t<Executor>, void()>::handler_type;

  // On the loop's thread.
  void Resume() {
    const std::shared_ptr<Loop> kept = loop_;  // Outlives the call of post().
    net::post(kept->io.get_executor(),
              [go_on = *std::exchange(resume_, std::nullopt)]() mutable { go_on(); });
  }

  const std::shared_ptr<Loop> loop_;
  net::executor_work_guard<Executor> work_;  // An answer is to come: the loop does not end.
  std::atomic<State> state_ = kAsked;
  std::optional<Answer> answer_;
  std::optional<Resumption> resume_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_TLS_LISTENER_H_
