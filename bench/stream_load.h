#ifndef KEYHOP_BENCH_STREAM_LOAD_H_
#define KEYHOP_BENCH_STREAM_LOAD_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "bench/grpc_load.h"
#include "bench/load.h"

namespace keyhop::bench {

// DrawStream calls, one on each connection and one thread for each; what is counted are keys. A
// window asks for no more keys than the pair has at hand when it begins, and may end early: its
// rate is of what the stream carries, not of how fast the pool is refilled. Latency is of a
// container, from its credit to its arrival. Not thread-safe.
class StreamLoad final : public Load {
 public:
  static absl::StatusOr<std::unique_ptr<StreamLoad>> Create(const GrpcTarget& target,
                                                            const std::string& slave);
  ~StreamLoad() override;

  // `plan`: only its length counts.
  absl::StatusOr<WindowResult> Run(const WindowPlan& plan) override;

 private:
  class Impl;
  explicit StreamLoad(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_STREAM_LOAD_H_
