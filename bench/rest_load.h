#ifndef KEYHOP_BENCH_REST_LOAD_H_
#define KEYHOP_BENCH_REST_LOAD_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "bench/load.h"
#include "kms/tls/certificate.h"

namespace keyhop::bench {

struct RestTarget {
  std::string address;  // IP:PORT of a key manager's REST, or of ServeRestEmpty.
  PemFiles files;       // Of an SAE.
  std::string slave;    // Each request draws one key for it (GET enc_keys).
  int connections = 64;
};

// Requests over HTTPS connections that stay open, one under way on each, from one thread. So
// `concurrency` of a plan is at most the number of connections. Not thread-safe.
class RestLoad final : public Load {
 public:
  // Makes all connections. INVALID_ARGUMENT: the address or a file; UNAVAILABLE: no connection.
  static absl::StatusOr<std::unique_ptr<RestLoad>> Connect(const RestTarget& target);
  ~RestLoad() override;

  absl::StatusOr<WindowResult> Run(const WindowPlan& plan) override;

 private:
  class Impl;
  explicit RestLoad(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_REST_LOAD_H_
