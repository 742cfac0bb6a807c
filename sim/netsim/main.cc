// keyhop-netsim: networks of Keyhop's cores in virtual time, under faults drawn from a seed.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>

#include "sim/net/runner.h"
#include "sim/netsim/files.h"
#include "sim/netsim/run_command.h"
#include "sim/scenario/scenario.h"

namespace keyhop::sim {
namespace {

constexpr uint64_t kSeedsPerBug = 2'000;
// One after the last of a run is a number too.
constexpr uint64_t kSeedsMax = 1'000'000'000'000;
constexpr uint64_t kSeedMax = 1'000'000'000'000'000'000;

// CLI11 would read "-1" into an unsigned number without a word.
CLI::Validator WholeNumber(uint64_t min, uint64_t max) {
  const auto check = [min, max](const std::string& text) -> std::string {
    uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc() && stop == end && value >= min && value <= max) return "";
    return "expected a whole number from " + std::to_string(min) + " to " + std::to_string(max) +
           "; found \"" + text + "\"";
  };
  return CLI::Validator(check, "NUMBER");
}

struct Options {
  uint64_t seeds = 100;
  uint64_t first_seed = 1;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  std::string json;
  std::string bug;
  bool list_bugs = false;
  bool planted_bugs = false;
  std::optional<uint64_t> seed;
  bool trace = false;
};

bool WriteJson(const std::string& path, const std::string& json) {
  return path.empty() || WriteFile(path, json + "\n");
}

void Progress(const Totals& totals, uint64_t of) {
  if (isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r%llu of %llu seeds, %llu violations ",
               static_cast<unsigned long long>(totals.seeds), static_cast<unsigned long long>(of),
               static_cast<unsigned long long>(totals.violations));
}

int Replay(const Options& options, std::optional<Bug> bug) {
  std::function<void(const std::string&)> trace;
  if (options.trace) trace = [](const std::string& line) { std::puts(line.c_str()); };
  SeedReport report{*options.seed, World(*options.seed, bug, trace).Run()};
  Totals totals;
  totals.Add(report);
  if (report.run.violation) {
    std::printf("seed %llu: %s: %s\n", static_cast<unsigned long long>(report.seed),
                report.run.violation->invariant.c_str(), report.run.violation->text.c_str());
  }
  std::printf("trace %016llx\n%s\n", static_cast<unsigned long long>(report.run.trace_hash),
              totals.Json().c_str());
  return report.run.violation ? 1 : 0;
}

int CheckSeeds(const Options& options, std::optional<Bug> bug) {
  Totals totals;
  RunSeeds(options.first_seed, options.seeds, options.jobs, bug, [&](SeedReport report) {
    totals.Add(report);
    if (report.run.violation) {
      std::printf("seed %llu: %s: %s\n", static_cast<unsigned long long>(report.seed),
                  report.run.violation->invariant.c_str(), report.run.violation->text.c_str());
      std::fflush(stdout);
    }
    Progress(totals, options.seeds);
    return true;
  });
  if (isatty(STDERR_FILENO) != 0) std::fputc('\n', stderr);
  std::vector<std::string> shortfalls = totals.Shortfalls();
  if (totals.seeds != options.seeds) {
    shortfalls.push_back(std::to_string(totals.seeds) + " seeds ran of " +
                         std::to_string(options.seeds));
  }
  for (const std::string& line : shortfalls) std::printf("%s\n", line.c_str());
  const bool written = WriteJson(options.json, totals.Json());
  std::printf("%s\n", totals.Json().c_str());
  return totals.violations == 0 && shortfalls.empty() && written ? 0 : 1;
}

struct Caught {
  uint64_t seed = 0;
  Violation violation;
};

std::optional<Caught> Catch(Bug bug, const Options& options) {
  std::optional<Caught> caught;
  RunSeeds(options.first_seed, kSeedsPerBug, options.jobs, bug, [&](SeedReport report) {
    const auto& violation = report.run.violation;
    if (!violation || violation->invariant.size() != 2 || violation->invariant[0] != 'G') {
      return true;
    }
    // The seed has to pass without the bug.
    bool passes = false;
    RunSeeds(report.seed, 1, 1, std::nullopt, [&](SeedReport clean) {
      passes = !clean.run.violation;
      return true;
    });
    if (!passes) return true;
    caught = Caught{report.seed, *violation};
    return false;
  });
  return caught;
}

int CheckPlantedBugs(const Options& options, std::optional<Bug> only) {
  std::string json = "{\"bugs\": [";
  size_t missed = 0;
  size_t tried = 0;
  for (size_t i = 0; i < kBugCount; ++i) {
    const Bug bug = static_cast<Bug>(i);
    if (only && *only != bug) continue;
    const std::optional<Caught> caught = Catch(bug, options);
    json += std::string(tried++ == 0 ? "" : ", ") + "{\"name\": \"" + InfoOf(bug).name +
            "\", \"caught\": " + (caught ? "true" : "false");
    if (caught) {
      std::printf("%-26s %s at seed %llu: %s\n", InfoOf(bug).name,
                  caught->violation.invariant.c_str(),
                  static_cast<unsigned long long>(caught->seed), caught->violation.text.c_str());
      json += ", \"invariant\": \"" + caught->violation.invariant +
              "\", \"seed\": " + std::to_string(caught->seed);
    } else {
      ++missed;
      std::printf("%-26s NOT CAUGHT in %llu seeds\n", InfoOf(bug).name,
                  static_cast<unsigned long long>(kSeedsPerBug));
    }
    std::fflush(stdout);
    json += "}";
  }
  json += "], \"planted\": " + std::to_string(tried) +
          ", \"caught\": " + std::to_string(tried - missed) + "}";
  const bool written = WriteJson(options.json, json);
  std::printf("%s\n", json.c_str());
  return missed == 0 && written ? 0 : 1;
}

void AddOptions(CLI::App& app, Options& options) {
  app.add_option("--seeds", options.seeds, "How many seeds to run")
      ->check(WholeNumber(1, kSeedsMax))
      ->capture_default_str();
  app.add_option("--first-seed", options.first_seed, "The first of them")
      ->check(WholeNumber(0, kSeedMax))
      ->capture_default_str();
  app.add_option("--jobs", options.jobs, "Processes")->check(CLI::Range(1, 256));
  app.add_option("--json", options.json, "Write the result as one JSON object to this file");
  app.add_option("--bug", options.bug, "Plant this bug (--list-bugs)");
  app.add_flag("--list-bugs", options.list_bugs, "Name the bugs that can be planted");
  app.add_flag("--planted-bugs", options.planted_bugs,
               "Plant each bug in turn; the oracle must catch it");
  app.add_option("--seed", options.seed, "Run one seed once")->check(WholeNumber(0, kSeedMax));
  app.add_flag("--trace", options.trace, "With --seed: print every message and incident");
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Networks of Keyhop nodes in virtual time, under faults drawn from a seed");
  app.fallthrough();
  AddOptions(app, options);
  app.add_subcommand("check", "Run seeds; exit 0 if no invariant was violated");
  std::string scenario;
  std::string out;
  bool help_scenario = false;
  CLI::App* const run = app.add_subcommand(
      "run",
      "Run a scenario and write a report: what each pair was given, what each link and node did.\n"
      "The report: result.json, pairs.csv, links.csv, nodes.csv, events.csv, timeline.csv and\n"
      "report.html with pictures; the same scenario gives the same bytes. Example:\n"
      "  keyhop-netsim run sim/scenarios/ring-10.yaml --out /tmp/ring && xdg-open "
      "/tmp/ring/report.html\n"
      "Exit codes: 0 done; 1 an invariant was violated; 2 the scenario is refused; 3 cannot "
      "write.");
  run->add_option("SCENARIO", scenario, "The scenario, a YAML file (--help-scenario)");
  run->add_option("--out", out, "Folder of the report; made if need be");
  run->add_flag("--help-scenario", help_scenario, "Print the fields of a scenario and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (run->parsed()) {
    if (help_scenario) {
      std::fputs(ScenarioHelp().c_str(), stdout);
      return 0;
    }
    if (scenario.empty() || out.empty()) {
      std::fprintf(stderr, "keyhop-netsim: run needs SCENARIO and --out DIR; see run --help\n");
      return 2;
    }
    return RunCommand(scenario, out);
  }
  if (options.list_bugs) {
    for (size_t i = 0; i < kBugCount; ++i) {
      const BugInfo& info = InfoOf(static_cast<Bug>(i));
      std::printf("%-26s %s\n", info.name, info.what);
    }
    return 0;
  }
  std::optional<Bug> bug;
  if (!options.bug.empty()) {
    bug = FindBug(options.bug);
    if (!bug) {
      std::fprintf(stderr, "keyhop-netsim: no bug '%s'; --list-bugs names them\n",
                   options.bug.c_str());
      return 2;
    }
  }
  if (options.planted_bugs) return CheckPlantedBugs(options, bug);
  if (options.seed) return Replay(options, bug);
  return CheckSeeds(options, bug);
}

}  // namespace
}  // namespace keyhop::sim

int main(int argc, char** argv) { return keyhop::sim::Main(argc, argv); }
