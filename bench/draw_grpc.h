#ifndef KEYHOP_BENCH_DRAW_GRPC_H_
#define KEYHOP_BENCH_DRAW_GRPC_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kms/base/instant.h"
#include "kms/tls/certificate.h"

namespace keyhop::bench {

struct DrawBenchOptions {
  std::string draw_address;  // HOST:PORT of a key manager's gRPC.
  std::string echo_address;  // HOST:PORT of ServeEcho.
  PemFiles files;            // Of the master SAE.
  std::string slave;
  int windows = 7;       // Of each of the two.
  int concurrency = 64;  // Calls under way.
  int channels = 2;
  Duration window = Duration::Millis(1500);
};

// Measures draws per second beside echoes per second, in alternating windows with the same calls
// from one thread. Before each window it waits until the pair's stock has stopped growing, so that
// refills of one window are not paid by the next; what a draw window refills meanwhile is its own
// cost. Returns one JSON object in one line. UNAVAILABLE when a call fails.
absl::StatusOr<std::string> BenchDrawGrpc(const DrawBenchOptions& options);

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_DRAW_GRPC_H_
