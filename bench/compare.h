#ifndef KEYHOP_BENCH_COMPARE_H_
#define KEYHOP_BENCH_COMPARE_H_

#include <sys/types.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "bench/load.h"

namespace keyhop::bench {

// One of two works that are compared.
struct Side {
  Load* load = nullptr;
  pid_t server = 0;  // Whose CPU time a request costs; 0: this process's own.
};

struct Comparison {
  std::string name;
  std::string unit;
  Side value;
  Side baseline;
  WindowPlan plan;
  int windows = 7;  // Of each.
  // Who goes first changes from window to window, so that a drift of the machine favours neither;
  // false: the baseline always goes first.
  bool take_turns = true;
  std::function<absl::Status()> settle = nullptr;  // Before each window, if given.
  double bound = 0;                                // What the ratio shall be at least.
  // A slower baseline voids the run: the machine was busy with other things, or the baseline is
  // not what it should be. 0: none.
  double baseline_min = 0;
};

struct Report {
  std::string json;  // One object, in one line.
  bool is_void = false;
};

// Value and baseline in alternating windows after one short window of each that does not count.
// The report has the medians of both, their ratio, latencies and CPU time for each request;
// `members` is JSON to be added to it (`"a": 1`), asked for at the end.
absl::StatusOr<Report> Compare(const Comparison& comparison,
                               const std::function<std::string()>& members);

// "[1, 2, 3]"
std::string ToJson(const std::vector<double>& values);

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_COMPARE_H_
