#include "bench/load.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace keyhop::bench {
namespace {

absl::StatusOr<std::string> ReadProc(pid_t pid, const char* name) {
  const std::string path =
      absl::StrCat("/proc/", pid == 0 ? std::string("self") : absl::StrCat(pid), "/", name);
  std::ifstream in(path);
  std::string text;
  if (!std::getline(in, text)) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return text;
}

}  // namespace

Percentiles PercentilesOf(std::vector<int64_t> latencies_ns) {
  if (latencies_ns.empty()) return {};
  std::sort(latencies_ns.begin(), latencies_ns.end());
  const auto at = [&](double part) {
    const auto last = static_cast<double>(latencies_ns.size() - 1);
    return static_cast<double>(latencies_ns[static_cast<size_t>(part * last)]) / 1e3;
  };
  return {at(0.5), at(0.99), at(0.999)};
}

std::string ToJson(const Percentiles& percentiles) {
  return absl::StrFormat(R"({"p50": %.1f, "p99": %.1f, "p99.9": %.1f})", percentiles.p50_us,
                         percentiles.p99_us, percentiles.p999_us);
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

absl::StatusOr<double> CpuSecondsOf(pid_t pid) {
  const absl::StatusOr<std::string> text = ReadProc(pid, "stat");
  if (!text.ok()) return text.status();
  // The second field is the name in brackets, which may hold blanks; utime and stime are the 14th
  // and the 15th (proc(5)).
  std::istringstream fields(text->substr(text->rfind(')') + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

absl::StatusOr<uint64_t> ResidentBytesOf(pid_t pid) {
  const absl::StatusOr<std::string> text = ReadProc(pid, "statm");
  if (!text.ok()) return text.status();
  std::istringstream fields(*text);
  uint64_t size = 0;
  uint64_t resident = 0;
  fields >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace keyhop::bench
