// Whole networks of Routing objects in virtual time: flooding with loss, corrupt neighbours, and a
// node restored from an old image.

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/trusted_node/core/routing/routing_fixture.h"

namespace keyhop {
namespace {

constexpr uint64_t kMessagesMax = 2'000'000;

// Delivers at once, in random order, and loses some.
class Network {
 public:
  Network(uint64_t seed, int size, int extra_links) : random_(seed) {
    for (int i = 0; i < size; ++i) {
      const NodeId id("n" + std::to_string(100 + i));
      RoutingConfig config{id};
      config.saes = {SaeId("sae of " + id.value)};
      nodes_.emplace(id, config);
      ids_.push_back(id);
      if (i > 0) Join(id, ids_[random_() % static_cast<uint64_t>(i)]);
    }
    for (int i = 0; i < extra_links; ++i) {
      Join(ids_[random_() % ids_.size()], ids_[random_() % ids_.size()]);
    }
  }

  void Start() {
    for (const NodeId& id : ids_) {
      node(id).Start(now_);
      Collect(id);
    }
    for (const NodeId& id : ids_) SetLinks(id);
  }
  void SetLinks(const NodeId& id) {
    std::vector<LinkAdvert> links;
    for (const NodeId& peer : neighbours_[id]) links.push_back(Up(id, peer));
    node(id)->SetLinks(now_, links, node(id).out);
    Collect(id);
  }
  void Run(Duration time, int loss_percent) {
    const Instant end = now_ + time;
    for (; now_ < end; now_ = now_ + Duration::Millis(100)) {
      for (const NodeId& id : ids_) {
        node(id)->OnTick(now_, node(id).out);
        Collect(id);
      }
      Deliver(loss_percent);
    }
  }
  void Send(const NodeId& from, const NodeId& to, const LinkState& state) {
    queue_.push_back({from, to, state});
  }
  // Everyone knows everyone's newest record.
  bool Converged() {
    for (const NodeId& id : ids_) {
      const std::vector<LinkState> known = node(id)->Database();
      if (known.size() != ids_.size()) return false;
      for (const LinkState& state : known) {
        if (LayoutOf(state) != LayoutOf(Newest(state.origin))) return false;
      }
    }
    return true;
  }
  // As its origin told it last.
  LinkState Newest(const NodeId& id) {
    for (const LinkState& state : node(id)->Database()) {
      if (state.origin == id) return state;
    }
    return {};
  }

  TestNode& node(const NodeId& id) { return nodes_.at(id); }
  const std::vector<NodeId>& ids() const { return ids_; }
  const std::set<NodeId>& neighbours(const NodeId& id) { return neighbours_[id]; }
  Instant now() const { return now_; }
  uint64_t delivered() const { return delivered_; }

 private:
  struct Message {
    NodeId from;
    NodeId to;
    LinkState state;
  };

  void Join(const NodeId& a, const NodeId& b) {
    if (a == b) return;
    neighbours_[a].insert(b);
    neighbours_[b].insert(a);
  }
  void Collect(const NodeId& id) {
    for (RecordingOutbox::Sent& sent : node(id).out.TakeSent()) {
      EXPECT_LE(sent.after, node(id).out.last_write());
      for (const NodeId& peer : neighbours_[id]) {
        const bool wanted = sent.to.empty() ? peer != sent.except : peer == sent.to;
        if (wanted) queue_.push_back({id, peer, sent.state});
      }
    }
  }
  void Deliver(int loss_percent) {
    while (!queue_.empty()) {
      std::swap(queue_[random_() % queue_.size()], queue_.front());
      const Message message = std::move(queue_.front());
      queue_.pop_front();
      if (random_() % 100 < static_cast<uint64_t>(loss_percent)) continue;
      ASSERT_LT(++delivered_, kMessagesMax) << "the flood does not end";
      node(message.to)->OnLinkState(now_, message.from, message.state, node(message.to).out);
      Collect(message.to);
    }
  }

  std::mt19937_64 random_;
  Instant now_ = At(0);
  std::map<NodeId, TestNode> nodes_;
  std::vector<NodeId> ids_;
  std::map<NodeId, std::set<NodeId>> neighbours_;
  std::deque<Message> queue_;
  uint64_t delivered_ = 0;
};

class FloodingTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(FloodingTest, ConvergesAtOnceWithoutLoss) {
  Network network(GetParam(), 20, 15);
  network.Start();
  network.Run(Duration::Millis(1'000), /*loss_percent=*/0);
  EXPECT_TRUE(network.Converged());
  for (const NodeId& a : network.ids()) {
    for (const NodeId& b : network.ids()) {
      EXPECT_FALSE(network.node(a)->PathFor(b, 1'000).empty());
      EXPECT_EQ(network.node(a)->FindSae(SaeId("sae of " + b.value))->home, b);
    }
  }
}

TEST_P(FloodingTest, RefreshRepairsWhatLossLeftOut) {
  Network network(GetParam(), 20, 15);
  network.Start();
  network.Run(Duration::Seconds(60), /*loss_percent=*/40);
  network.Run(Duration::Seconds(11), /*loss_percent=*/0);
  EXPECT_TRUE(network.Converged());
  for (const NodeId& id : network.ids()) EXPECT_EQ(network.node(id)->alarms(), 0u);
}

TEST_P(FloodingTest, CostsEachLinkAtMostTwoMessagesARecord) {
  Network network(GetParam(), 20, 15);
  network.Start();
  network.Run(Duration::Millis(1'000), 0);
  const uint64_t before = network.delivered();
  network.Run(Duration::Seconds(10), 0);  // One refresh of everyone.
  uint64_t link_ends = 0;
  for (const NodeId& id : network.ids()) link_ends += network.neighbours(id).size();
  EXPECT_LE(network.delivered() - before, network.ids().size() * link_ends);
}

TEST_P(FloodingTest, ACorruptNeighbourCannotSpeakForAnother) {
  Network network(GetParam(), 10, 5);
  network.Start();
  network.Run(Duration::Millis(1'000), 0);
  const NodeId corrupt = network.ids()[0];
  const NodeId victim = network.ids()[9];
  LinkState lie = Signed(corrupt, network.Newest(victim).sequence + 1, {},
                         {{SaeId("sae of " + network.ids()[5].value), 3}});
  lie.origin = victim;
  const LinkState truth = network.Newest(victim);
  for (const NodeId& neighbour : network.neighbours(corrupt)) {
    network.Send(corrupt, neighbour, lie);
  }
  network.Run(Duration::Millis(500), 0);
  EXPECT_TRUE(network.Converged());
  EXPECT_EQ(LayoutOf(network.Newest(victim)), LayoutOf(truth));
  for (const NodeId& neighbour : network.neighbours(corrupt)) {
    EXPECT_EQ(network.node(neighbour)->alarms(), 1u);
  }
}

TEST_P(FloodingTest, ANodeFromAnOldImageIsBelievedAgain) {
  Network network(GetParam(), 10, 5);
  network.Start();
  const NodeId id = network.ids()[GetParam() % 10];
  TestNode& node = network.node(id);
  const auto directory = node.out.directory();
  const auto own = node.out.own();
  for (int life = 0; life < 3; ++life) {
    network.Run(Duration::Seconds(1), 0);
    node.Start(network.now());
  }
  network.SetLinks(id);
  network.Run(Duration::Seconds(1), 0);
  const uint64_t last = network.Newest(id).sequence;

  node.StartFrom(network.now(), directory, own);
  EXPECT_LT(network.Newest(id).sequence, last);
  for (const NodeId& peer : network.neighbours(id)) {
    network.node(peer)->OnNeighbourUp(network.now(), id, network.node(peer).out);
  }
  network.SetLinks(id);
  network.Run(Duration::Seconds(11), 0);
  EXPECT_GT(network.Newest(id).sequence, last);
  EXPECT_TRUE(network.Converged());
  EXPECT_EQ(node->alarms(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FloodingTest, ::testing::Range<uint64_t>(1, 11));

}  // namespace
}  // namespace keyhop
