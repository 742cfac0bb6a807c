#ifndef KEYHOP_BENCH_CORE_STAR_H_
#define KEYHOP_BENCH_CORE_STAR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "bench/compare.h"
#include "bench/load.h"

// What a draw costs in the core itself, however much the node holds.

namespace keyhop::bench {

// A node's core in the middle of a star of other cores, in virtual time: with each of `peers` it
// has `keys` / `peers` keys of 256 bits at hand, made by relay from pads as in a daemon. A window
// draws one key at a time, from one peer after the other, and counts only the time of those steps;
// between rounds the pools are filled again. Not thread-safe.
class CoreStar final : public Load {
 public:
  // UNAVAILABLE: the pools do not fill.
  static absl::StatusOr<std::unique_ptr<CoreStar>> Create(size_t peers, uint64_t keys);
  ~CoreStar() override;

  // `plan`: only its length counts, of timed work.
  absl::StatusOr<WindowResult> Run(const WindowPlan& plan) override;
  // Keys of 256 bits that all pools together hold now.
  uint64_t keys() const;

 private:
  class Impl;
  explicit CoreStar(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct ScaleBench {
  size_t peers = 1000;
  uint64_t keys = 10'000'000;
  size_t baseline_peers = 2;
  uint64_t baseline_keys = 1000;
  WindowPlan plan = {.length = Duration::Millis(300)};
  int windows = 7;
};
// Draws/s of the large node over draws/s of the small one.
absl::StatusOr<Report> BenchDrawCostScale(const ScaleBench& bench);

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_CORE_STAR_H_
