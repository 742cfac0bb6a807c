#include "sim/scenario/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "sim/scenario/parts.h"
#include "sim/scenario/scenario.h"

namespace keyhop::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

scenario::v1::LinkModel Model() {
  scenario::v1::LinkModel model;
  model.set_rate_bps_at_0(512'000);
  model.set_loss_mdb_per_km(200);
  model.set_rate_bps_min(200);
  return model;
}

Network OfFamily(scenario::v1::Family family, uint32_t nodes, uint64_t seed = 1) {
  scenario::v1::Topology topology;
  topology.set_family(family);
  topology.set_nodes(nodes);
  topology.set_degree(4);
  topology.set_link_m(20'000);
  auto network = MakeNetwork(topology, Model(), seed);
  EXPECT_TRUE(network.ok()) << network.status();
  return *std::move(network);
}

bool IsConnected(const Network& network) {
  Parts parts(network.sites.size());
  for (const Fibre& fibre : network.fibres) parts.Join(fibre.a, fibre.b);
  for (size_t i = 0; i < network.sites.size(); ++i) {
    if (!parts.Joined(i, 0)) return false;
  }
  return true;
}

TEST(TopologyTest, FamiliesHaveTheLinksTheirNamesSay) {
  EXPECT_EQ(OfFamily(scenario::v1::LINE, 10).fibres.size(), 9u);
  EXPECT_EQ(OfFamily(scenario::v1::RING, 10).fibres.size(), 10u);
  EXPECT_EQ(OfFamily(scenario::v1::RING, 2).fibres.size(), 1u);
  EXPECT_EQ(OfFamily(scenario::v1::STAR, 10).fibres.size(), 9u);
  EXPECT_EQ(OfFamily(scenario::v1::FULL_MESH, 10).fibres.size(), 45u);
  EXPECT_EQ(OfFamily(scenario::v1::GRID, 16).fibres.size(), 24u);
  for (const auto& fibre : OfFamily(scenario::v1::STAR, 10).fibres) EXPECT_EQ(fibre.a, 0u);
}

TEST(TopologyTest, EveryFamilyIsConnectedOrderedAndSimpleAtEverySize) {
  for (const auto family :
       {scenario::v1::LINE, scenario::v1::RING, scenario::v1::STAR, scenario::v1::GRID,
        scenario::v1::RANDOM, scenario::v1::RANDOM_GEOMETRIC}) {
    for (const uint32_t nodes : {2u, 3u, 7u, 10u, 99u, 300u}) {
      for (uint64_t seed = 1; seed <= 3; ++seed) {
        const Network network = OfFamily(family, nodes, seed);
        ASSERT_EQ(network.sites.size(), nodes);
        ASSERT_TRUE(IsConnected(network));
        ASSERT_TRUE(std::is_sorted(network.sites.begin(), network.sites.end(),
                                   [](const Site& a, const Site& b) { return a.id < b.id; }));
        std::set<std::pair<size_t, size_t>> seen;
        for (const Fibre& fibre : network.fibres) {
          ASSERT_LT(fibre.a, fibre.b);
          ASSERT_TRUE(seen.insert({fibre.a, fibre.b}).second);
        }
      }
    }
  }
}

TEST(TopologyTest, RandomFamiliesHaveAboutAsManyLinksAsAskedFor) {
  for (const auto family : {scenario::v1::RANDOM, scenario::v1::RANDOM_GEOMETRIC}) {
    const double degree = 2.0 * static_cast<double>(OfFamily(family, 500).fibres.size()) / 500;
    EXPECT_GT(degree, 3);
    EXPECT_LT(degree, 5);
  }
}

TEST(TopologyTest, TheSameSeedGivesTheSameNetworkAndAnotherAnother) {
  const auto ends = [](uint64_t seed) {
    std::vector<std::pair<size_t, size_t>> out;
    for (const Fibre& f : OfFamily(scenario::v1::RANDOM, 50, seed).fibres)
      out.push_back({f.a, f.b});
    return out;
  };
  EXPECT_EQ(ends(1), ends(1));
  EXPECT_NE(ends(1), ends(2));
}

TEST(TopologyTest, RatesFollowTheLoss) {
  // 20 km at 0.2 dB/km: 4 dB.
  EXPECT_EQ(OfFamily(scenario::v1::RING, 3).fibres[0].rate_bps, 203'830u);
}

TEST(TopologyTest, LongLinksAreSplitIntoSpansWithRelayNodes) {
  scenario::v1::Topology topology;
  auto* link = topology.add_links();
  link->set_a("a");
  link->set_b("b");
  link->set_length_m(250'000);
  topology.set_span_max_m(100'000);
  const auto network = MakeNetwork(topology, Model(), 1);
  ASSERT_TRUE(network.ok()) << network.status();
  ASSERT_EQ(network->fibres.size(), 3u);
  EXPECT_EQ(network->sites.size(), 4u);
  EXPECT_NEAR(network->fibres[0].length_km, 250.0 / 3, 1e-9);
  EXPECT_EQ(std::count_if(network->sites.begin(), network->sites.end(),
                          [](const Site& site) { return site.in_span; }),
            2);
  EXPECT_EQ(FewestHops(*network, 0, 3).size(), 4u);
}

TEST(TopologyTest, EveryTopologyThatIsShippedIsANetwork) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("sim/topologies")) {
    scenario::v1::Topology topology;
    topology.set_file(entry.path().string());
    topology.set_span_max_m(100'000);
    const auto network = MakeNetwork(topology, Model(), 1);
    ASSERT_TRUE(network.ok()) << entry.path() << ": " << network.status();
    EXPECT_TRUE(IsConnected(*network));
    ++files;
  }
  EXPECT_GE(files, 10) << "run from the root of the repository";
}

class TopologyFileTest : public ::testing::Test {
 protected:
  std::string Refusal(const std::string& json) {
    const std::string path = ::testing::TempDir() + "topology.json";
    std::ofstream(path) << json;
    scenario::v1::Topology topology;
    topology.set_file(path);
    const auto network = MakeNetwork(topology, Model(), 1);
    return network.ok() ? "read" : std::string(network.status().message());
  }
};

TEST_F(TopologyFileTest, WhatIsNoNetworkIsRefusedWithItsPlace) {
  EXPECT_THAT(Refusal("{"), HasSubstr("not JSON at byte 1"));
  EXPECT_THAT(Refusal("[]"), HasSubstr("expected an object with the lists nodes and links"));
  EXPECT_THAT(Refusal(R"({"nodes": [{"id": ""}], "links": []})"), HasSubstr("nodes[0].id"));
  EXPECT_THAT(Refusal(R"({"nodes": [3], "links": []})"), HasSubstr("nodes[0].id"));
  EXPECT_THAT(Refusal(R"({"nodes": [{"id": "a"}, {"id": "a"}], "links": []})"),
              HasSubstr("two nodes are a"));
  EXPECT_THAT(
      Refusal(R"({"nodes": [{"id": "a"}], "links": [{"a": "a", "b": "z", "length_km": 1}]})"),
      HasSubstr("links[0]"));
  EXPECT_THAT(Refusal(R"({"nodes": [{"id": "a"}, {"id": "b"}], "links": [{"a": "a", "b": "b"}]})"),
              HasSubstr("expected length_km, loss_db or skr_bps_published"));
  EXPECT_THAT(Refusal(R"({"nodes": [{"id": "a"}, {"id": "b"}], "links": []})"),
              HasSubstr("no way leads from node a to node b"));
  EXPECT_THAT(Refusal(R"({"nodes": [{"id": "a"}], "links": [{"a": "a", "b": "a", "loss_db": 1}]})"),
              HasSubstr("links to itself"));
}

TEST(TopologyTest, ExactlyOneSourceIsNamed) {
  scenario::v1::Topology topology;
  EXPECT_THAT(std::string(MakeNetwork(topology, Model(), 1).status().message()),
              HasSubstr("expected one of file, family and links; found 0"));
  topology.set_family(scenario::v1::RING);
  topology.set_file("x.json");
  EXPECT_THAT(std::string(MakeNetwork(topology, Model(), 1).status().message()),
              HasSubstr("found 2"));
}

}  // namespace
}  // namespace keyhop::sim
