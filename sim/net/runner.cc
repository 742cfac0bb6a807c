#include "sim/net/runner.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "kms/base/check.h"

namespace keyhop::sim {
namespace {

constexpr uint64_t kJudgedFromSeeds = 1'000;
constexpr uint64_t kKeysPerSeedMin = 200;

// What a thousand seeds must have seen.
constexpr const char* kProbeNames[] = {
    "key_announced",
    "gap_of_all_told",
    "gap_of_a_node_told",
    "watch_resumed_after_restart",
    "multi_hop_relay_delivered",
    "long_relay_delivered",
    "one_hop_relay_delivered",
    "control_passed_on",
    "refusal_sent",
    "epoch_opened",
    "epoch_reopened",
    "opening_refused",
    "link_lease_confirmed",
    "link_lease_refused",
    "link_lease_lacking",
    "stream_lease_confirmed",
    "stream_lease_refused",
    "lacks_key_said",
    "version_reported",
    "alarm_rollback",
    "alarm_failed_tag",
    "module_waits",
    "draw_ok",
    "draw_unavailable",
    "draw_after_restart",
    "draw_while_slave_km_is_down",
    "draw_in_partition",
    "key_spans_segments",
    "segment_split",
    "segment_split_in_three",
    "split_segment_delivered",
    "share_forged",
    "multicast_delivered",
    "multicast_fetched_by_all",
    "multicast_unavailable",
    "supply_stands",
    "supply_refused",
    "supply_cancelled",
    "supplied_key_fetched",
    "supplied_key_fetched_after_restart",
    "supplied_key_expired",
    "fetch_after_restart_of_slave_km",
    "fetch_after_restart_of_master_km",
    "fetch_unavailable",
    "fetch_before_hello",
    "used_key_refused",
    "unauthorized_fetch_refused",
    "unknown_key_refused",
    "answer_repeated",
    "answer_repeated_after_start",
    "other_request_refused",
};

// One line, fields separated by tabs; texts of violations have none.
std::string Encode(const SeedReport& report) {
  const RunResult& run = report.run;
  std::ostringstream out;
  out << report.seed << '\t' << (run.violation ? run.violation->invariant : "-") << '\t'
      << (run.violation ? run.violation->text : "-") << '\t' << run.events << '\t'
      << run.keys_delivered << '\t' << run.relays << '\t' << run.crashes << '\t' << run.trace_hash;
  for (uint64_t count : run.faults) out << '\t' << count;
  for (const auto& [name, count] : run.probes) out << '\t' << name << '\t' << count;
  std::string line = out.str();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line + "\n";
}

SeedReport Decode(const std::string& line) {
  std::istringstream in(line);
  SeedReport report;
  RunResult& run = report.run;
  std::string field;
  const auto next = [&] {
    std::getline(in, field, '\t');
    return std::strtoull(field.c_str(), nullptr, 10);
  };
  report.seed = next();
  Violation violation;
  std::getline(in, violation.invariant, '\t');
  std::getline(in, violation.text, '\t');
  if (violation.invariant != "-") run.violation = std::move(violation);
  run.events = next();
  run.keys_delivered = next();
  run.relays = next();
  run.crashes = next();
  run.trace_hash = next();
  for (uint64_t& count : run.faults) count = next();
  std::string name;
  while (std::getline(in, name, '\t')) run.probes[name] = next();
  return report;
}

struct Worker {
  pid_t pid = -1;
  int pipe = -1;
  uint64_t next_seed = 0;  // Under way, or to be done next.
  std::string buffer;
};

void WriteAll(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(2);  // The parent went away.
    done += static_cast<size_t>(n);
  }
}

}  // namespace

SeedReport RunSeed(uint64_t seed, std::optional<Bug> bug) {
  SeedReport report{seed, World(seed, bug).Run()};
  if (bug || report.run.violation) return report;
  const RunResult second = World(seed, bug, {}, Watch::kTraceOnly).Run();
  if (second.trace_hash != report.run.trace_hash || second.events != report.run.events) {
    report.run.violation = Violation{"trace", "two runs of one seed differ"};
  }
  return report;
}

void RunSeeds(uint64_t first_seed, uint64_t seeds, unsigned jobs, std::optional<Bug> bug,
              const std::function<bool(SeedReport)>& on_report) {
  const uint64_t end = first_seed + seeds;
  jobs = static_cast<unsigned>(std::min<uint64_t>(jobs == 0 ? 1 : jobs, seeds));
  std::vector<Worker> workers(jobs);
  const auto start = [&](Worker& worker) {
    int fds[2];
    KEYHOP_CHECK(pipe(fds) == 0, "no pipe to a worker");
    worker.buffer.clear();
    worker.pid = fork();
    KEYHOP_CHECK(worker.pid >= 0, "cannot start a worker");
    if (worker.pid == 0) {
      close(fds[0]);
      for (uint64_t s = worker.next_seed; s < end; s += jobs) {
        WriteAll(fds[1], Encode(RunSeed(s, bug)));
      }
      _exit(0);
    }
    close(fds[1]);
    worker.pipe = fds[0];
  };
  for (unsigned j = 0; j < jobs; ++j) {
    workers[j].next_seed = first_seed + j;
    start(workers[j]);
  }
  bool go_on = true;
  const auto take_lines = [&](Worker& worker) {
    for (size_t at; go_on && (at = worker.buffer.find('\n')) != std::string::npos;) {
      const std::string line = worker.buffer.substr(0, at);
      worker.buffer.erase(0, at + 1);
      worker.next_seed += jobs;
      go_on = on_report(Decode(line));
    }
  };
  while (go_on) {
    std::vector<pollfd> polls;
    std::vector<Worker*> polled;
    for (Worker& worker : workers) {
      if (worker.pipe < 0) continue;
      polls.push_back({worker.pipe, POLLIN, 0});
      polled.push_back(&worker);
    }
    if (polls.empty()) break;
    if (poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR) break;
    for (size_t i = 0; i < polls.size() && go_on; ++i) {
      if (polls[i].revents == 0) continue;
      Worker& worker = *polled[i];
      char bytes[16 * 1024];
      const ssize_t n = read(worker.pipe, bytes, sizeof(bytes));
      if (n > 0) {
        worker.buffer.append(bytes, static_cast<size_t>(n));
        take_lines(worker);
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      close(worker.pipe);
      worker.pipe = -1;
      int status = 0;
      waitpid(worker.pid, &status, 0);
      worker.pid = -1;
      if (worker.next_seed >= end) continue;
      SeedReport died{worker.next_seed, {}};
      died.run.violation = Violation{"check", "the process ended (a check of the core failed)"};
      worker.next_seed += jobs;
      go_on = on_report(std::move(died));
      if (go_on && worker.next_seed < end) start(worker);
    }
  }
  for (Worker& worker : workers) {
    if (worker.pipe >= 0) close(worker.pipe);
    if (worker.pid > 0) {
      kill(worker.pid, SIGKILL);
      waitpid(worker.pid, nullptr, 0);
    }
  }
}

Totals::Totals() {
  for (const char* name : kProbeNames) probes[name] = 0;
}

void Totals::Add(const SeedReport& report) {
  const RunResult& run = report.run;
  ++seeds;
  violations += run.violation ? 1 : 0;
  events += run.events;
  keys_delivered += run.keys_delivered;
  relays += run.relays;
  crashes += run.crashes;
  for (size_t i = 0; i < kFaultCount; ++i) faults[i] += run.faults[i];
  for (const auto& [name, count] : run.probes) probes[name] += count;
}

std::string Totals::Json() const {
  std::ostringstream out;
  out << "{\"seeds\": " << seeds << ", \"violations\": " << violations << ", \"events\": " << events
      << ", \"keys_delivered\": " << keys_delivered << ", \"relays\": " << relays
      << ", \"crashes\": " << crashes << ", \"faults\": {";
  for (size_t i = 0; i < kFaultCount; ++i) {
    out << (i == 0 ? "" : ", ") << '"' << kFaultNames[i] << "\": " << faults[i];
  }
  out << "}, \"probes\": {";
  bool first = true;
  for (const auto& [name, count] : probes) {
    out << (first ? "" : ", ") << '"' << name << "\": " << count;
    first = false;
  }
  out << "}}";
  return out.str();
}

std::vector<std::string> Totals::Shortfalls() const {
  std::vector<std::string> out;
  if (seeds < kJudgedFromSeeds) return out;
  for (const auto& [name, count] : probes) {
    if (count == 0) out.push_back("probe " + name + " was never reached");
  }
  for (size_t i = 0; i < kFaultCount; ++i) {
    if (faults[i] == 0) out.push_back(std::string("fault ") + kFaultNames[i] + " never struck");
  }
  if (keys_delivered < kKeysPerSeedMin * seeds) {
    out.push_back("fewer than 200 keys a seed were delivered");
  }
  return out;
}

}  // namespace keyhop::sim
