#ifndef KEYHOP_BENCH_DELIVERY_BENCH_H_
#define KEYHOP_BENCH_DELIVERY_BENCH_H_

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"
#include "bench/compare.h"
#include "kms/tls/certificate.h"

// What key delivery costs on a real adjacent pair of key managers, beside empty servers.

namespace keyhop::bench {

struct DeliveryBench {
  // The master, its node's addresses and process.
  PemFiles master_files;
  std::string master = "sae-1";
  std::string grpc;  // HOST:PORT
  std::string rest;  // IP:PORT
  pid_t node_pid = 0;
  // The slave, its node's address and process.
  PemFiles slave_files;
  std::string slave = "sae-2";
  std::string slave_grpc;
  pid_t slave_node_pid = 0;
  // The empty server.
  std::string empty;
  pid_t empty_pid = 0;

  WindowPlan plan;
  int windows = 7;
  int connections = 2;           // Of gRPC; REST has one for each caller.
  int memory_connections = 200;  // Idle ones, to see what memory one takes.
};

// Before each window they wait until the nodes have refilled their pools, so that refills of one
// window are not paid by the next; what a window of draws refills meanwhile is its own cost.
// UNAVAILABLE when a request fails, which an empty pool makes it do.
absl::StatusOr<Report> BenchDrawGrpc(const DeliveryBench& bench);
absl::StatusOr<Report> BenchDrawRest(const DeliveryBench& bench);
// A stream for heavy users beside unary draws: a figure, no bound.
absl::StatusOr<Report> BenchDrawStream(const DeliveryBench& bench);
// The baseline draws the keys that the value fetches, each once, each durable before its answer.
absl::StatusOr<Report> BenchFetchVsDraw(const DeliveryBench& bench);

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_DELIVERY_BENCH_H_
