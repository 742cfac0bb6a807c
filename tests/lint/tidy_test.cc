// Rules about the code itself, run as an ordinary test. Each rule names the folders it holds in,
// those it does not, what it bans there, and what to use instead. A line that must break a rule
// says so with NOLINT(keyhop) and the reason.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keyhop {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Folders = std::vector<std::string>;  // Path prefixes; empty: everywhere.

enum class Part { kCode, kWholeLine };  // kCode: without comments and string literals.

struct Rule {
  Folders in;
  Folders except;
  Part part;
  std::regex banned;
  std::string instead;
};

Rule Ban(Folders in, Folders except, Part part, const char* banned, const char* instead) {
  return {std::move(in), std::move(except), part, std::regex(banned, std::regex::optimize),
          instead};
}

const Folders& Cores() {
  static const auto* cores = new Folders{"kms/core/", "trusted_node/core/"};
  return *cores;
}

std::vector<Rule>* MakeRules() {
  const Folders all;
  const Folders pure = {"kms/core/", "trusted_node/core/", "kms/wire/", "trusted_node/wire/"};
  return new std::vector<Rule>{
      // What the core may know.
      Ban(Cores(), {}, Part::kWholeLine,
          R"(#include <(thread|mutex|shared_mutex|condition_variable|atomic|future|chrono|ctime|time\.h|random|iostream|filesystem|fstream|cstdio|unistd\.h|sys/.*)>)",
          "inputs and effects: the core has no clock, threads, randomness or I/O"),
      Ban(Cores(), {}, Part::kWholeLine,
          R"(#include [<"](grpc|google/protobuf|openssl|rocksdb|prometheus|spdlog|yaml-cpp|boost/(asio|beast)|absl/(time|random|synchronization|container)|.*\.pb\.h))",
          "an adapter or the wire layer, outside the core"),
      Ban(Cores(), {}, Part::kWholeLine,
          R"re(#include "(sim|tests|bench|kms/(storage|config|tls|telemetry|ak|skip|cli|wire)|trusted_node/(wire|kx|kq1|admin|daemon))/)re",
          "a lower layer"),
      Ban({"kms/core/"}, {}, Part::kWholeLine, R"(#include "kms/base/mutex\.h")",
          "nothing: the core has one thread"),
      Ban({"trusted_node/core/"}, {}, Part::kWholeLine, R"(#include "kms/base/mutex\.h")",
          "nothing: the core has one thread"),
      Ban(Cores(), {}, Part::kCode, R"(\b(flat|node)_hash_(map|set)\b|std::unordered_)",
          "an ordered container: iteration order reaches outputs"),
      Ban(Cores(), {}, Part::kCode, R"(\b(float|double)\b)",
          "integers: replays must agree on every compiler"),
      Ban(pure, {}, Part::kCode, R"(::now\(\)|\bgetenv\(|\btime\()", "an Instant passed in"),
      // Layers.
      Ban({"kms/", "proto/"}, {}, Part::kWholeLine, R"(#include "trusted_node/)",
          "an interface in kms: kms never uses trusted_node"),
      Ban(all, {"tests/", "bench/"}, Part::kWholeLine, R"(#include "(tests|bench)/)",
          "code outside tests and bench"),
      Ban(all, {"sim/", "bench/", "tests/"}, Part::kWholeLine, R"(#include "sim/)",
          "nothing: no daemon links the simulators"),
      Ban({"sim/net/"}, {}, Part::kWholeLine, R"(#include [<"](grpc|rocksdb|boost/asio))",
          "the cores alone"),
      Ban(all,
          {"kms/base/", "kms/crypto/", "kms/tls/", "kms/ak/", "docs/examples/", "tests/", "bench/"},
          Part::kWholeLine, R"(#include <openssl/)", "kms/crypto"),
      // Tools that mislead on our platform.
      Ban(all, {}, Part::kCode,
          R"(\babsl::(Mutex|MutexLock|CondVar|Notification|BlockingCounter)\b)",
          "keyhop::Mutex: the packaged absl::Mutex is invisible to ThreadSanitizer"),
      Ban(all, {"kms/base/", "tests/"}, Part::kCode,
          R"(\bstd::(shared_|recursive_|timed_)?mutex\b)",
          "keyhop::Mutex, which carries annotations"),
      Ban(all, {}, Part::kCode,
          R"(\bstd::(source_location|format|format_to|expected|views|ranges::views|print)\b)",
          "what both g++ 12 and clang 14 have"),
      Ban(all, {}, Part::kWholeLine, R"(^#include "absl/log/)",
          "kms/base/check.h, or spdlog in the daemon"),
      Ban(all, {}, Part::kCode, R"(\bsleep_(for|until)\b|\bu?sleep\(|\bnanosleep\(|absl::SleepFor)",
          "a condition variable, a deadline or an event"),
      // Secrets.
      Ban(all, {}, Part::kCode, R"(\b(Short|Utf8)?DebugString\(|\bTextFormat::|\bMessageToJson)",
          "text of chosen fields: a message may hold key bytes"),
      Ban(all, {}, Part::kCode, R"(\bmemset\(|\bbzero\()", "OPENSSL_cleanse, or initialisers"),
      Ban(all, {"sim/", "bench/", "tests/"}, Part::kCode,
          R"(\b(mt19937(_64)?|minstd_rand0?|random_device|default_random_engine)\b|\bs?rand\()",
          "kms/crypto/entropy.h"),
      // Work left over.
      Ban(all, {"tests/lint/"}, Part::kWholeLine, R"(\b(TODO|FIXME|XXX|HACK)\b)", "an issue"),
  };
}

const std::vector<Rule>& Rules() {
  static const std::vector<Rule>* rules = MakeRules();
  return *rules;
}

bool StartsWithAny(const std::string& path, const Folders& folders) {
  return std::any_of(folders.begin(), folders.end(),
                     [&](const std::string& folder) { return path.rfind(folder, 0) == 0; });
}

// The line without string literals and `//` comments.
std::string CodeOf(const std::string& line) {
  std::string code;
  bool in_string = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (in_string) {
      if (line[i] == '\\')
        ++i;
      else if (line[i] == '"')
        in_string = false;
      continue;
    }
    if (line[i] == '"' && !(i > 0 && line[i - 1] == '\'')) {
      in_string = true;
      continue;
    }
    if (line[i] == '/' && i + 1 < line.size() && line[i + 1] == '/') break;
    code.push_back(line[i]);
  }
  return code;
}

std::string GuardOf(std::string path) {
  for (char& c : path) c = std::isalnum(static_cast<unsigned char>(c)) ? std::toupper(c) : '_';
  return "KEYHOP_" + path + "_";
}

constexpr int kLinesMax = 500;

std::vector<std::string> Problems(const std::string& path, std::istream& in) {
  std::vector<const Rule*> rules;
  for (const Rule& rule : Rules()) {
    if (!rule.in.empty() && !StartsWithAny(path, rule.in)) continue;
    if (!StartsWithAny(path, rule.except)) rules.push_back(&rule);
  }
  std::vector<std::string> problems;
  std::string line;
  bool guarded = false;
  int number = 0;
  while (std::getline(in, line)) {
    ++number;
    guarded |= line == "#ifndef " + GuardOf(path);
    if (line.find("NOLINT(keyhop)") != std::string::npos) continue;
    const std::string code = CodeOf(line);
    for (const Rule* rule : rules) {
      if (!std::regex_search(rule->part == Part::kCode ? code : line, rule->banned)) continue;
      problems.push_back(path + ":" + std::to_string(number) + ": banned; use " + rule->instead);
    }
  }
  if (number > kLinesMax) {
    problems.push_back(path + ": " + std::to_string(number) + " lines; look for the seam");
  }
  if (fs::path(path).extension() == ".h" && !guarded) {
    problems.push_back(path + ": expected the guard " + GuardOf(path));
  }
  return problems;
}

TEST(TidyTest, TreeFollowsTheRules) {
  std::vector<std::string> problems;
  int files = 0;
  for (const char* folder : {"kms", "trusted_node", "sim", "bench", "docs", "tests"}) {
    if (!fs::exists(folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const fs::path& path = entry.path();
      if (path.extension() != ".h" && path.extension() != ".cc") continue;
      ++files;
      std::ifstream in(path);
      for (auto& problem : Problems(path.string(), in)) problems.push_back(std::move(problem));
    }
  }
  EXPECT_GT(files, 10) << "run from the root of the repository";
  std::string all;
  for (const std::string& problem : problems) all += problem + "\n";
  EXPECT_EQ(all, "");
}

std::vector<std::string> In(const std::string& path, const std::string& text) {
  std::istringstream in(text);
  return Problems(path, in);
}

TEST(TidyTest, KeepsTheCorePure) {
  for (const char* line :
       {"#include <thread>", "#include <chrono>", "#include \"absl/time/clock.h\"",
        "#include \"keyhop/kx/v1/kx.pb.h\"", "#include <openssl/evp.h>",
        "#include \"kms/storage/store.h\"", "std::unordered_map<int, int> m;", "double rate = 0;",
        "auto t = std::chrono::steady_clock::now();"}) {
    EXPECT_THAT(In("kms/core/x.cc", line), Not(IsEmpty())) << line;
    EXPECT_THAT(In("trusted_node/core/link/x.cc", line), Not(IsEmpty())) << line;
  }
}

TEST(TidyTest, AllowsTheSameElsewhere) {
  EXPECT_THAT(In("trusted_node/daemon/x.cc", "#include <thread>\ndouble rate = 0;\n"), IsEmpty());
  EXPECT_THAT(In("kms/crypto/x.cc", "#include <openssl/evp.h>\n"), IsEmpty());
}

TEST(TidyTest, KeepsTheLayersApart) {
  EXPECT_THAT(In("kms/ak/x.cc", "#include \"trusted_node/core/x.h\""), SizeIs(1));
  EXPECT_THAT(In("kms/ak/x.cc", "#include \"tests/x.h\""), SizeIs(1));
  EXPECT_THAT(In("trusted_node/daemon/x.cc", "#include \"sim/prng.h\""), SizeIs(1));
  EXPECT_THAT(In("trusted_node/kx/x.cc", "#include <openssl/ssl.h>"), SizeIs(1));
  EXPECT_THAT(In("sim/net/x.cc", "#include <grpcpp/grpcpp.h>"), SizeIs(1));
}

TEST(TidyTest, LooksAtCodeNotAtWords) {
  EXPECT_THAT(In("kms/core/x.cc", "// A double spend is refused.\n"), IsEmpty());
  EXPECT_THAT(In("kms/core/x.cc", "Fail(\"double\");\n"), IsEmpty());
}

TEST(TidyTest, ReportsSleepsPrintersAndWorkLeftOver) {
  EXPECT_THAT(In("kms/ak/x.cc", "std::this_thread::sleep_for(x);"), SizeIs(1));
  EXPECT_THAT(In("kms/ak/x.cc", "log(m.ShortDebugString());"), SizeIs(1));
  EXPECT_THAT(In("kms/ak/x.cc",
                 "// TO"
                 "DO: later"),
              SizeIs(1));
  EXPECT_THAT(In("kms/ak/x.cc", "absl::MutexLock lock(&mu);"), SizeIs(1));
}

TEST(TidyTest, AcceptsALineThatSaysWhy) {
  EXPECT_THAT(In("kms/ak/x.cc", "usleep(1);  // NOLINT(keyhop): the driver needs it"), IsEmpty());
}

TEST(TidyTest, ExpectsTheGuardThatThePathGives) {
  EXPECT_THAT(In("kms/ak/x.h", "#ifndef X_H\n"),
              ElementsAre("kms/ak/x.h: expected the guard KEYHOP_KMS_AK_X_H_"));
}

TEST(TidyTest, ReportsALongFile) {
  std::string text;
  for (int i = 0; i <= kLinesMax; ++i) text += "\n";
  EXPECT_THAT(In("kms/ak/x.cc", text), SizeIs(1));
}

}  // namespace
}  // namespace keyhop
