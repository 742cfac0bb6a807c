#include "bench/compare.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kms/base/status_macros.h"

namespace keyhop::bench {
namespace {

constexpr Duration kWarmUp = Duration::Millis(300);

// What all windows of one side gave.
struct Sum {
  std::vector<double> rates = {};
  std::vector<int64_t> latencies_ns = {};
  double server_seconds = 0;
  double client_seconds = 0;
  uint64_t done = 0;

  double MicrosEach(double seconds) const {
    return done > 0 ? seconds * 1e6 / static_cast<double>(done) : 0;
  }
};

absl::Status RunOne(const Side& side, const WindowPlan& plan, Sum& sum) {
  KEYHOP_ASSIGN_OR_RETURN(const double server_before, CpuSecondsOf(side.server));
  KEYHOP_ASSIGN_OR_RETURN(const double client_before, CpuSecondsOf(0));
  KEYHOP_ASSIGN_OR_RETURN(WindowResult result, side.load->Run(plan));
  KEYHOP_ASSIGN_OR_RETURN(const double server_after, CpuSecondsOf(side.server));
  KEYHOP_ASSIGN_OR_RETURN(const double client_after, CpuSecondsOf(0));
  if (result.done == 0) return absl::UnavailableError("nothing was answered in a window");
  sum.rates.push_back(result.Rate());
  sum.latencies_ns.insert(sum.latencies_ns.end(), result.latencies_ns.begin(),
                          result.latencies_ns.end());
  sum.server_seconds += server_after - server_before;
  sum.client_seconds += client_after - client_before;
  sum.done += result.done;
  return absl::OkStatus();
}

}  // namespace

std::string ToJson(const std::vector<double>& values) {
  return absl::StrCat("[",
                      absl::StrJoin(values, ", ",
                                    [](std::string* out, double value) {
                                      absl::StrAppendFormat(out, "%.0f", value);
                                    }),
                      "]");
}

absl::StatusOr<Report> Compare(const Comparison& comparison,
                               const std::function<std::string()>& members) {
  Sum value;
  Sum baseline;
  const auto window = [&](const Side& side, const WindowPlan& plan, Sum& sum) -> absl::Status {
    if (comparison.settle) KEYHOP_RETURN_IF_ERROR(comparison.settle());
    return RunOne(side, plan, sum);
  };
  WindowPlan warm_up = comparison.plan;
  warm_up.length = std::min(warm_up.length, kWarmUp);
  Sum unused;
  KEYHOP_RETURN_IF_ERROR(window(comparison.baseline, warm_up, unused));
  KEYHOP_RETURN_IF_ERROR(window(comparison.value, warm_up, unused));
  for (int i = 0; i < comparison.windows; ++i) {
    const bool value_first = comparison.take_turns && i % 2 == 0;
    for (const bool is_value : {value_first, !value_first}) {
      KEYHOP_RETURN_IF_ERROR(is_value ? window(comparison.value, comparison.plan, value)
                                      : window(comparison.baseline, comparison.plan, baseline));
    }
  }
  const double value_rate = Median(value.rates);
  const double baseline_rate = Median(baseline.rates);
  Report report;
  report.is_void = baseline_rate < comparison.baseline_min;
  report.json = absl::StrFormat(
      R"({"name": "%s", "value": %.0f, "baseline": %.0f, "ratio": %.3f, "unit": "%s", )"
      R"("windows": %d, "window_seconds": %.2f, "bound": %.2f, "baseline_min": %.0f, )"
      R"("void": %s, "values": %s, "baselines": %s, "concurrency": %d, )"
      R"("latency_us": %s, "baseline_latency_us": %s, )"
      R"("server_cpu_us": %.1f, "baseline_server_cpu_us": %.1f, )"
      R"("client_cpu_us": %.1f, "baseline_client_cpu_us": %.1f)",
      comparison.name, value_rate, baseline_rate, value_rate / baseline_rate, comparison.unit,
      comparison.windows, static_cast<double>(comparison.plan.length.ns) / 1e9, comparison.bound,
      comparison.baseline_min, report.is_void ? "true" : "false", ToJson(value.rates),
      ToJson(baseline.rates), comparison.plan.concurrency,
      ToJson(PercentilesOf(std::move(value.latencies_ns))),
      ToJson(PercentilesOf(std::move(baseline.latencies_ns))),
      value.MicrosEach(value.server_seconds), baseline.MicrosEach(baseline.server_seconds),
      value.MicrosEach(value.client_seconds), baseline.MicrosEach(baseline.client_seconds));
  const std::string more = members ? members() : "";
  absl::StrAppend(&report.json, more.empty() ? "" : ", ", more, "}");
  return report;
}

}  // namespace keyhop::bench
