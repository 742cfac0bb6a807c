// keyhop-bench: load generators, and the measuring programs behind bench/run.sh, which starts what
// they need.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "bench/core_star.h"
#include "bench/delivery_bench.h"
#include "bench/grpc_load.h"
#include "bench/rest_load.h"
#include "bench/servers.h"

namespace keyhop::bench {
namespace {

constexpr int kExitVoid = 3;
constexpr int kExitUsage = 2;
constexpr int kKeyBytes = 32;

struct Options {
  DeliveryBench bench;
  std::string listen;
  PemFiles files;
  std::vector<std::string> groups;
  // Of `load`.
  std::string target;
  int connections = 2;
  pid_t server = 0;
  double seconds = 5;
  int window_ms = 1000;
};

int Failed(const absl::Status& status) {
  std::fprintf(stderr, "keyhop-bench: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Tell(const absl::StatusOr<Report>& report) {
  if (!report.ok()) return Failed(report.status());
  std::printf("%s\n", report->json.c_str());
  if (!report->is_void) return 0;
  std::fprintf(stderr,
               "keyhop-bench: void: the baseline is below \"baseline_min\", half of what it does "
               "on a quiet machine; run again when nothing else runs\n");
  return kExitVoid;
}

// One load on one server, told in one JSON object.
absl::StatusOr<std::string> RunLoad(const Options& options, bool rest) {
  const auto memory = [&]() -> double {
    const absl::StatusOr<uint64_t> bytes = ResidentBytesOf(options.server);
    return bytes.ok() ? static_cast<double>(*bytes) : 0;
  };
  const auto cpu = [](pid_t pid) { return CpuSecondsOf(pid).value_or(0); };
  const double memory_before = memory();
  std::unique_ptr<Load> load;
  if (rest) {
    absl::StatusOr<std::unique_ptr<RestLoad>> made =
        RestLoad::Connect({.address = options.target,
                           .files = options.files,
                           .slave = options.bench.slave,
                           .connections = options.connections});
    if (!made.ok()) return made.status();
    load = *std::move(made);
  } else {
    absl::StatusOr<std::unique_ptr<GrpcLoad>> made = GrpcLoad::Create(
        {.address = options.target, .files = options.files, .channels = options.connections});
    if (!made.ok()) return made.status();
    (*made)->DrawFor(options.bench.slave, nullptr);
    if (absl::Status status = (*made)->Connect(); !status.ok()) return status;
    load = *std::move(made);
  }
  const double memory_after = memory();
  WindowPlan plan = options.bench.plan;
  plan.length = Duration::Millis(static_cast<int64_t>(options.seconds * 1000));
  const double server_before = cpu(options.server);
  const double client_before = cpu(0);
  absl::StatusOr<WindowResult> result = load->Run(plan);
  if (!result.ok()) return result.status();
  const double done = static_cast<double>(std::max<uint64_t>(1, result->done));
  const double server_us = (cpu(options.server) - server_before) * 1e6 / done;
  const double client_us = (cpu(0) - client_before) * 1e6 / done;
  std::string line = absl::StrFormat(
      R"({"loop": "%s", "asked_rate": %.0f, "rate": %.0f, "done": %d, "seconds": %.2f, )"
      R"("concurrency": %d, "connections": %d, "client_cpu_us": %.1f, )",
      plan.rate > 0 ? "open" : "closed", plan.rate, result->Rate(), result->done, result->seconds,
      plan.concurrency, options.connections, client_us);
  if (options.server != 0) {
    absl::StrAppendFormat(&line, R"("server_cpu_us": %.1f, "connection_bytes": %.0f, )", server_us,
                          std::max(0.0, memory_after - memory_before) / options.connections);
  }
  return line + R"("latency_us": )" + ToJson(PercentilesOf(std::move(result->latencies_ns))) + "}";
}

void AddFiles(CLI::App& app, PemFiles& files, const std::string& prefix) {
  app.add_option("--" + prefix + "cert", files.cert, "PEM file")->required();
  app.add_option("--" + prefix + "key", files.key, "PEM file")->required();
  app.add_option("--" + prefix + "ca", files.peer_ca, "PEM file")->required();
}

void AddBench(CLI::App& app, Options& options) {
  DeliveryBench& bench = options.bench;
  AddFiles(app, bench.master_files, "");
  app.add_option("--grpc", bench.grpc, "The master's node: HOST:PORT")->required();
  app.add_option("--rest", bench.rest, "The same: IP:PORT");
  app.add_option("--node-pid", bench.node_pid, "The same")->required();
  app.add_option("--empty", bench.empty, "The empty server: HOST:PORT");
  app.add_option("--empty-pid", bench.empty_pid, "The same");
  app.add_option("--slave-grpc", bench.slave_grpc, "The slave's node: HOST:PORT");
  app.add_option("--slave-node-pid", bench.slave_node_pid, "The same");
  app.add_option("--slave-cert", bench.slave_files.cert, "PEM file");
  app.add_option("--slave-key", bench.slave_files.key, "PEM file");
  app.add_option("--master", bench.master, "SAE ID")->capture_default_str();
  app.add_option("--slave", bench.slave, "SAE ID")->capture_default_str();
  app.add_option("--windows", bench.windows, "Of each side")
      ->check(CLI::Range(5, 1000))
      ->capture_default_str();
  app.add_option("--window-ms", options.window_ms, "Length of one")->capture_default_str();
  app.add_option("--callers", bench.plan.concurrency, "Requests under way")->capture_default_str();
  app.add_option("--connections", bench.connections, "Of gRPC")->capture_default_str();
}

void AddLoad(CLI::App& app, Options& options) {
  AddFiles(app, options.files, "");
  app.add_option("--target", options.target, "IP:PORT")->required();
  app.add_option("--slave", options.bench.slave, "SAE ID")->required();
  app.add_option("--server-pid", options.server, "To tell its CPU time and memory");
  app.add_option("--seconds", options.seconds, "How long")->capture_default_str();
  app.add_option("--connections", options.connections, "How many")->capture_default_str();
  app.add_option("--callers", options.bench.plan.concurrency, "Requests under way, at most")
      ->capture_default_str();
  app.add_option("--rate", options.bench.plan.rate,
                 "Open loop: requests a second, latency from the moment each was due; 0: closed "
                 "loop")
      ->capture_default_str();
}

int Run(int argc, char** argv) {
  Options options;
  CLI::App app("Load generators and measuring programs of Keyhop", "keyhop-bench");
  app.require_subcommand(1);
  const auto server = [&](const char* name, const char* text) {
    CLI::App* command = app.add_subcommand(name, text);
    command->add_option("--listen", options.listen, "IP:PORT")->required();
    AddFiles(*command, options.files, "");
    return command;
  };
  const CLI::App* grpc_echo = server("grpc-echo", "Empty gRPC server");
  CLI::App* rest_empty = server("rest-empty", "Empty HTTPS server");
  rest_empty->add_option("--groups", options.groups, "TLS groups, as the key manager's");
  CLI::App* load = app.add_subcommand("load", "Draws from one server");
  load->require_subcommand(1);
  AddLoad(*load->add_subcommand("grpc", "Over gRPC"), options);
  CLI::App* load_rest = load->add_subcommand("rest", "Over REST, one request on a connection");
  AddLoad(*load_rest, options);
  CLI::App* draw_grpc = app.add_subcommand("draw_grpc", "Draws over gRPC beside an empty echo");
  CLI::App* draw_rest = app.add_subcommand("draw_rest", "Draws over REST beside an empty server");
  CLI::App* fetch = app.add_subcommand("fetch_vs_draw_grpc", "Durable fetches beside draws");
  ScaleBench scale;
  CLI::App* draw_cost_scale = app.add_subcommand(
      "draw_cost_scale",
      "Draws in the core of a node that holds much beside one that holds little");
  draw_cost_scale->add_option("--peers", scale.peers, "Of the large one")->capture_default_str();
  draw_cost_scale->add_option("--keys", scale.keys, "Of the large one")->capture_default_str();
  draw_cost_scale->add_option("--windows", scale.windows, "Of each")
      ->check(CLI::Range(5, 1000))
      ->capture_default_str();
  CLI::App* stream = app.add_subcommand("draw_stream", "Keys over DrawStream beside unary draws");
  for (CLI::App* command : {draw_grpc, draw_rest, fetch, stream}) AddBench(*command, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }

  options.bench.plan.length = Duration::Millis(options.window_ms);
  options.bench.slave_files.peer_ca = options.bench.master_files.peer_ca;
  if (grpc_echo->parsed() || rest_empty->parsed()) {
    const absl::Status status =
        grpc_echo->parsed()
            ? ServeGrpcEcho(options.listen, options.files, kKeyBytes)
            : ServeRestEmpty(options.listen, options.files, options.groups, kKeyBytes);
    return status.ok() ? 0 : Failed(status);
  }
  if (load->parsed()) {
    const absl::StatusOr<std::string> line = RunLoad(options, load_rest->parsed());
    if (!line.ok()) return Failed(line.status());
    std::printf("%s\n", line->c_str());
    return 0;
  }
  if (draw_grpc->parsed()) return Tell(BenchDrawGrpc(options.bench));
  if (draw_cost_scale->parsed()) return Tell(BenchDrawCostScale(scale));
  if (draw_rest->parsed()) return Tell(BenchDrawRest(options.bench));
  if (stream->parsed()) return Tell(BenchDrawStream(options.bench));
  return Tell(BenchFetchVsDraw(options.bench));
}

}  // namespace
}  // namespace keyhop::bench

int main(int argc, char** argv) { return keyhop::bench::Run(argc, argv); }
