#include "sim/netsim/run_command.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <system_error>

#include "sim/netsim/files.h"
#include "sim/scenario/report.h"
#include "sim/scenario/scenario.h"
#include "sim/scenario/scenario_world.h"

namespace keyhop::sim {
namespace {

constexpr int kBarWidth = 40;

// A bar on a terminal, at most ten times a second.
class Progress {
 public:
  void Show(Duration done, Duration of) {
    if (isatty(STDERR_FILENO) == 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (done < of && now - shown_ < std::chrono::milliseconds(100)) return;
    shown_ = now;
    const int full = static_cast<int>(done.ns / (of.ns / kBarWidth + 1));
    std::fprintf(stderr, "\r[%-*s] %lld of %lld virtual seconds ", kBarWidth,
                 std::string(static_cast<size_t>(full), '#').c_str(),
                 static_cast<long long>(done.millis() / 1000),
                 static_cast<long long>(of.millis() / 1000));
    if (done == of) std::fputc('\n', stderr);
  }

 private:
  std::chrono::steady_clock::time_point shown_ = {};
};

bool WriteAll(const std::string& folder, const std::map<std::string, std::string>& files) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  for (const auto& [name, text] : files) {
    if (!WriteFile((std::filesystem::path(folder) / name).string(), text)) return false;
  }
  return true;
}

}  // namespace

int RunCommand(const std::string& scenario_file, const std::string& out_folder) {
  const absl::StatusOr<Scenario> scenario = LoadScenario(scenario_file);
  if (!scenario.ok()) {
    std::fprintf(stderr, "keyhop-netsim: %s\n", std::string(scenario.status().message()).c_str());
    return 2;
  }
  Progress progress;
  const auto outcome =
      RunScenario(*scenario, [&](Duration done, Duration of) { progress.Show(done, of); });
  if (!outcome.ok()) {
    std::fprintf(stderr, "keyhop-netsim: %s: %s\n", scenario_file.c_str(),
                 std::string(outcome.status().message()).c_str());
    return 2;
  }
  const std::map<std::string, std::string> files = ReportFiles(*scenario, *outcome);
  if (!WriteAll(out_folder, files)) return 3;
  std::printf("%s", files.at("result.json").c_str());
  if (!outcome->violation) return 0;
  std::fprintf(stderr, "keyhop-netsim: %s violated: %s\n", outcome->violation->invariant.c_str(),
               outcome->violation->text.c_str());
  return 1;
}

}  // namespace keyhop::sim
