#include "trusted_node/core/routing/routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trusted_node/core/routing/routing_fixture.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const NodeId kA("a"), kB("b"), kC("c"), kD("d");

class RoutingTest : public ::testing::Test {
 protected:
  RoutingTest() : node_(RoutingConfig{kA}) {
    node_.Start(At(0));
    first_ = node_.out.TakeSent();
  }
  void Receive(int64_t ms, const NodeId& from, const LinkState& state) {
    node_->OnLinkState(At(ms), from, state, node_.out);
  }
  // a - b - c, with `free` bytes from b to c.
  void MakeChain(uint64_t free_b_to_c = 1 << 20) {
    node_->SetLinks(At(0), {Up(kA, kB)}, node_.out);
    Receive(0, kB, Signed(kB, 1, {Up(kB, kA), Up(kB, kC, free_b_to_c)}));
    Receive(0, kB, Signed(kC, 1, {Up(kC, kB)}));
    node_.out.TakeSent();
  }

  TestNode node_;
  std::vector<RecordingOutbox::Sent> first_;
};

TEST_F(RoutingTest, FloodsItselfAtStartOnceItsSequenceIsReserved) {
  ASSERT_THAT(first_, SizeIs(1));
  EXPECT_EQ(first_[0].state.origin, kA);
  EXPECT_EQ(first_[0].after, node_.out.last_write());
  EXPECT_GE(node_.out.own()->sequence_reserved, first_[0].state.sequence);
}

TEST_F(RoutingTest, StartsAboveEverySequenceOfTheLifeBefore) {
  for (int i = 1; i <= 2'500; ++i) {
    node_->OnTick(At(i * 10'000), node_.out);
    EXPECT_LE(node_.out.TakeSent().back().state.sequence, node_.out.own()->sequence_reserved);
  }
  const uint64_t last = node_->Database()[0].sequence;
  EXPECT_LT(node_.out.last_write(), 10u);  // In runs, not one by one.
  node_.Start(At(0));
  EXPECT_GT(node_->Database()[0].sequence, last);
}

TEST_F(RoutingTest, ForwardsANewerRecordToAllButItsSender) {
  Receive(0, kB, Signed(kC, 5));
  const auto sent = node_.out.TakeSent();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].state.origin, kC);
  EXPECT_EQ(sent[0].to, NodeId());
  EXPECT_EQ(sent[0].except, kB);
}

TEST_F(RoutingTest, SaysNothingToTheSameRecordAndDoesNotCheckItAgain) {
  Receive(0, kB, Signed(kC, 5));
  node_.out.TakeSent();
  Receive(1, kD, Signed(kC, 5));
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  EXPECT_EQ(node_.authority().checks(), 1);
}

TEST_F(RoutingTest, AnswersAnOlderRecordWithItsOwnNewerOne) {
  Receive(0, kB, Signed(kC, 5));
  node_.out.TakeSent();
  Receive(1, kD, Signed(kC, 4));
  const auto sent = node_.out.TakeSent();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].to, kD);
  EXPECT_EQ(sent[0].state.sequence, 5u);
  EXPECT_EQ(node_.authority().checks(), 1);
}

TEST_F(RoutingTest, TakesNothingThatItsOriginDidNotSign) {
  LinkState forged = Signed(kC, 5, {Up(kC, kA)}, {{SaeId("sae"), 1}});
  forged.links[0].free_bytes += 1;
  Receive(0, kB, forged);
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  EXPECT_THAT(node_->Nodes(), ElementsAre(kA));
  EXPECT_FALSE(node_->FindSae(SaeId("sae")).has_value());
  EXPECT_EQ(node_->alarms(), 1u);
}

TEST_F(RoutingTest, EveryFieldIsSigned) {
  const LinkState good = Signed(kC, 5, {Up(kC, kB)}, {{SaeId("sae"), 1}});
  std::vector<LinkState> changed(10, good);
  changed[0].origin = kD;
  changed[1].sequence = 6;
  changed[2].links.clear();
  changed[3].links[0].link = LinkId("another");
  changed[4].links[0].peer = kA;
  changed[5].links[0].up = false;
  changed[6].links[0].rate_bps = 1;
  changed[7].saes.clear();
  changed[8].saes[0].sae = SaeId("another");
  changed[9].saes[0].number = 2;
  for (const LinkState& state : changed) Receive(0, kB, state);
  EXPECT_THAT(node_->Nodes(), ElementsAre(kA));
  EXPECT_EQ(node_->alarms(), changed.size());
}

TEST_F(RoutingTest, RefusesMalformedRecordsEvenWhenSigned) {
  const SaeId x("x"), y("y");
  const std::vector<LinkState> bad = {
      Signed(NodeId(std::string(65, 'n')), 1),
      Signed(kC, 0),
      Signed(kC, (uint64_t{1} << 62) + 1),
      Signed(kC, 1, {Up(kC, kC)}),
      Signed(kC, 1, {Up(kC, kB), Up(kC, kB)}),
      Signed(kC, 1, {{LinkId(), kB, true}}),
      Signed(kC, 1, {{LinkId("l"), NodeId(), true}}),
      Signed(kC, 1, {}, {{x, 0}}),
      Signed(kC, 1, {}, {{x, kSaeNumberMax + 1}}),
      Signed(kC, 1, {}, {{x, 1}, {x, 2}}),
      Signed(kC, 1, {}, {{y, 1}, {x, 2}}),
      Signed(kC, 1, {}, {{x, 7}, {y, 7}}),
      Signed(kC, 1, {}, {{SaeId(std::string(301, 's')), 1}}),
      Signed(kC, 1, std::vector<LinkAdvert>(kLinksPerNodeMax + 1, Up(kC, kB))),
      Signed(kC, 1, {}, std::vector<SaeAdvert>(kSaesPerNodeMax + 1, {x, 1})),
  };
  for (const LinkState& state : bad) Receive(0, kB, state);
  EXPECT_THAT(node_->Nodes(), ElementsAre(kA));
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  EXPECT_EQ(node_->alarms(), bad.size());
}

TEST_F(RoutingTest, FloodsAChangeAtMostOnceAnInterval) {
  node_->SetLinks(At(100), {Up(kA, kB)}, node_.out);
  node_->SetLinks(At(200), {Up(kA, kB), Up(kA, kC)}, node_.out);
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  EXPECT_EQ(node_->NextDeadline(), At(500));
  node_->OnTick(At(499), node_.out);
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  node_->OnTick(At(500), node_.out);
  const auto sent = node_.out.TakeSent();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_THAT(sent[0].state.links, SizeIs(2));
  node_->OnTick(At(1'000), node_.out);
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
}

TEST_F(RoutingTest, FloodsFreeBytesOnlyPastAFactorOfTwo) {
  node_->SetLinks(At(1'000), {Up(kA, kB, 1'000)}, node_.out);
  EXPECT_THAT(node_.out.TakeSent(), SizeIs(1));
  node_->SetLinks(At(2'000), {Up(kA, kB, 501)}, node_.out);
  node_->SetLinks(At(2'001), {Up(kA, kB, 2'000)}, node_.out);
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  node_->SetLinks(At(2'002), {Up(kA, kB, 499)}, node_.out);
  EXPECT_THAT(node_.out.TakeSent(), SizeIs(1));
  node_->SetLinks(At(4'000), {Up(kA, kB, 0)}, node_.out);
  EXPECT_THAT(node_.out.TakeSent(), SizeIs(1));
}

TEST_F(RoutingTest, RefreshesItsRecordWithoutAChange) {
  EXPECT_EQ(node_->NextDeadline(), At(10'000));
  node_->OnTick(At(9'999), node_.out);
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  node_->OnTick(At(10'000), node_.out);
  const auto sent = node_.out.TakeSent();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_GT(sent[0].state.sequence, first_[0].state.sequence);
}

TEST_F(RoutingTest, TellsANewNeighbourTheWholeDatabase) {
  Receive(0, kB, Signed(kB, 1));
  Receive(0, kB, Signed(kC, 1));
  node_.out.TakeSent();
  node_->OnNeighbourUp(At(1), kD, node_.out);
  const auto sent = node_.out.TakeSent();
  ASSERT_THAT(sent, SizeIs(3));
  for (const auto& message : sent) EXPECT_EQ(message.to, kD);
  EXPECT_EQ(sent[0].state.origin, kA);
  EXPECT_EQ(sent[0].after, node_.out.last_write());
}

TEST_F(RoutingTest, TellsNoExpiredRecordsButItsOwnToTheirOrigin) {
  Receive(0, kB, Signed(kB, 1));
  Receive(0, kB, Signed(kC, 1));
  node_->OnTick(At(40'000), node_.out);
  node_.out.TakeSent();
  node_->OnNeighbourUp(At(40'001), kC, node_.out);
  const auto sent = node_.out.TakeSent();
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_EQ(sent[1].state.origin, kC);
}

TEST_F(RoutingTest, ForgetsForPathsWhatIsNotRenewed) {
  MakeChain();
  Receive(20'000, kB, Signed(kB, 2, {Up(kB, kA), Up(kB, kC)}));
  node_->OnTick(At(34'999), node_.out);
  EXPECT_THAT(node_->PathFor(kC, 1), ElementsAre(kA, kB, kC));
  node_->OnTick(At(35'000), node_.out);
  EXPECT_THAT(node_->PathFor(kC, 1), IsEmpty());
  EXPECT_FALSE(node_->NextHop(kC).has_value());
  EXPECT_THAT(node_->Nodes(), ElementsAre(kA, kB));
  Receive(36'000, kB, Signed(kC, 1, {Up(kC, kB)}));  // Old news do not renew it.
  EXPECT_THAT(node_->PathFor(kC, 1), IsEmpty());
  Receive(36'000, kB, Signed(kC, 2, {Up(kC, kB)}));
  EXPECT_THAT(node_->PathFor(kC, 1), ElementsAre(kA, kB, kC));
}

TEST_F(RoutingTest, UsesALinkOnlyIfBothEndsSayThatItIsUp) {
  node_->SetLinks(At(0), {Up(kA, kB)}, node_.out);
  EXPECT_THAT(node_->PathFor(kB, 1), IsEmpty());
  Receive(0, kB, Signed(kB, 1, {{LinkBetween(kA, kB), kA, false, 1'000, 1}}));
  EXPECT_THAT(node_->PathFor(kB, 1), IsEmpty());
  Receive(0, kB, Signed(kB, 2, {{LinkBetween(kA, kB), kC, true, 1'000, 1}}));
  EXPECT_THAT(node_->PathFor(kB, 1), IsEmpty());
  Receive(0, kB, Signed(kB, 3, {{LinkId("another"), kA, true, 1'000, 1}}));
  EXPECT_THAT(node_->PathFor(kB, 1), IsEmpty());
  Receive(0, kB, Signed(kB, 4, {Up(kB, kA)}));
  EXPECT_THAT(node_->PathFor(kB, 1), ElementsAre(kA, kB));
}

TEST_F(RoutingTest, NeedsFreePadInTheDirectionOfTravelOnly) {
  MakeChain(/*free_b_to_c=*/100);
  EXPECT_THAT(node_->PathFor(kC, 100), ElementsAre(kA, kB, kC));
  EXPECT_THAT(node_->PathFor(kC, 101), IsEmpty());
  EXPECT_EQ(node_->NextHop(kC), kB);  // Control spends no pad.
  Receive(1, kB, Signed(kB, 2, {Up(kB, kA, 0), Up(kB, kC, 101)}));
  EXPECT_THAT(node_->PathFor(kC, 101), ElementsAre(kA, kB, kC));
}

TEST_F(RoutingTest, SeesItsOwnPadsAsTheyAreNow) {
  MakeChain();
  EXPECT_THAT(node_->PathFor(kC, 100), ElementsAre(kA, kB, kC));
  node_->SetLinks(At(1), {Up(kA, kB, 99)}, node_.out);
  EXPECT_THAT(node_->PathFor(kC, 100), IsEmpty());
}

TEST_F(RoutingTest, LeavesOutTheNodesThatItIsToldTo) {
  node_->SetLinks(At(0), {Up(kA, kB), Up(kA, kC)}, node_.out);
  Receive(0, kB, Signed(kB, 1, {Up(kB, kA), Up(kB, kD)}));
  Receive(0, kB, Signed(kC, 1, {Up(kC, kA), Up(kC, kD)}));
  Receive(0, kB, Signed(kD, 1, {Up(kD, kB), Up(kD, kC)}));
  EXPECT_THAT(node_->PathFor(kD, 1), ElementsAre(kA, kB, kD));  // Lowest ID.
  EXPECT_THAT(node_->PathFor(kD, 1, {kB}), ElementsAre(kA, kC, kD));
  EXPECT_THAT(node_->PathFor(kD, 1, {kB, kC}), IsEmpty());
  EXPECT_THAT(node_->PathFor(kD, 1, {kA, kB, kD}), ElementsAre(kA, kC, kD));
}

TEST_F(RoutingTest, PrefersFewerHopsThenFreerPads) {
  node_->SetLinks(At(0), {Up(kA, kB), Up(kA, kC)}, node_.out);
  Receive(0, kB, Signed(kB, 1, {Up(kB, kA), Up(kB, kD, 1'000)}));
  Receive(0, kB, Signed(kC, 1, {Up(kC, kA), Up(kC, kD, 1'000'000)}));
  Receive(0, kB, Signed(kD, 1, {Up(kD, kB), Up(kD, kC)}));
  EXPECT_THAT(node_->PathFor(kD, 1), ElementsAre(kA, kC, kD));
  node_->SetLinks(At(1), {Up(kA, kB), Up(kA, kC), Up(kA, kD, 10)}, node_.out);
  Receive(1, kB, Signed(kD, 2, {Up(kD, kA), Up(kD, kB), Up(kD, kC)}));
  EXPECT_THAT(node_->PathFor(kD, 1), ElementsAre(kA, kD));
  EXPECT_THAT(node_->PathFor(kD, 11), ElementsAre(kA, kC, kD));
}

TEST_F(RoutingTest, KnowsItselfAlone) {
  EXPECT_THAT(node_->PathFor(kA, 1), ElementsAre(kA));
  EXPECT_THAT(node_->PathFor(kB, 1), IsEmpty());
  EXPECT_FALSE(node_->NextHop(kA).has_value());
  EXPECT_THAT(node_->Nodes(), ElementsAre(kA));
}

TEST_F(RoutingTest, JumpsAboveItsOwnRecordFromALifeThatItForgot) {
  Receive(1'000, kB, Signed(kA, 7'000));
  const auto sent = node_.out.TakeSent();
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_GT(sent[0].state.sequence, 7'000u);
  EXPECT_EQ(sent[0].except, NodeId());
  EXPECT_GE(node_.out.own()->sequence_reserved, sent[0].state.sequence);
  EXPECT_EQ(sent[0].after, node_.out.last_write());
  EXPECT_EQ(node_->alarms(), 1u);
}

TEST_F(RoutingTest, JumpsAboveAnotherRecordOfTheSameSequence) {
  Receive(1'000, kB, Signed(kA, first_[0].state.sequence, {Up(kA, kD)}));
  EXPECT_GT(node_.out.TakeSent().at(0).state.sequence, first_[0].state.sequence);
}

TEST_F(RoutingTest, RaisesOneAlarmForOneForgottenRecordFromManyNeighbours) {
  Receive(1, kB, Signed(kA, 7'000));
  Receive(2, kC, Signed(kA, 7'000));
  Receive(3, kD, Signed(kA, 6'999));
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  EXPECT_EQ(node_->alarms(), 1u);
  node_->OnTick(At(500), node_.out);
  EXPECT_THAT(node_.out.TakeSent(), SizeIs(1));
}

TEST_F(RoutingTest, IsNotMovedByItsOwnRecordComingBack) {
  Receive(1'000, kB, first_[0].state);
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  EXPECT_EQ(node_->alarms(), 0u);
}

TEST_F(RoutingTest, IsNotMovedByAForgeryOfItsOwnRecord) {
  LinkState forged = Signed(kB, 7'000);
  forged.origin = kA;
  Receive(1'000, kB, forged);
  EXPECT_THAT(node_.out.TakeSent(), IsEmpty());
  node_->OnTick(At(10'000), node_.out);
  EXPECT_LT(node_.out.TakeSent().at(0).state.sequence, 7'000u);
}

TEST(RoutingLimitsTest, TakesNoMoreNodesThanItsLimitButReplacesSilentOnes) {
  RoutingConfig config{kA};
  config.nodes_max = 3;
  TestNode node(config);
  node.Start(At(0));
  node->OnLinkState(At(0), kB, Signed(kB, 1), node.out);
  node->OnLinkState(At(1), kB, Signed(kC, 1), node.out);
  node->OnLinkState(At(2), kB, Signed(kD, 1), node.out);
  EXPECT_THAT(node->Nodes(), ElementsAre(kA, kB, kC));
  EXPECT_EQ(node->alarms(), 1u);
  node->OnLinkState(At(35'000), kC, Signed(kD, 1), node.out);  // b is silent for too long.
  EXPECT_THAT(node->Nodes(), ElementsAre(kA, kC, kD));
}

}  // namespace
}  // namespace keyhop
