#include "trusted_node/daemon/node_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/kms/tls/test_certs.h"
#include "trusted_node/daemon/checks.h"

namespace keyhop {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kYaml[] = R"(node: {id: node-a, state_dir: state, kek_file: kek}
listeners: {rest: "127.0.0.1:0", grpc: "127.0.0.1:0", kx: "127.0.0.1:0", kq1: "127.0.0.1:0", metrics: "127.0.0.1:0", admin: "127.0.0.1:0"}
tls: {node_cert: node.crt, node_key: node.key, node_ca: nodes.crt, sae_ca: saes.crt, operator_ca: operators.crt}
saes: [{id: alice}, {id: bob}]
links:
  - id: ab
    peer: node-b
    peer_kx: 127.0.0.1:7001
    link_key_file: ab.key
    modules: [alpha, beta]
    unit_bytes: 8KiB
    lease_bytes_min: 32KiB
    lease_bytes_max: 64KiB
    pads_bytes_max: 1MiB
  - {id: a0, peer: node-0, link_key_file: a0.key}
pools: {target_bytes: 128KiB, idle_target_bytes: 8KiB, prefill: ALL_KNOWN_NODES, idle_after: 3m}
delivery:
  key_size_bits: 128
  min_key_size_bits: 64
  max_key_size_bits: 1024
  max_keys_per_request: 12
  watching_saes_max: 31
  announcements_kept_max: 32
  announcements_queued_max: 33
  watch_life: 34s
  paths_min: 2
  paths_min_with: [{node: node-b, paths_min: 3}, {node: node-c}]
  max_key_count: 9000
  failed_fetch_burst: 21
  failed_fetches_per_second: 4
  requests_pending_max: 50
  request_deadline: 700ms
  max_sae_id_count: 9
  supply_deadline: 800ms
  supplied_keys_max: 77
  fetch_life: 2h
  idempotency_window: 90s
  idempotency_open_max: 77
  idempotency_bytes_max: 1MiB
lease:
  life: 3h
  request_retry: 40ms
  stream_lease_bytes_min: 2KiB
  stream_lease_bytes_max: 16KiB
  memory_bytes_max: 5MiB
  burn_open_leases_on_start: true
relay: {segment_bytes_max: 1KiB, segments_under_way_max: 5, segment_deadline: 6s}
key_streams:
  streams_max: 41
  streams_per_sae_max: 42
  calls_waiting_max: 43
  chunk_bytes_default: 44
  chunk_bytes_max: 45
  max_bps_max: 46
  priority_max: 47
  timeout_default: 48ms
  timeout_max: 49ms
  ttl_default: 50s
  ttl_max: 51s
  chunks_max: 52
  ahead_max: 53
  pending: 54s
  idle: 55s
  reservable_percent: 56
routing: {refresh: 7s, expiry: 8s, min_interval: 90ms, nodes_max: 10, hops_max: 11}
)";

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
}

class NodeConfigTest : public ::testing::Test {
 protected:
  NodeConfigTest() {
    for (const char* ca : {"nodes", "saes", "operators"}) certs_.AddCa(ca);
    certs_.Add("node", {.ca = "nodes", .common_name = "", .alt_names = "URI:keyhop://node/node-a"});
    certs_.Add("peer", {.ca = "nodes", .common_name = "", .alt_names = "URI:keyhop://node/node-b"});
    certs_.Add("foreign",
               {.ca = "saes", .common_name = "", .alt_names = "URI:keyhop://node/node-b"});
    for (const char* key : {"node", "peer", "foreign"}) {
      EXPECT_EQ(chmod(certs_.Path(absl::StrCat(key, ".key")).c_str(), 0600), 0);
    }
    WriteFile(certs_.Path("kek"), std::string(64, '0'));
    WriteFile(certs_.Path("ab.key"), std::string(64, '1'));
    WriteFile(certs_.Path("a0.key"), std::string(64, '2'));
  }
  config::v1::Config Parsed(const std::string& yaml = kYaml) {
    const auto config = ParseConfig(yaml, certs_.Path("a.yaml"), NamedFiles::kMustExist);
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? *config : config::v1::Config();
  }
  config::v1::Config With(const std::string& from, const std::string& to) {
    return Parsed(absl::StrReplaceAll(kYaml, {{from, to}}));
  }

  TestCerts certs_;
};

TEST_F(NodeConfigTest, EveryFieldOfTheCoreHasItsEffect) {
  const auto node = NodeConfigOf(Parsed());
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_EQ(node->self, NodeId("node-a"));
  EXPECT_EQ(node->lease_memory_bytes_max, 5u << 20);
  EXPECT_EQ(node->announce.saes_max, 31u);
  EXPECT_EQ(node->announce.kept_per_sae_max, 32u);
  EXPECT_EQ(node->announce.queued_max, 33u);
  EXPECT_EQ(node->announce.watch_life, Duration::Seconds(34));
  EXPECT_TRUE(node->burn_open_leases_on_start);

  EXPECT_EQ(node->delivery.key_size_bits, 128u);
  EXPECT_EQ(node->delivery.min_key_size_bits, 64u);
  EXPECT_EQ(node->delivery.max_key_size_bits, 1024u);
  EXPECT_EQ(node->delivery.max_keys_per_request, 12u);
  EXPECT_EQ(node->delivery.max_sae_id_count, 9u);
  EXPECT_EQ(node->delivery.supply_wait, Duration::Millis(800));
  EXPECT_EQ(node->stream.supplies_max, 77u);
  EXPECT_EQ(node->delivery.max_key_count, 9000u);
  EXPECT_EQ(node->delivery.failed_fetches_burst, 21u);
  EXPECT_EQ(node->delivery.failed_fetch_refill, Duration::Millis(250));
  EXPECT_EQ(node->delivery.draw_wait, Duration::Millis(700));
  EXPECT_EQ(node->delivery.idempotency_window, Duration::Seconds(90));
  EXPECT_EQ(node->delivery.idempotency_open_max, 77u);
  EXPECT_EQ(node->delivery.idempotency_bytes_max, uint64_t{1} << 20);
  EXPECT_EQ(node->delivery.draws_waiting_max, 25u);
  EXPECT_EQ(node->delivery.paths_min, 2);
  const std::map<NodeId, uint8_t> paths = {{NodeId("node-b"), 3}, {NodeId("node-c"), 1}};
  EXPECT_EQ(node->delivery.paths_min_with, paths);

  EXPECT_EQ(node->stream.segment_body_bytes, 1024u);
  EXPECT_EQ(node->stream.segments_in_flight_max, 5u);
  EXPECT_EQ(node->stream.segment_timeout, Duration::Seconds(6));
  EXPECT_EQ(node->stream.lease_bytes_min, 2048u);
  EXPECT_EQ(node->stream.lease_bytes_max, 16u * 1024);
  EXPECT_EQ(node->stream.retry, Duration::Millis(40));
  EXPECT_EQ(node->stream.lease_life, Duration::Seconds(3 * 3600));
  EXPECT_EQ(node->stream.fetch_life, Duration::Seconds(2 * 3600));

  EXPECT_EQ(node->pool.target_bytes, 128u * 1024);
  EXPECT_EQ(node->pool.idle_bytes, 8u * 1024);
  EXPECT_EQ(node->pool.in_use, Duration::Seconds(180));
  EXPECT_TRUE(node->pool.prefill);

  EXPECT_EQ(node->keystream.streams_max, 41u);
  EXPECT_EQ(node->keystream.streams_per_sae_max, 42u);
  EXPECT_EQ(node->keystream.calls_waiting_max, 43u);
  EXPECT_EQ(node->keystream.chunk_bytes_default, 44u);
  EXPECT_EQ(node->keystream.chunk_bytes_max, 45u);
  EXPECT_EQ(node->keystream.max_bps_max, 46u);
  EXPECT_EQ(node->keystream.priority_max, 47u);
  EXPECT_EQ(node->keystream.timeout_default, Duration::Millis(48));
  EXPECT_EQ(node->keystream.timeout_max, Duration::Millis(49));
  EXPECT_EQ(node->keystream.ttl_default, Duration::Seconds(50));
  EXPECT_EQ(node->keystream.ttl_max, Duration::Seconds(51));
  EXPECT_EQ(node->keystream.chunks_max, 52u);
  EXPECT_EQ(node->keystream.ahead_max, 53u);
  EXPECT_EQ(node->keystream.pending, Duration::Seconds(54));
  EXPECT_EQ(node->keystream.idle, Duration::Seconds(55));
  EXPECT_EQ(node->keystream.reservable_percent, 56u);

  EXPECT_EQ(node->routing.self, NodeId("node-a"));
  EXPECT_THAT(node->routing.saes, ElementsAre(SaeId("alice"), SaeId("bob")));
  EXPECT_EQ(node->routing.refresh, Duration::Seconds(7));
  EXPECT_EQ(node->routing.expiry, Duration::Seconds(8));
  EXPECT_EQ(node->routing.flood_interval_min, Duration::Millis(90));
  EXPECT_EQ(node->routing.nodes_max, 10u);
  EXPECT_EQ(node->routing.hops_max, 11u);
}

TEST_F(NodeConfigTest, QuotasAreOfAnSaeOfAPairOrOfEverySae) {
  EXPECT_TRUE(NodeConfigOf(Parsed())->quotas.empty());
  const auto node = NodeConfigOf(Parsed(absl::StrCat(kYaml, R"(quotas:
  - {sae: alice, keys_per_second: 5, bits_per_second: 4096, burst: 1500ms, share: 3}
  - {sae: alice, slave: bob, bits_per_second: 10000000000, burst: 1h}
  - {sae: "*", keys_per_second: 7}
)")));
  ASSERT_TRUE(node.ok()) << node.status();
  const Quotas::Table expected = {
      {{SaeId("alice")}, {5, 4096, Duration::Millis(1500), 3}},
      {{SaeId("alice"), SaeId("bob")}, {0, 10'000'000'000, Duration::Seconds(3600), 1}},
      {{SaeId(kEverySae)}, {7, 0, Duration::Seconds(10), 1}}};
  EXPECT_TRUE(node->quotas == expected);
}

TEST_F(NodeConfigTest, NamesTheQuotaThatIsNone) {
  config::v1::Config config = Parsed(absl::StrCat(kYaml, R"(quotas:
  - {sae: alice, keys_per_second: 5}
  - {sae: alice, slave: bob, keys_per_second: 5}
)"));
  config.mutable_quotas(1)->set_share(2);
  EXPECT_EQ(NodeConfigOf(config).status(),
            absl::InvalidArgumentError("quotas[1]: a share is an SAE's, not a pair's"));
}

TEST_F(NodeConfigTest, ALinkHasItsLimitsItsKeyItsNeighbourAndItsModules) {
  const auto config = Parsed();
  const auto node = NodeConfigOf(config);
  ASSERT_TRUE(node.ok()) << node.status();
  ASSERT_EQ(node->links.size(), 2u);
  const LinkSetup& link = node->links[0];
  EXPECT_EQ(link.config.id, LinkId("ab"));
  EXPECT_EQ(link.config.self, NodeId("node-a"));
  EXPECT_EQ(link.config.peer, NodeId("node-b"));
  EXPECT_EQ(link.config.unit_bytes_max, 8u * 1024);
  EXPECT_EQ(link.config.lease_bytes_min, 32u * 1024);
  EXPECT_EQ(link.config.lease_bytes_max, 64u * 1024);
  EXPECT_EQ(link.config.stock_bytes_max, 1u << 20);
  EXPECT_TRUE(link.key.EqualsConstantTime(SecretBytes::CopyOf(std::vector<uint8_t>(32, 0x11))));
  EXPECT_TRUE(
      node->links[1].key.EqualsConstantTime(SecretBytes::CopyOf(std::vector<uint8_t>(32, 0x22))));

  const auto neighbours = NeighboursOf(config);
  ASSERT_EQ(neighbours.size(), 2u);
  EXPECT_EQ(neighbours[0].id, NodeId("node-b"));
  EXPECT_EQ(neighbours[0].address, "127.0.0.1:7001");
  EXPECT_EQ(neighbours[1].address, "");  // The lower ID dials.

  const auto modules = Kq1LinksOf(config);
  ASSERT_EQ(modules.size(), 2u);
  EXPECT_THAT(modules[0].modules, ElementsAre("alpha", "beta"));
  EXPECT_EQ(modules[0].peer, NodeId("node-b"));
  EXPECT_EQ(modules[0].block_bytes_max, 8u * 1024);
  EXPECT_TRUE(modules[0].admin_up);
  EXPECT_THAT(modules[1].modules, ElementsAre("a0"));  // None is named: one, as the link.
}

TEST_F(NodeConfigTest, NamesALinkKeyThatIsNone) {
  WriteFile(certs_.Path("a0.key"), "short");
  EXPECT_THAT(std::string(NodeConfigOf(Parsed()).status().message()),
              AllOf(HasSubstr("a0.key"), HasSubstr("64 hex digits")));
}

TEST_F(NodeConfigTest, LinkStateIsBelievedOnlyFromTheNodeThatSignedIt) {
  const std::vector<uint8_t> layout = {1, 2, 3};
  auto own = CertificateAuthority::Create(Parsed());
  ASSERT_TRUE(own.ok()) << own.status();
  const auto peer_config = [&](const std::string& name) {
    return Parsed(absl::StrReplaceAll(kYaml, {{"id: node-a", "id: node-b"},
                                              {"peer: node-b", "peer: node-c"},
                                              {"node.crt", name + ".crt"},
                                              {"node.key", name + ".key"}}));
  };
  auto peer = CertificateAuthority::Create(peer_config("peer"));
  ASSERT_TRUE(peer.ok()) << peer.status();
  const std::string signature = (*peer)->Sign(layout);
  EXPECT_TRUE((*own)->Verify(NodeId("node-b"), layout, signature));
  EXPECT_FALSE((*own)->Verify(NodeId("node-c"), layout, signature));
  EXPECT_FALSE((*own)->Verify(NodeId("node-b"), {1, 2, 4}, signature));
  EXPECT_FALSE((*own)->Verify(NodeId("node-b"), layout, signature + "x"));
  // The right name, but from another trust store.
  auto foreign = CertificateAuthority::Create(peer_config("foreign"));
  ASSERT_TRUE(foreign.ok()) << foreign.status();
  EXPECT_FALSE((*own)->Verify(NodeId("node-b"), layout, (*foreign)->Sign(layout)));
}

TEST_F(NodeConfigTest, RefusesTheCertificateOfAnotherNode) {
  const absl::Status wrong =
      CertificateAuthority::Create(With("node_cert: node.crt, node_key: node.key",
                                        "node_cert: peer.crt, node_key: peer.key"))
          .status();
  EXPECT_EQ(wrong.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(wrong.message()),
              AllOf(HasSubstr("peer.crt"), HasSubstr("names node node-b"), HasSubstr("node-a")));
}

TEST_F(NodeConfigTest, FilesWithSecretsThatOthersCanReadAreRefusedWithTheRemedy) {
  const auto config = Parsed();
  ASSERT_TRUE(CheckFiles(config).ok()) << CheckFiles(config);
  const struct {
    const char* file;
    const char* field;
  } secrets[] = {{"kek", "node.kek_file"},
                 {"node.key", "tls.node_key"},
                 {"ab.key", "link_key_file of link ab"},
                 {"a0.key", "link_key_file of link a0"}};
  for (const auto& [file, field] : secrets) {
    const std::string path = certs_.Path(file);
    for (const mode_t mode : {0640, 0604}) {
      ASSERT_EQ(chmod(path.c_str(), mode), 0);
      const absl::Status refused = CheckFiles(config);
      EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied) << file;
      EXPECT_THAT(std::string(refused.message()),
                  AllOf(HasSubstr(field), HasSubstr(path), HasSubstr("chmod 600")));
    }
    ASSERT_EQ(chmod(path.c_str(), 0400), 0);
    EXPECT_TRUE(CheckFiles(config).ok()) << CheckFiles(config);
  }
}

}  // namespace
}  // namespace keyhop
