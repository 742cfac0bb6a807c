#ifndef KEYHOP_KMS_AK_TLS_LOOP_H_
#define KEYHOP_KMS_AK_TLS_LOOP_H_

#include <algorithm>
#include <atomic>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <ctime>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "kms/base/instant.h"
#include "kms/base/mutex.h"

// What the threads of a server over TLS have: for the servers' own .cc files.

namespace keyhop {

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;

// Concrete executors: Asio's polymorphic one costs an allocation and a virtual call each time.
using Executor = net::io_context::executor_type;
using Socket = net::basic_stream_socket<tcp, Executor>;
using Clock = std::chrono::steady_clock;
using Timer = net::basic_waitable_timer<Clock, net::wait_traits<Clock>, Executor>;
using TlsContext = std::shared_ptr<net::ssl::context>;

inline Clock::duration ToChrono(Duration d) { return std::chrono::nanoseconds(d.ns); }
inline Instant ToInstant(Clock::time_point t) {
  return {std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count()};
}

struct LoopCounters {
  std::atomic<uint64_t> accepted = 0, refused_over_limit = 0, failed_handshakes = 0,
                        dropped_handshakes = 0, timeouts = 0;
};

// What all threads of a server share.
struct LoopShared {
  LoopShared(int threads, size_t handshakes_max)
      : strangers_max(
            std::max<size_t>(1, handshakes_max / static_cast<size_t>(std::max(1, threads)))) {}

  TlsContext CurrentTls() {
    MutexLock lock(mu);
    return tls;
  }
  void SetTls(TlsContext next) {
    MutexLock lock(mu);
    tls = std::move(next);
  }

  const size_t strangers_max;  // Of each loop.
  LoopCounters loop_counters;
  std::atomic<bool> stopping = false;
  Mutex mu;
  TlsContext tls ABSL_GUARDED_BY(mu);
};

// A connection, as its loop sees it.
class LoopMember {
 public:
  virtual ~LoopMember() = default;
  virtual bool Overdue(Clock::time_point now) const = 0;
  virtual bool idle() const = 0;  // Nothing of it is under way.
  virtual void Close() = 0;
};

// One thread and its connections. All members but `io` are used on that thread only. Held by
// whoever may still post to it, so that a late poster never meets a dead loop.
class Loop {
 public:
  // A connection comes as a stranger: it has not been let in yet. Past the budget of those the
  // oldest is dropped: an honest client needs a few round trips, and a flood pays for each place
  // that it takes with one of its own.
  void Add(LoopMember* connection, LoopShared& shared);
  void NotStrange(LoopMember* connection) { strangers_.remove(connection); }
  void Remove(LoopMember* connection, LoopShared& shared);
  void DropOldestStranger(LoopShared& shared);

  // Ends what is overdue, now and again and again; a timer for each connection would cost more.
  void Sweep(LoopShared& shared);
  // Closes what is idle; Sweep ends with the last connection.
  void End();
  // As in a Date header, of now.
  const std::string& Date();

  net::io_context io{1};

 private:
  std::optional<net::executor_work_guard<Executor>> work_{io.get_executor()};
  Timer sweep_{io};
  std::set<LoopMember*> connections_;
  std::list<LoopMember*> strangers_;  // Of those, oldest first.
  std::time_t date_second_ = 0;
  std::string date_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_TLS_LOOP_H_
