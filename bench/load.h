#ifndef KEYHOP_BENCH_LOAD_H_
#define KEYHOP_BENCH_LOAD_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kms/base/instant.h"

// Load on one server, a window at a time.

namespace keyhop::bench {

using Clock = std::chrono::steady_clock;

struct WindowPlan {
  Duration length = Duration::Millis(1000);
  // Closed loop: this many requests are always under way. Open loop: at most so many are.
  int concurrency = 64;
  // Requests a second, at random moments that do not wait for answers; 0: closed loop.
  double rate = 0;
};

struct WindowResult {
  uint64_t done = 0;   // Answered in time.
  double seconds = 0;  // From the start to the last of them.
  // Of each, in nanoseconds. In an open loop from the moment that the request was due, whether or
  // not it could be sent then: waiting behind a slow answer counts (no coordinated omission).
  std::vector<int64_t> latencies_ns = {};

  double Rate() const { return seconds > 0 ? static_cast<double>(done) / seconds : 0; }
};

// Not thread-safe.
class Load {
 public:
  virtual ~Load() = default;
  // UNAVAILABLE, and why, when a request failed.
  virtual absl::StatusOr<WindowResult> Run(const WindowPlan& plan) = 0;
};

// Moments of an open loop: exponential gaps, the same ones in each run.
class Arrivals {
 public:
  Arrivals(Clock::time_point start, double rate) : next_(start), gap_(rate) {}
  Clock::time_point next() const { return next_; }
  void Advance() { next_ += std::chrono::nanoseconds(static_cast<int64_t>(gap_(random_) * 1e9)); }

 private:
  Clock::time_point next_;
  std::mt19937_64 random_{1};
  std::exponential_distribution<double> gap_;
};

// What the answers of some windows tell about latency.
struct Percentiles {
  double p50_us = 0;
  double p99_us = 0;
  double p999_us = 0;
};
Percentiles PercentilesOf(std::vector<int64_t> latencies_ns);
// {"p50": 1.0, "p99": 2.0, "p99.9": 3.0}
std::string ToJson(const Percentiles& percentiles);

double Median(std::vector<double> values);

// CPU time that a process (0: this one) has used so far, in seconds, and memory it has resident;
// NOT_FOUND once it is gone.
absl::StatusOr<double> CpuSecondsOf(pid_t pid);
absl::StatusOr<uint64_t> ResidentBytesOf(pid_t pid);

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_LOAD_H_
