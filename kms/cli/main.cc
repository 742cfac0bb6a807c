// keyhop: the command line for applications and operators. `keyhop --help` says what it does.
#include <cstdio>
#include <cstdlib>
#include <variant>

#include "kms/cli/commands.h"
#include "kms/cli/connection.h"
#include "kms/cli/exit_code.h"
#include "kms/cli/options.h"

namespace keyhop::cli {
namespace {

int Main(int argc, char** argv) {
  // gRPC's own log lines would say less than our error does, and on standard error too.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  const std::variant<Options, int> parsed = ParseCommandLine(argc, argv);
  if (const int* code = std::get_if<int>(&parsed)) return *code;
  const Options& options = std::get<Options>(parsed);
  switch (options.command) {
    case Command::kSaeAdd:
      return RunSaeAdd(options);
    case Command::kInspectCert:
      return RunInspectCert(options);
    case Command::kCompletion:
      return RunCompletion(options);
    default:
      break;
  }
  const absl::StatusOr<Connection> node = Connection::Open(options);
  if (!node.ok()) {
    std::fprintf(stderr, "keyhop: %s\n", std::string(node.status().message()).c_str());
    return kUsage;
  }
  switch (options.command) {
    case Command::kKeyGet:
      return RunKeyGet(options, *node);
    case Command::kKeyFetch:
      return RunKeyFetch(options, *node);
    case Command::kStreamOpen:
      return RunStreamOpen(options, *node);
    case Command::kStreamGet:
      return RunStreamGet(options, *node);
    case Command::kStreamClose:
      return RunStreamClose(options, *node);
    case Command::kKeyWatch:
      return RunKeyWatch(options, *node);
    case Command::kPairStatus:
      return RunPairStatus(options, *node);
    default:
      return RunAdmin(options, *node);
  }
}

}  // namespace
}  // namespace keyhop::cli

int main(int argc, char** argv) { return keyhop::cli::Main(argc, argv); }
