// keyhop-qkdsim: the simulated QKD link layer. See `keyhop-qkdsim --help`.

#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "kms/crypto/secure_heap.h"
#include "sim/linksim/event_log.h"
#include "sim/linksim/link_config.h"
#include "sim/linksim/link_simulator.h"

namespace keyhop {
namespace {

constexpr int kExitDone = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

constexpr char kHelp[] = R"(keyhop-qkdsim - simulated QKD links for Keyhop key managers

Usage: keyhop-qkdsim --config FILE          run until SIGTERM or SIGINT
       keyhop-qkdsim --config FILE --check  check FILE, print each link's rate, and exit
       keyhop-qkdsim --help

Every link is a pair of QKD modules. Both modules of a pair run in this process: they make the same
random key blocks at the rate that a decoy-state BB84 model gives for the link's length, number them
(run, block), and push them to the key managers (KMs) at both ends over Kq-1, gRPC with mutual TLS.

FILE is YAML. Relative paths are taken from its folder.

  state_dir: qkdsim-state      # run numbers only, no keys; one simulator per folder
  time_speedup: 1              # simulated seconds per second, 0.001 to 1000000
  tls:
    ca: ca.pem                 # trust store of the nodes
    cert: qkd-modules.pem      # certificate of the modules, from that trust store
    key: qkd-modules.key
  links:
    - id: north-south          # as the KMs know the link
      module_pair: 1           # a link may have several pairs; one entry each
      length_km: 35            # or loss_db: 7
      parameters: t12          # t12, gys, apd or snspd: see --check
      block_bytes: 4KiB        # 1KiB to 64KiB, a multiple of the KMs' unit_bytes
      backlog_blocks: 256      # kept for a KM that is away; when full, no key is made
      rate_bps: 500000         # optional: this rate instead of the model's
      # seed: text             # tests only: key bytes that anyone with the seed can compute
      ends:
        - {node: north, kq1: "127.0.0.1:7101"}
        - {node: south, kq1: "127.0.0.1:7201"}

What happens when
  a KM is away         it is tried again, at most a second apart, and then gets what it lacks; the other
                       end goes on until the backlog is full
  this process dies    the next start begins a new run; blocks that only one KM got lack at the other,
                       and their two sides find that out between them
  a link is put down   `keyhop link down` at either KM stops the pair, `link up` lets it go on

The KM's certificate must have the URI subject alternative name keyhop://node/ID of the end's `node`.
A key manager that does not take the blocks says why in this program's log, on standard error: unknown
link, a certificate it does not accept, a block size that does not fit.

Key bytes are in locked memory that is wiped after use, never on disk and never in the log; the copies
inside gRPC's and TLS's own buffers are not in our hands.

Exit: 0 ended by a signal, 1 failed, 2 wrong usage or configuration.
)";

// gRPC's own complaints, one bounded line each, through the same limits as ours.
void LogFromGrpc(gpr_log_func_args* args) {
  static EventLog& log = *new EventLog();
  const absl::string_view path = args->file;
  const size_t slash = path.rfind('/');
  const absl::string_view file = slash == absl::string_view::npos ? path : path.substr(slash + 1);
  log.Write(EventLog::Level::kWarning, MonotonicNow(), "gRPC", absl::StrCat(file, ":", args->line),
            absl::string_view(args->message).substr(0, 400));
}

int Usage(const std::string& problem) {
  std::fprintf(stderr, "keyhop-qkdsim: %s\nTry: keyhop-qkdsim --help\n", problem.c_str());
  return kExitUsage;
}

void PrintRates(const LinkSimConfig& config) {
  std::printf("%-20s %5s %-6s %8s %8s %14s %14s\n", "link", "pair", "device", "loss dB", "QBER %",
              "model bit/s", "made bit/s");
  for (const LinkConfig& link : config.links) {
    std::printf("%-20s %5u %-6s %8.2f %8.2f %14.0f %14.0f\n", link.id.c_str(), link.module_pair,
                link.parameters.c_str(), link.loss_db, 100 * link.rate.qber,
                link.rate.bits_per_second, link.bits_per_second);
  }
}

void LogLinks(const LinkSimConfig& config) {
  for (const LinkConfig& link : config.links) {
    spdlog::info("{}: module pair {}, {} to {}, {:.2f} dB, QBER {:.2f} %, {:.0f} bit/s", link.id,
                 link.module_pair, link.ends[0].node, link.ends[1].node, link.loss_db,
                 100 * link.rate.qber, link.bits_per_second);
    if (link.bits_per_second < 1) {
      spdlog::warn("{}: no key over this loss; a shorter link or rate_bps would give some",
                   link.id);
    }
    if (link.seed.has_value()) {
      spdlog::warn("{}: a seed is given: its keys are not secret, for tests only", link.id);
    }
  }
}

int Run(const LinkSimConfig& config) {
  // Before any thread starts, so that all of them leave these signals to sigwait below.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  LogLinks(config);
  std::atomic<bool> failed = false;
  auto simulator =
      LinkSimulator::Start(config, Duration::Seconds(10), [&failed](const absl::Status& status) {
        spdlog::critical("cannot go on: {}", std::string(status.message()));
        failed = true;
        kill(getpid(), SIGTERM);
      });
  if (!simulator.ok()) {
    spdlog::critical("cannot start: {}", std::string(simulator.status().message()));
    return simulator.status().code() == absl::StatusCode::kInvalidArgument ? kExitUsage
                                                                           : kExitFailed;
  }
  int signal = 0;
  sigwait(&ends, &signal);
  simulator->reset();
  spdlog::info("ended by signal {}", signal);
  return failed ? kExitFailed : kExitDone;
}

int Main(int argc, char** argv) {
  std::string config_path;
  bool check = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      std::fputs(kHelp, stdout);
      return kExitDone;
    }
    if (argument == "--check") {
      check = true;
    } else if (argument == "--config" && i + 1 < argc) {
      config_path = argv[++i];
    } else {
      return Usage(absl::StrCat("unexpected argument '", argument, "'"));
    }
  }
  if (config_path.empty()) return Usage("--config FILE is needed");
  const char* trace = std::getenv("GRPC_TRACE");
  if (trace != nullptr && *trace != '\0') {
    return Usage("GRPC_TRACE is set: gRPC would write key bytes to its log; unset it");
  }
  if (absl::Status status = DisableCoreDumps(); !status.ok()) {
    return Usage(std::string(status.message()));
  }
  const auto heap = InitSecureHeap();
  if (!heap.ok()) return Usage(std::string(heap.status().message()));
  const auto config = LoadLinkSimConfig(config_path);
  if (!config.ok()) return Usage(std::string(config.status().message()));
  if (check) {
    PrintRates(*config);
    return kExitDone;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("qkdsim"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  gpr_set_log_function(&LogFromGrpc);
  if (!heap->locked) {
    spdlog::warn("key memory may be swapped: raise the lock limit (ulimit -l) to {} KiB",
                 heap->size_bytes / 1024);
  }
  return Run(*config);
}

}  // namespace
}  // namespace keyhop

int main(int argc, char** argv) { return keyhop::Main(argc, argv); }
