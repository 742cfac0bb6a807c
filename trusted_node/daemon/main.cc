// keyhopd: the key manager of one trusted node. `keyhopd --help` says how it is started.
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "kms/base/line_limit.h"
#include "kms/config/config.h"
#include "kms/crypto/secure_heap.h"
#include "trusted_node/daemon/checks.h"
#include "trusted_node/daemon/daemon.h"

namespace keyhop {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr unsigned kStopSecondsMax = 20;

constexpr char kFooter[] =
    "It runs until SIGTERM or SIGINT; SIGHUP reads the certificates of REST and metrics again.\n"
    "The log goes to standard error, one line an event; \"ready\" says that all listeners are up.\n"
    "Exit codes: 0 ended by a signal; 1 could not start; 2 wrong usage or configuration;\n"
    "74 a write to the store failed: start it again, it recovers.";

// gRPC's own complaints, one bounded line each and a bounded number of them: anybody who can
// connect can cause some.
void LogFromGrpc(gpr_log_func_args* args) {
  static auto* limit = new LineLimit(10, Duration::Seconds(10));
  const Instant now = {std::chrono::duration_cast<std::chrono::nanoseconds>(
                           std::chrono::steady_clock::now().time_since_epoch())
                           .count()};
  if (!limit->Take(now).has_value()) return;
  const std::string file(args->file);
  const std::string message = std::string(args->message).substr(0, 400);
  // gRPC tells neither the certificate nor the field.
  const bool certificate = message.find("certificate verify failed") != std::string::npos;
  spdlog::warn(
      "grpc: {}:{}: {}{}", file.substr(file.rfind('/') + 1), args->line, message,
      certificate ? " Its holder finds why by: keyhop inspect-cert CERT --ca TRUST_STORE" : "");
}

// The soft limit on descriptors is low for programs that still use select(2); this one does not.
void UseAllDescriptors() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void SetUpLog(config::v1::LogLevel level) {
  auto logger = std::make_shared<spdlog::logger>("keyhopd",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  switch (level) {
    case config::v1::ERROR:
      logger->set_level(spdlog::level::err);
      break;
    case config::v1::WARNING:
      logger->set_level(spdlog::level::warn);
      break;
    case config::v1::DEBUG:
      logger->set_level(spdlog::level::debug);
      break;
    default:
      logger->set_level(spdlog::level::info);
  }
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  gpr_set_log_function(LogFromGrpc);
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
  google::protobuf::SetLogHandler(nullptr);  // It would print what strangers send.
}

int Fail(int code, const std::string& text) {
  std::fprintf(stderr, "keyhopd: %s\n", text.c_str());
  return code;
}

int Run(const config::v1::Config& config, const SecureHeap& heap) {
  SetUpLog(config.log().level());
  // Before any thread starts, so that all leave these to sigwait below.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  spdlog::info("keyhopd {} of node {}, process {}", kVersion, config.node().id(), getpid());
  if (!heap.locked) {
    spdlog::warn("the {} bytes for secrets are not locked in memory: raise `ulimit -l`",
                 heap.size_bytes);
  }
  auto daemon = Daemon::Start(config, heap);
  if (!daemon.ok()) {
    spdlog::critical("{}", std::string(daemon.status().message()));
    return kExitFailed;
  }
  spdlog::info("ready");
  int signal = 0;
  while (sigwait(&signals, &signal) == 0 && signal == SIGHUP) {
    const absl::Status reloaded = (*daemon)->ReloadTls();
    if (reloaded.ok()) {
      spdlog::info("certificates read again");
    } else {
      spdlog::error("the old certificates stay in use: {}", std::string(reloaded.message()));
    }
  }
  spdlog::info("signal {}: stopping", signal);
  alarm(kStopSecondsMax);  // Should an answer never come: the store survives that.
  (*daemon)->Stop();
  spdlog::info("stopped");
  spdlog::default_logger()->flush();
  // Without the destructors of gRPC's own statics, which now and then abort (gRPC 1.51).
  _exit(kExitOk);
}

int Main(int argc, char** argv) {
  CLI::App app("keyhopd: key manager of one trusted node of a QKD network.", "keyhopd");
  std::string config_path;
  bool check = false;
  bool help_config = false;
  app.add_option("--config", config_path, "The configuration, YAML");
  app.add_flag("--check-config", check, "Check the configuration and the files it names, and exit");
  app.add_flag("--help-config", help_config, "Print every field of the configuration, and exit");
  app.set_version_flag("--version", std::string("keyhopd ") + kVersion);
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (help_config) {
    std::printf("%s", ConfigHelp().c_str());
    return kExitOk;
  }
  if (config_path.empty()) return Fail(kExitUsage, "--config FILE is needed; try --help");
  if (const char* trace = std::getenv("GRPC_TRACE"); trace != nullptr && *trace != '\0') {
    return Fail(kExitUsage, "GRPC_TRACE is set: gRPC would print messages with keys; unset it");
  }
  umask(077);
  // Debian builds Abseil with its lock-order checks, and gRPC takes locks dozens of times a call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  if (const absl::Status off = DisableCoreDumps(); !off.ok()) {
    return Fail(kExitFailed, std::string(off.message()));
  }
  const absl::StatusOr<config::v1::Config> config = LoadConfig(config_path);
  if (!config.ok()) return Fail(kExitUsage, std::string(config.status().message()));
  UseAllDescriptors();
  // Before any secret is read.
  const absl::StatusOr<SecureHeap> heap = InitSecureHeap(config->node().secure_heap_bytes());
  if (!heap.ok()) return Fail(kExitUsage, std::string(heap.status().message()));
  if (const absl::Status files = CheckFiles(*config); !files.ok()) {
    return Fail(kExitUsage, std::string(files.message()));
  }
  if (check) {
    std::printf("%s: ok\n", config_path.c_str());
    return kExitOk;
  }
  return Run(*config, *heap);
}

}  // namespace
}  // namespace keyhop

int main(int argc, char** argv) { return keyhop::Main(argc, argv); }
