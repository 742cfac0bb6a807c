#ifndef KEYHOP_BENCH_GRPC_LOAD_H_
#define KEYHOP_BENCH_GRPC_LOAD_H_

#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "bench/load.h"
#include "kms/tls/certificate.h"

namespace keyhop::bench {

struct GrpcTarget {
  std::string address;  // HOST:PORT of a key manager's gRPC, or of ServeGrpcEcho.
  PemFiles files;       // Of an SAE.
  int channels = 2;     // Connections.
};

// What a pair has, as Get status tells.
struct Stock {
  uint64_t keys = 0;
  uint64_t key_size_bits = 0;
};

// KeyDelivery calls, unary, asynchronous, their answers taken by one thread. Not thread-safe.
class GrpcLoad final : public Load {
 public:
  static absl::StatusOr<std::unique_ptr<GrpcLoad>> Create(const GrpcTarget& target);
  ~GrpcLoad() override;

  // Each call draws one key for `slave`; its key_ID is put at the end of `drawn` if given, which
  // outlives the calls.
  void DrawFor(const std::string& slave, std::deque<std::string>* drawn);
  // Each call fetches one key of `master`, by a key_ID that it takes off the front of `key_ids`;
  // a window ends early when there are none left.
  void FetchFrom(const std::string& master, std::deque<std::string>* key_ids);

  absl::StatusOr<WindowResult> Run(const WindowPlan& plan) override;

  absl::StatusOr<Stock> AskStock(const std::string& slave);
  // Makes all connections, each with its handshake.
  absl::Status Connect();

 private:
  class Impl;
  explicit GrpcLoad(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_GRPC_LOAD_H_
