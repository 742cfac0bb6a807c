// keyhop-bench: the measuring programs behind bench/run.sh, which starts what they need.
#include <cstdio>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "bench/draw_grpc.h"
#include "bench/echo_server.h"

namespace keyhop::bench {
namespace {

constexpr int kExitUsage = 2;
constexpr char kUsage[] =
    "usage: keyhop-bench echo-server --listen HOST:PORT --ca F --cert F --key F\n"
    "       keyhop-bench draw_grpc --draw HOST:PORT --echo HOST:PORT --ca F --cert F --key F "
    "--slave SAE\n"
    "Started by bench/run.sh.\n";
constexpr int kKeyBytes = 32;

int Usage() {
  std::fputs(kUsage, stderr);
  return kExitUsage;
}

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "keyhop-bench: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Run(int argc, char** argv) {
  if (argc < 2 || argc % 2 != 0) return Usage();
  const std::string command = argv[1];
  std::map<std::string, std::string> options;
  for (int i = 2; i + 1 < argc; i += 2) {
    if (!absl::StartsWith(argv[i], "--")) return Usage();
    options[argv[i] + 2] = argv[i + 1];
  }
  const PemFiles files{options["cert"], options["key"], options["ca"]};
  if (command == "echo-server") return Report(ServeEcho(options["listen"], files, kKeyBytes));
  if (command != "draw_grpc") return Usage();
  DrawBenchOptions draw;
  draw.draw_address = options["draw"];
  draw.echo_address = options["echo"];
  draw.files = files;
  draw.slave = options["slave"];
  const absl::StatusOr<std::string> line = BenchDrawGrpc(draw);
  if (!line.ok()) return Report(line.status());
  std::printf("%s\n", line->c_str());
  return 0;
}

}  // namespace
}  // namespace keyhop::bench

int main(int argc, char** argv) { return keyhop::bench::Run(argc, argv); }
