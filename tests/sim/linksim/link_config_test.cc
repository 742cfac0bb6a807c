#include "sim/linksim/link_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_replace.h"

namespace keyhop {
namespace {

using testing::HasSubstr;

constexpr char kGood[] = R"(state_dir: state
time_speedup: 10
tls: {ca: ca.pem, cert: qkd.pem, key: /abs/qkd.key}
links:
  - id: ab
    module_pair: 2
    length_km: 35
    block_bytes: 8KiB
    ends:
      - {node: a, kq1: "127.0.0.1:7001"}
      - {node: b, kq1: "[::1]:7002"}
  - id: bc
    loss_db: 10
    parameters: snspd
    rate_bps: 1000
    seed: x
    backlog_blocks: 9
    ends:
      - {node: b, kq1: "127.0.0.1:7002"}
      - {node: c, kq1: "127.0.0.1:7003"}
)";

TEST(LinkConfigTest, ReadsLinksAndComputesTheirRates) {
  const auto config = ParseLinkSimConfig(kGood, "folder/sim.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_dir, "folder/state");
  EXPECT_EQ(config->tls.ca, "folder/ca.pem");
  EXPECT_EQ(config->tls.key, "/abs/qkd.key");
  ASSERT_EQ(config->links.size(), 2u);
  const LinkConfig& ab = config->links[0];
  EXPECT_EQ(ab.module_pair, 2u);
  EXPECT_EQ(ab.block_bytes, 8192u);
  EXPECT_DOUBLE_EQ(ab.loss_db, 7);
  EXPECT_NEAR(ab.rate.bits_per_second, 1.93e6, 0.02e6);
  EXPECT_DOUBLE_EQ(ab.bits_per_second, 10 * ab.rate.bits_per_second);
  EXPECT_FALSE(ab.seed.has_value());
  EXPECT_EQ(ab.ends[1].node, "b");
  EXPECT_EQ(ab.ends[1].kq1, "[::1]:7002");
  const LinkConfig& bc = config->links[1];
  EXPECT_EQ(bc.module_pair, 1u);
  EXPECT_DOUBLE_EQ(bc.bits_per_second, 10'000);
  EXPECT_EQ(bc.block_bytes, 4096u);
  EXPECT_EQ(bc.backlog_blocks, 9u);
  EXPECT_EQ(*bc.seed, "x");
}

struct BadCase {
  const char* from;
  const char* to;
  const char* line;   // "sim.yaml:LINE:"
  const char* error;  // Part of the rest.
};

TEST(LinkConfigTest, NamesFileLineFieldAndWhatWasExpected) {
  const BadCase cases[] = {
      {"length_km: 35", "lenght_km: 35", ":7:", "links[0].lenght_km: unknown field"},
      {"length_km: 35", "length_km: far", ":7:", "links[0].length_km: expected a number"},
      {"length_km: 35", "length_km: nan", ":7:", "links[0].length_km: expected a number"},
      {"length_km: 35", "length_km: -1", ":7:", "from 0 to 600"},
      {"length_km: 35\n", "length_km: 35\n    loss_db: 3\n", ":5:", "either length_km or loss_db"},
      {"8KiB", "512", ":8:", "from 1024 to 65536"},
      {"8KiB", "1MiB", ":8:", "from 1024 to 65536"},
      {"module_pair: 2", "module_pair: 4294967296", ":6:", "links[0].module_pair"},
      {"parameters: snspd", "parameters: magic", ":14:", "expected one of t12, gys"},
      {"\"127.0.0.1:7001\"", "\"127.0.0.1\"", ":10:", "links[0].ends[0].kq1: expected HOST:PORT"},
      {"\"127.0.0.1:7001\"", "\"127.0.0.1:0\"", ":10:", "1 to 65535"},
      {"node: a", "node: b", ":10:", "two different nodes"},
      {"node: a", "node: \"a b\"", ":10:", "links[0].ends[0].node: expected an ID"},
      {"time_speedup: 10", "time_speedup: 0", ":2:", "time_speedup: expected a number"},
      {"state_dir: state", "", ":2:", "state_dir: missing"},
      {"ca: ca.pem, ", "", ":3:", "tls.ca: missing"},
      {"id: bc", "id: ab\n    module_pair: 2", ":12:", "no other entry has"},
      {"id: ab\n", "id: ab\n    id: ab\n", ":6:", "links[0].id: given twice"},
      {"tls: {", "tls: {{", ":", "sim.yaml"},
  };
  for (const BadCase& bad : cases) {
    const std::string yaml = absl::StrReplaceAll(kGood, {{bad.from, bad.to}});
    ASSERT_NE(yaml, kGood) << bad.from;
    const auto config = ParseLinkSimConfig(yaml, "sim.yaml");
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << bad.to;
    EXPECT_THAT(
        std::string(config.status().message()),
        testing::AllOf(HasSubstr(std::string("sim.yaml") + bad.line), HasSubstr(bad.error)));
  }
}

TEST(LinkConfigTest, RefusesWhatIsNotAMapOfFields) {
  for (const char* yaml : {"", "[]", "x", "links: 3", "state_dir: s\ntls: 3\nlinks: []"}) {
    EXPECT_EQ(ParseLinkSimConfig(yaml, "sim.yaml").status().code(),
              absl::StatusCode::kInvalidArgument)
        << yaml;
  }
  EXPECT_EQ(LoadLinkSimConfig("no/such/file.yaml").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace keyhop
