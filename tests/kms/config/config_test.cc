#include "kms/config/config.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Line numbers in the tests below count from its first line.
constexpr char kGood[] = R"(node:
  id: node-a
  state_dir: state
  kek_file: kek
listeners: {rest: "127.0.0.1:0", grpc: "127.0.0.1:0", kx: "127.0.0.1:0", kq1: "127.0.0.1:0", metrics: "127.0.0.1:0", admin: "127.0.0.1:0"}
tls: {node_cert: n.crt, node_key: n.key, node_ca: n.ca, sae_ca: s.ca, operator_ca: o.ca}
delivery:
  key_size_bits: 512
saes:
  - id: sae 1
  - id: 42
links:
  - id: link-ab
    peer: node-b
    peer_kx: 127.0.0.1:7001
    link_key_file: link.key
    unit_bytes: 8KiB
lease: {life: 90m}
)";

absl::StatusOr<config::v1::Config> Parse(const std::string& yaml) {
  return ParseConfig(yaml, "/etc/keyhop/a.yaml", NamedFiles::kNotChecked);
}

std::string ErrorOf(const std::string& yaml) {
  const auto config = Parse(yaml);
  EXPECT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(config.status().message());
}

// The good configuration with one part replaced.
std::string With(const std::string& from, const std::string& to) {
  std::string yaml = kGood;
  EXPECT_THAT(yaml, HasSubstr(from));
  return absl::StrReplaceAll(yaml, {{from, to}});
}

TEST(ConfigTest, ReadsWhatIsGiven) {
  const auto config = Parse(kGood);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->node().id(), "node-a");
  EXPECT_EQ(config->delivery().key_size_bits(), 512u);
  EXPECT_EQ(config->saes(0).id(), "sae 1");
  EXPECT_EQ(config->saes(1).id(), "42");
  EXPECT_EQ(config->links(0).unit_bytes(), 8192u);
  EXPECT_EQ(FromProto(config->lease().life()), Duration::Seconds(5400));
}

TEST(ConfigTest, GivesDefaultsToWhatIsNotGiven) {
  const auto config = Parse(kGood);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->node().secure_heap_bytes(), 4u << 20);
  EXPECT_EQ(config->delivery().max_key_size_bits(), 16384u);
  EXPECT_EQ(config->pools().prefill(), config::v1::NONE);
  EXPECT_EQ(config->log().level(), config::v1::INFO);
  EXPECT_TRUE(config->grpc().reflection());
  EXPECT_EQ(FromProto(config->lease().request_retry()), Duration::Millis(500));
  EXPECT_THAT(config->identity().sae_rules(),
              ElementsAre(config::v1::URI_SAN_KEYHOP, config::v1::CN));
  EXPECT_EQ(config->tls().groups(0), "X25519MLKEM768");
}

TEST(ConfigTest, TakesRelativePathsFromTheFolderOfTheFile) {
  const auto config = Parse(With("state_dir: state", "state_dir: ../var/state"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->node().state_dir(), "/etc/var/state");
  EXPECT_EQ(config->tls().node_cert(), "/etc/keyhop/n.crt");
}

TEST(ConfigTest, NamesLineFieldAndKnownFieldsOfAnUnknownField) {
  const std::string error = ErrorOf(With("key_size_bits: 512", "key_size: 512"));
  EXPECT_THAT(error, StartsWith("/etc/keyhop/a.yaml:8: delivery: unknown field \"key_size\""));
  EXPECT_THAT(error, HasSubstr("key_size_bits"));
}

TEST(ConfigTest, RefusesAValueOutOfRange) {
  EXPECT_EQ(ErrorOf(With("key_size_bits: 512", "key_size_bits: 32768")),
            "/etc/keyhop/a.yaml:8: delivery.key_size_bits: expected a count of bits from 8 to "
            "32760; found \"32768\"");
  EXPECT_EQ(ErrorOf(With("life: 90m", "life: 10ms")),
            "/etc/keyhop/a.yaml:18: lease.life: expected a duration from 1s to 720h (like 500ms "
            "or 10s); found \"10ms\"");
}

TEST(ConfigTest, RefusesTheWrongType) {
  EXPECT_THAT(ErrorOf(With("key_size_bits: 512", "key_size_bits: \"512\"")),
              HasSubstr("without quotes"));
  EXPECT_THAT(ErrorOf(With("key_size_bits: 512", "key_size_bits: [512]")),
              HasSubstr("found a list of 1"));
  EXPECT_THAT(ErrorOf(With("key_size_bits: 512", "key_size_bits:")), HasSubstr("found nothing"));
  EXPECT_THAT(ErrorOf(With("id: node-a", "id: {a: b}")),
              StartsWith("/etc/keyhop/a.yaml:2: node.id: expected an ID"));
  EXPECT_THAT(ErrorOf(With("  - id: sae 1\n  - id: 42\n", "  id: 1\n")),
              HasSubstr("saes: expected a list of at most 4096 items; found a map"));
}

TEST(ConfigTest, RefusesAMissingRequiredField) {
  EXPECT_EQ(ErrorOf(With("  kek_file: kek\n", "")),
            "/etc/keyhop/a.yaml:2: node.kek_file: missing; expected a file that this process can "
            "read");
  EXPECT_THAT(ErrorOf("node: {id: a, state_dir: s, kek_file: k}\n"),
              HasSubstr("listeners: missing; expected a map of fields"));
}

TEST(ConfigTest, RefusesAFieldGivenTwice) {
  EXPECT_EQ(ErrorOf(With("  id: node-a\n", "  id: node-a\n  id: node-c\n")),
            "/etc/keyhop/a.yaml:3: node.id: given twice");
}

TEST(ConfigTest, RefusesTheUnspecifiedEnumValue) {
  EXPECT_THAT(ErrorOf(absl::StrCat(kGood, "log: {level: LOG_LEVEL_UNSPECIFIED}\n")),
              HasSubstr("expected one of ERROR, WARNING, INFO, DEBUG; found"));
}

TEST(ConfigTest, RefusesWhatDoesNotFitTogether) {
  EXPECT_THAT(ErrorOf(With("key_size_bits: 512", "key_size_bits: 260")),
              HasSubstr("a.yaml:8: delivery.key_size_bits: expected a multiple of 8"));
  EXPECT_THAT(ErrorOf(With("key_size_bits: 512", "min_key_size_bits: 512")),
              HasSubstr("expected from min_key_size_bits to max_key_size_bits: 512 to 16384"));
  EXPECT_THAT(ErrorOf(With("    peer_kx: 127.0.0.1:7001\n", "")),
              HasSubstr("a.yaml:13: links[0].peer_kx: missing; node-a has the lower ID and dials"));
  EXPECT_THAT(ErrorOf(With("peer: node-b", "peer: node-a")), HasSubstr("another node"));
  EXPECT_THAT(ErrorOf(With("id: 42", "id: sae 1")),
              HasSubstr("a.yaml:11: saes[1].id: expected an ID that no other SAE has"));
  EXPECT_THAT(ErrorOf(With("unit_bytes: 8KiB", "unit_bytes: 6KiB")), HasSubstr("power of two"));
}

// `count` SAEs, or links to as many nodes, in the place of those of the good configuration.
std::string WithMany(const std::string& list, size_t count) {
  std::string items = absl::StrCat(list, ":\n");
  for (size_t i = 0; i < count; ++i) {
    absl::StrAppend(&items, "  - {id: x", i);
    if (list == "links") absl::StrAppend(&items, ", peer: n", i, ", link_key_file: k");
    absl::StrAppend(&items, list == "links" ? ", peer_kx: \"h:1\"}\n" : "}\n");
  }
  const std::string good = kGood;
  const size_t begin = good.find(list + ":\n");
  const size_t end = good.find(list == "saes" ? "links:" : "lease:");
  return good.substr(0, begin) + items + good.substr(end);
}

TEST(ConfigTest, HoldsToTheLimitsOfANode) {
  for (const auto& [list, max, line] :
       {std::tuple("saes", 4096, 9), std::tuple("links", 1024, 12)}) {
    const auto most = Parse(WithMany(list, max));
    EXPECT_TRUE(most.ok()) << most.status();
    EXPECT_EQ(
        ErrorOf(WithMany(list, max + 1)),
        absl::StrCat("/etc/keyhop/a.yaml:", line + 1, ": ", list, ": expected a list of at most ",
                     max, " items; found a list of ", max + 1));
  }
}

TEST(ConfigTest, NeverCutsASizeWithoutAWord) {
  const std::string good = kGood;
  EXPECT_THAT(ErrorOf(good + "relay: {segment_bytes_max: 16KiB}\n"),
              HasSubstr("a.yaml:19: relay.segment_bytes_max: expected a size in bytes from 256 to "
                        "4KiB (like 4096 or 4KiB); found \"16KiB\""));
  EXPECT_THAT(ErrorOf(good + "relay: {segment_bytes_max: 1022}\n"),
              HasSubstr("a.yaml:19: relay.segment_bytes_max: expected a multiple of 4"));
  EXPECT_THAT(ErrorOf(good + "pools: {target_bytes: 64MiB}\n"),
              HasSubstr("a.yaml:19: pools.target_bytes: expected at most 64000000, which is "
                        "delivery.max_key_count keys of delivery.key_size_bits"));
  EXPECT_THAT(ErrorOf(With("key_size_bits: 512", "max_key_count: 100")),
              HasSubstr("pools.target_bytes: expected at most 3200"));
  EXPECT_THAT(ErrorOf(With("key_size_bits: 512", "max_key_count: 100") +
                      "pools: {target_bytes: 3200, idle_target_bytes: 0}\n"),
              HasSubstr("delivery.max_keys_per_request: expected at most max_key_count, which is "
                        "100"));
}

// A node with SKIP, its block replaced in part. It begins at line 19.
std::string WithSkip(const std::string& from = "", const std::string& to = "") {
  std::string skip = R"(skip:
  listen: 0.0.0.0:443
  local_system_id: KP_A
  psk_file: psk
  encryptors:
    - {sae: sae 1, psk_identity: router-1}
    - {sae: "42", local_system_id: KP_A2}
  remote_systems:
    - {system_id: "KP_[BC]*", sae: sae-9, encryptors: [sae 1]}
    - {system_id: KP_D, sae: sae-8}
)";
  EXPECT_THAT(skip, HasSubstr(from));
  if (!from.empty()) skip = absl::StrReplaceAll(skip, {{from, to}});
  return kGood + skip;
}

TEST(ConfigTest, SkipIsOffUnlessItHasAListener) {
  EXPECT_EQ(Parse(kGood)->skip().listen(), "");
  const auto config = Parse(WithSkip());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->skip().listen(), "0.0.0.0:443");
  EXPECT_EQ(config->skip().psk_file(), "/etc/keyhop/psk");
  EXPECT_EQ(config->skip().unavailable_status(), 503u);
  EXPECT_EQ(config->skip().algorithm(), "QKD-relay-OTP");
  EXPECT_FALSE(config->skip().cbc_suites());
}

TEST(ConfigTest, RefusesSkipThatDoesNotFitTogether) {
  const std::string at = "/etc/keyhop/a.yaml:";
  EXPECT_EQ(ErrorOf(WithSkip("  local_system_id: KP_A\n", "")),
            at + "19: skip.local_system_id: missing; expected this key provider's ID");
  EXPECT_EQ(ErrorOf(WithSkip("sae: sae 1, psk", "sae: sae 2, psk")),
            at + "24: skip.encryptors[0].sae: expected one of saes");
  EXPECT_EQ(ErrorOf(WithSkip("sae: \"42\"", "sae: sae 1")),
            at + "25: skip.encryptors[1].sae: expected an SAE that no other encryptor has");
  EXPECT_EQ(ErrorOf(WithSkip("\"42\",", "\"42\", psk_identity: router-1,")),
            at + "25: skip.encryptors[1].psk_identity: expected an identity that no other "
                 "encryptor has");
  EXPECT_EQ(ErrorOf(WithSkip("  psk_file: psk\n", "")),
            at + "23: skip.encryptors[0].psk_identity: expected skip.psk_file, which has its key");
  EXPECT_EQ(ErrorOf(WithSkip("encryptors: [sae 1]", "encryptors: [sae 1, bob]")),
            at + "27: skip.remote_systems[0].encryptors[1]: expected the sae of another one of "
                 "skip.encryptors");
  EXPECT_EQ(ErrorOf(WithSkip("sae: sae-8}", "sae: sae-8, encryptors: [sae 1]}")),
            at + "25: skip.encryptors[1].sae: expected one of skip.remote_systems that it may use");
  EXPECT_EQ(ErrorOf(WithSkip("skip:\n", "skip:\n  advertise: [\"KP_[BC]*\"]\n")),
            at + "29: skip.remote_systems[1].system_id: expected an ID that one of skip.advertise "
                 "matches");
  EXPECT_EQ(ErrorOf(WithSkip("skip:\n", "skip:\n  unavailable_status: 501\n")),
            at + "20: skip.unavailable_status: expected 503 or 500");
  EXPECT_THAT(
      ErrorOf(absl::StrReplaceAll(
          WithSkip(), {{"key_size_bits: 512", "key_size_bits: 512\n  min_key_size_bits: 264"}})),
      HasSubstr("21: skip.listen: expected delivery.min_key_size_bits"));
  EXPECT_EQ(ErrorOf(std::string(kGood) + "skip: {listen: \"h:1\", local_system_id: A}\n"),
            at + "19: skip.encryptors: expected one or more");
}

// A node with quotas, one line replaced. They begin at line 20.
std::string WithQuotas(const std::string& from = "", const std::string& to = "") {
  std::string quotas = R"(quotas:
  - {sae: sae 1, keys_per_second: 5, bits_per_second: 4096, burst: 2s, share: 3}
  - {sae: sae 1, slave: far away, bits_per_second: 10000000000}
  - {sae: "*", keys_per_second: 1}
  - {sae: "*", slave: sae 1, keys_per_second: 1, burst: 1h}
)";
  EXPECT_THAT(quotas, HasSubstr(from));
  if (!from.empty()) quotas = absl::StrReplaceAll(quotas, {{from, to}});
  return kGood + quotas;
}

TEST(ConfigTest, ReadsQuotasOfSaesPairsAndEverySae) {
  const auto config = Parse(WithQuotas());
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->quotas_size(), 4);
  EXPECT_EQ(config->quotas(0).share(), 3u);
  EXPECT_EQ(config->quotas(1).keys_per_second(), 0u);
  EXPECT_EQ(FromProto(config->quotas(1).burst()), Duration::Seconds(10));
  EXPECT_EQ(config->quotas(1).share(), 1u);
  EXPECT_EQ(config->quotas(2).sae(), "*");
}

TEST(ConfigTest, RefusesQuotasThatDoNotFitTogether) {
  const std::string at = "/etc/keyhop/a.yaml:";
  const std::string twice = "expected one quota for each SAE, and for each SAE and slave";
  EXPECT_EQ(ErrorOf(WithQuotas("sae: sae 1, slave: far away,", "sae: sae 1,")),
            at + "21: quotas[1].sae: " + twice);
  EXPECT_EQ(ErrorOf(WithQuotas("sae: \"*\", slave: sae 1,", "sae: \"*\",")),
            at + "23: quotas[3].sae: " + twice);
  EXPECT_EQ(ErrorOf(WithQuotas("sae: sae 1, slave", "sae: sae 2, slave")),
            at + "21: quotas[1].sae: expected one of saes, or *");
  EXPECT_EQ(ErrorOf(WithQuotas("slave: far away", "slave: sae 1")),
            at + "21: quotas[1].slave: expected one SAE, another than sae");
  EXPECT_EQ(ErrorOf(WithQuotas("slave: far away", "slave: \"*\"")),
            at + "21: quotas[1].slave: expected one SAE, another than sae");
  EXPECT_THAT(ErrorOf(WithQuotas("slave: far away", "slave: " + std::string(301, 'x'))),
              StartsWith(at + "21: quotas[1].slave: expected an SAE ID: 1 to 300 bytes"));
  EXPECT_EQ(ErrorOf(WithQuotas("slave: far away", "share: 2, slave: far away")),
            at + "21: quotas[1].share: expected none beside slave: a share is an SAE's, not a "
                 "pair's");
  EXPECT_THAT(ErrorOf(WithQuotas("share: 3", "share: 1001")),
              StartsWith(at + "20: quotas[0].share: expected a whole number from 1 to 1000"));
  EXPECT_THAT(ErrorOf(WithQuotas("burst: 1h", "burst: 61m")),
              StartsWith(at + "23: quotas[3].burst: expected a duration from 1ms to 1h"));
  EXPECT_THAT(ErrorOf(WithQuotas("10000000000", "10000000001")),
              StartsWith(at + "21: quotas[1].bits_per_second: expected"));
}

TEST(ConfigTest, LetsTheEndWithTheHigherIdBeDialled) {
  const auto config = Parse(absl::StrReplaceAll(
      kGood, {{"peer: node-b", "peer: node-0"}, {"    peer_kx: 127.0.0.1:7001\n", ""}}));
  EXPECT_TRUE(config.ok()) << config.status();
}

TEST(ConfigTest, RefusesWhatIsNoYaml) {
  EXPECT_THAT(ErrorOf("node: [\n"), HasSubstr("not YAML"));
  EXPECT_THAT(ErrorOf("a\n"), HasSubstr("a map of fields at the top level"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("expected one YAML document; found 0"));
  EXPECT_THAT(ErrorOf("--- {}\n--- {}\n"), HasSubstr("expected one YAML document; found 2"));
}

TEST(ConfigTest, SaysWhichFileIsMissing) {
  const auto config = ParseConfig(kGood, "/nowhere/a.yaml", NamedFiles::kMustExist);
  EXPECT_EQ(config.status().message(),
            "/nowhere/a.yaml:4: node.kek_file: expected a file that this process can read; cannot "
            "read /nowhere/kek");
  EXPECT_EQ(LoadConfig("/nowhere/a.yaml").status().code(), absl::StatusCode::kNotFound);
}

// A field that is added without documentation, or with a default out of its own range, fails here.
void CheckSchema(const google::protobuf::Descriptor& section) {
  for (int i = 0; i < section.field_count(); ++i) {
    const auto& field = *section.field(i);
    const auto& spec = field.options().GetExtension(config::v1::spec);
    EXPECT_NE(spec.text(), "") << field.full_name();
    EXPECT_EQ(field.is_repeated(), spec.items_max() > 0) << field.full_name();
    const bool number = field.cpp_type() == field.CPPTYPE_UINT32 ||
                        field.cpp_type() == field.CPPTYPE_UINT64 ||
                        (field.message_type() != nullptr &&
                         field.message_type()->full_name() == "google.protobuf.Duration");
    EXPECT_EQ(number, !spec.min().empty() && !spec.max().empty()) << field.full_name();
    EXPECT_TRUE(!number || spec.required() || !spec.default_value().empty()) << field.full_name();
    if (field.message_type() != nullptr && !number) CheckSchema(*field.message_type());
  }
}

TEST(ConfigTest, EveryFieldIsDocumented) { CheckSchema(*config::v1::Config::descriptor()); }

TEST(ConfigTest, HelpIsAYamlFileWithUnitsAndRanges) {
  const std::string help = ConfigHelp();
  EXPECT_THAT(help, HasSubstr("  key_size_bits: 256  # (bits, 8 to 32760)"));
  EXPECT_THAT(help, HasSubstr("  - id:  # (ID, required)"));
  // Only what has no default is wrong in it.
  EXPECT_THAT(ErrorOf(help), HasSubstr("node.id: expected an ID"));
}

// The lines of the help, by the full name of their field, read by their indentation.
std::map<std::string, std::string> HelpByField() {
  std::map<std::string, std::string> lines;
  std::vector<std::pair<size_t, std::string>> open;
  for (absl::string_view line : absl::StrSplit(ConfigHelp(), '\n', absl::SkipEmpty())) {
    if (line[0] == '#') continue;
    const size_t indent = line.find_first_not_of(" -");
    const std::string name(line.substr(indent, line.find(':') - indent));
    while (!open.empty() && open.back().first >= indent) open.pop_back();
    open.emplace_back(indent, open.empty() ? name : absl::StrCat(open.back().second, ".", name));
    lines[open.back().second] = std::string(line);
  }
  return lines;
}

void CheckHelp(const google::protobuf::Descriptor& section, const std::string& path,
               const std::map<std::string, std::string>& help) {
  for (int i = 0; i < section.field_count(); ++i) {
    const auto& field = *section.field(i);
    const auto& spec = field.options().GetExtension(config::v1::spec);
    const std::string name = path + field.name();
    ASSERT_TRUE(help.contains(name)) << name;
    const std::string& line = help.at(name);
    EXPECT_THAT(line, HasSubstr(spec.text()));
    if (!spec.default_value().empty()) {
      const std::string value =
          field.is_repeated() ? absl::StrCat("[", spec.default_value(), "]") : spec.default_value();
      EXPECT_THAT(line, HasSubstr(absl::StrCat(field.name(), ": ", value, "  # (")));
    }
    if (!spec.min().empty()) {
      EXPECT_THAT(line, HasSubstr(absl::StrCat(spec.min(), " to ", spec.max())));
    }
    if (field.is_repeated()) {
      EXPECT_THAT(line, HasSubstr(absl::StrCat("at most ", spec.items_max())));
    }
    if (spec.required() && field.message_type() == nullptr) {
      EXPECT_THAT(line, HasSubstr("required"));
    }
    const std::map<config::v1::Kind, std::string> units = {
        {config::v1::KIND_BYTES, "(bytes"},
        {config::v1::KIND_BITS, "(bits"},
        {config::v1::KIND_PER_SECOND, "(per second"}};
    if (const auto unit = units.find(spec.kind()); unit != units.end()) {
      EXPECT_THAT(line, HasSubstr(unit->second));
    }
    if (field.message_type() == nullptr) continue;
    if (field.message_type()->full_name() == "google.protobuf.Duration") {
      EXPECT_THAT(line, HasSubstr("(duration"));
    } else {
      CheckHelp(*field.message_type(), name + ".", help);
    }
  }
}

TEST(ConfigTest, HelpTellsEveryDefaultLimitAndUnit) {
  CheckHelp(*config::v1::Config::descriptor(), "", HelpByField());
}

class KeyFileTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& content) {
    const std::string path =
        ::testing::TempDir() + "/keyhop_key_file_test_" + std::to_string(getpid()) + ".key";
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
};

TEST_F(KeyFileTest, ReadsHexDigits) {
  for (const char* end : {"", "\n", "\r\n"}) {
    const std::string path = Write(absl::StrCat("00ff7Fa0", end));
    const auto key = ReadKeyFile(path, 4);
    ASSERT_TRUE(key.ok()) << key.status();
    const auto bytes = key->Expose(SecretAccess::ForTest());
    EXPECT_THAT(std::vector<int>(bytes.begin(), bytes.end()), ElementsAre(0x00, 0xff, 0x7f, 0xa0));
    std::filesystem::remove(path);
  }
}

TEST_F(KeyFileTest, RefusesAnythingElseWithoutQuotingIt) {
  for (const char* content : {"", "00ff7f", "00ff7fa", "00ff7fa0a0", "00ff7fax", "00ff7fa0 ",
                              "00ff7fa0\n\n", " 00ff7fa0", "0x00ff7fa0"}) {
    const std::string path = Write(content);
    const auto key = ReadKeyFile(path, 4);
    EXPECT_EQ(key.status().message(),
              absl::StrCat(path, ": expected 8 hex digits (4 bytes) and nothing else"))
        << content;
    std::filesystem::remove(path);
  }
  EXPECT_EQ(ReadKeyFile("/nowhere/key", 4).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace keyhop
