#include "bench/delivery_bench.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/grpc_load.h"
#include "bench/rest_load.h"
#include "bench/stream_load.h"
#include "kms/base/status_macros.h"

namespace keyhop::bench {
namespace {

constexpr std::chrono::milliseconds kSettleStep(200);
constexpr std::chrono::seconds kSettleMax(10);
constexpr int kStillSteps = 2;
constexpr double kIdlePart = 0.1;  // Of one core, both nodes together.
// Half of what empty servers do on the machine of DESIGN's figures (docs/speed.md).
constexpr double kGrpcEchoMin = 9'000;
constexpr double kRestEmptyMin = 20'000;

// Waits until the pools of both nodes are full, which shows in nodes that do nothing any more: the
// stock itself is not all told by Get status.
class Settler {
 public:
  Settler(GrpcLoad& node, const DeliveryBench& bench) : node_(node), bench_(bench) {}

  absl::Status operator()() {
    const Clock::time_point end = Clock::now() + kSettleMax;
    KEYHOP_ASSIGN_OR_RETURN(double last, CpuSeconds());
    for (int still = 0; still < kStillSteps && Clock::now() < end;) {
      std::this_thread::sleep_for(kSettleStep);  // NOLINT(keyhop): samples a level over time
      KEYHOP_ASSIGN_OR_RETURN(const double next, CpuSeconds());
      still = next - last > kIdlePart * std::chrono::duration<double>(kSettleStep).count()
                  ? 0
                  : still + 1;
      last = next;
    }
    KEYHOP_ASSIGN_OR_RETURN(const Stock stock, node_.AskStock(bench_.slave));
    least_ = std::min(least_, stock.keys);
    key_size_bits_ = stock.key_size_bits;
    return absl::OkStatus();
  }

  std::string Members() const {
    return absl::StrFormat(R"("key_size_bits": %d, "keys_at_hand_min": %d)", key_size_bits_,
                           least_);
  }

 private:
  absl::StatusOr<double> CpuSeconds() const {
    KEYHOP_ASSIGN_OR_RETURN(const double node, CpuSecondsOf(bench_.node_pid));
    KEYHOP_ASSIGN_OR_RETURN(const double slave_node, CpuSecondsOf(bench_.slave_node_pid));
    return node + slave_node;
  }

  GrpcLoad& node_;
  const DeliveryBench& bench_;
  uint64_t least_ = UINT64_MAX;
  uint64_t key_size_bits_ = 0;
};

// Memory that a server keeps for one idle connection.
std::string MemoryMember(const char* name, pid_t server, int count,
                         const std::function<absl::Status()>& connect) {
  const absl::StatusOr<uint64_t> before = ResidentBytesOf(server);
  if (!connect().ok() || !before.ok()) return "";
  const absl::StatusOr<uint64_t> after = ResidentBytesOf(server);
  if (!after.ok() || *after < *before) return "";
  return absl::StrFormat(R"(, "%s": %d)", name, (*after - *before) / static_cast<uint64_t>(count));
}

std::string GrpcMemory(const DeliveryBench& bench) {
  const auto member = [&](const char* name, pid_t server, const std::string& address) {
    std::unique_ptr<GrpcLoad> held;
    return MemoryMember(name, server, bench.memory_connections, [&]() -> absl::Status {
      KEYHOP_ASSIGN_OR_RETURN(held, GrpcLoad::Create({.address = address,
                                                      .files = bench.master_files,
                                                      .channels = bench.memory_connections}));
      return held->Connect();
    });
  };
  return member("connection_bytes", bench.node_pid, bench.grpc) +
         member("baseline_connection_bytes", bench.empty_pid, bench.empty);
}

std::string RestMemory(const DeliveryBench& bench) {
  const auto member = [&](const char* name, pid_t server, const std::string& address) {
    std::unique_ptr<RestLoad> held;
    return MemoryMember(name, server, bench.memory_connections, [&]() -> absl::Status {
      KEYHOP_ASSIGN_OR_RETURN(held, RestLoad::Connect({.address = address,
                                                       .files = bench.master_files,
                                                       .slave = bench.slave,
                                                       .connections = bench.memory_connections}));
      return absl::OkStatus();
    });
  };
  return member("connection_bytes", bench.node_pid, bench.rest) +
         member("baseline_connection_bytes", bench.empty_pid, bench.empty);
}

absl::StatusOr<std::unique_ptr<GrpcLoad>> Drawing(const DeliveryBench& bench,
                                                  const std::string& address,
                                                  std::deque<std::string>* drawn) {
  KEYHOP_ASSIGN_OR_RETURN(auto load, GrpcLoad::Create({.address = address,
                                                       .files = bench.master_files,
                                                       .channels = bench.connections}));
  load->DrawFor(bench.slave, drawn);
  KEYHOP_RETURN_IF_ERROR(load->Connect());
  return load;
}

}  // namespace

absl::StatusOr<Report> BenchDrawGrpc(const DeliveryBench& bench) {
  KEYHOP_ASSIGN_OR_RETURN(const auto draw, Drawing(bench, bench.grpc, nullptr));
  KEYHOP_ASSIGN_OR_RETURN(const auto echo, Drawing(bench, bench.empty, nullptr));
  Settler settler(*draw, bench);
  return Compare({.name = "draw_grpc",
                  .unit = "calls/s",
                  .value = {draw.get(), bench.node_pid},
                  .baseline = {echo.get(), bench.empty_pid},
                  .plan = bench.plan,
                  .windows = bench.windows,
                  .settle = [&] { return settler(); },
                  .bound = 0.8,
                  .baseline_min = kGrpcEchoMin},
                 [&] {
                   return absl::StrCat(settler.Members(), ", \"connections\": ", bench.connections,
                                       GrpcMemory(bench));
                 });
}

absl::StatusOr<Report> BenchDrawRest(const DeliveryBench& bench) {
  KEYHOP_ASSIGN_OR_RETURN(const auto status, Drawing(bench, bench.grpc, nullptr));
  const auto connect = [&](const std::string& address) {
    return RestLoad::Connect({.address = address,
                              .files = bench.master_files,
                              .slave = bench.slave,
                              .connections = bench.plan.concurrency});
  };
  KEYHOP_ASSIGN_OR_RETURN(const auto draw, connect(bench.rest));
  KEYHOP_ASSIGN_OR_RETURN(const auto empty, connect(bench.empty));
  Settler settler(*status, bench);
  return Compare({.name = "draw_rest",
                  .unit = "requests/s",
                  .value = {draw.get(), bench.node_pid},
                  .baseline = {empty.get(), bench.empty_pid},
                  .plan = bench.plan,
                  .windows = bench.windows,
                  .settle = [&] { return settler(); },
                  .bound = 0.7,
                  .baseline_min = kRestEmptyMin},
                 [&] {
                   return absl::StrCat(settler.Members(),
                                       ", \"connections\": ", bench.plan.concurrency,
                                       RestMemory(bench));
                 });
}

absl::StatusOr<Report> BenchDrawStream(const DeliveryBench& bench) {
  KEYHOP_ASSIGN_OR_RETURN(const auto draw, Drawing(bench, bench.grpc, nullptr));
  KEYHOP_ASSIGN_OR_RETURN(const auto stream, StreamLoad::Create({.address = bench.grpc,
                                                                 .files = bench.master_files,
                                                                 .channels = bench.connections},
                                                                bench.slave));
  Settler settler(*draw, bench);
  return Compare(
      {.name = "draw_stream",
       .unit = "keys/s",
       .value = {stream.get(), bench.node_pid},
       .baseline = {draw.get(), bench.node_pid},
       .plan = bench.plan,
       .windows = bench.windows,
       .settle = [&] { return settler(); }},
      [&] { return absl::StrCat(settler.Members(), ", \"connections\": ", bench.connections); });
}

absl::StatusOr<Report> BenchFetchVsDraw(const DeliveryBench& bench) {
  std::deque<std::string> key_ids;
  KEYHOP_ASSIGN_OR_RETURN(const auto draw, Drawing(bench, bench.grpc, &key_ids));
  KEYHOP_ASSIGN_OR_RETURN(auto fetch, GrpcLoad::Create({.address = bench.slave_grpc,
                                                        .files = bench.slave_files,
                                                        .channels = bench.connections}));
  fetch->FetchFrom(bench.master, &key_ids);
  KEYHOP_RETURN_IF_ERROR(fetch->Connect());
  Settler settler(*draw, bench);
  return Compare({.name = "fetch_vs_draw_grpc",
                  .unit = "calls/s",
                  .value = {fetch.get(), bench.slave_node_pid},
                  .baseline = {draw.get(), bench.node_pid},
                  .plan = bench.plan,
                  .windows = bench.windows,
                  .take_turns = false,
                  .settle = [&] { return settler(); },
                  .bound = 0.5},
                 [&] {
                   return absl::StrCat(settler.Members(), ", \"connections\": ", bench.connections,
                                       ", \"not_fetched\": ", key_ids.size());
                 });
}

}  // namespace keyhop::bench
