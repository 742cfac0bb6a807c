#include "trusted_node/core/routing/sae_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trusted_node/core/routing/routing_fixture.h"
#include "trusted_node/core/routing/routing.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const NodeId kA("a"), kB("b"), kC("c");
const SaeId kX("x"), kY("y"), kZ("z");

RoutingConfig WithSaes(std::vector<SaeId> saes) {
  RoutingConfig config{kA};
  config.saes = std::move(saes);
  return config;
}

TEST(SaeDirectoryTest, NumbersAreDurableBeforeTheyAreTold) {
  TestNode node(WithSaes({kX, kY}));
  node.Start(At(0));
  const auto sent = node.out.TakeSent();
  EXPECT_THAT(sent.at(0).state.saes, ElementsAre(SaeAdvert{kX, 1}, SaeAdvert{kY, 2}));
  EXPECT_EQ(sent[0].after, node.out.last_write());
  EXPECT_EQ(node.out.own()->next_number, 3u);
  EXPECT_EQ(node.out.directory().size(), 2u);
}

TEST(SaeDirectoryTest, AnSaeKeepsItsNumberAndNoOtherGetsIt) {
  TestNode node(WithSaes({kX, kY}));
  node.Start(At(0));
  node.Configure({kZ, kY});
  node.Start(At(0));
  EXPECT_EQ(node->FindSae(kY)->number, 2u);
  EXPECT_EQ(node->FindSae(kZ)->number, 3u);
  EXPECT_FALSE(node->FindSae(kX).has_value());
  EXPECT_EQ(node->LocalSae(1), kX);
  EXPECT_THAT(node.out.TakeSent().back().state.saes,
              ElementsAre(SaeAdvert{kY, 2}, SaeAdvert{kZ, 3}));
  node.Configure({kX});
  node.Start(At(0));
  EXPECT_EQ(node->FindSae(kX)->number, 1u);
  EXPECT_EQ(node->LocalSae(3), kZ);
  EXPECT_FALSE(node->LocalSae(4).has_value());
}

TEST(SaeDirectoryTest, TheFirstClaimToANameStaysAlsoAfterARestart) {
  TestNode node(WithSaes({}));
  node.Start(At(0));
  node->OnLinkState(At(0), kB, Signed(kB, 1, {}, {{kX, 4}}), node.out);
  node->OnLinkState(At(0), kB, Signed(kC, 1, {}, {{kX, 9}, {kY, 1}}), node.out);
  EXPECT_EQ(node->FindSae(kX)->home, kB);
  EXPECT_EQ(node->FindSae(kX)->number, 4u);
  EXPECT_EQ(node->FindSae(kY)->home, kC);
  EXPECT_EQ(node->alarms(), 1u);
  node->OnLinkState(At(1), kB, Signed(kC, 2, {}, {{kX, 9}, {kY, 1}}), node.out);
  EXPECT_EQ(node->alarms(), 1u);  // Said again in each refresh, counted once.

  node.Start(At(0));
  EXPECT_EQ(node->FindSae(kX)->home, kB);
  node->OnLinkState(At(0), kB, Signed(kC, 3, {}, {{kX, 9}}), node.out);
  EXPECT_EQ(node->FindSae(kX)->home, kB);
  EXPECT_EQ(node->alarms(), 1u);
}

TEST(SaeDirectoryTest, NobodyElseTakesANameOfThisNode) {
  TestNode node(WithSaes({kX}));
  node.Start(At(0));
  node->OnLinkState(At(0), kB, Signed(kB, 1, {}, {{kX, 4}}), node.out);
  EXPECT_EQ(node->FindSae(kX)->home, kA);
  EXPECT_EQ(node->alarms(), 1u);
}

TEST(SaeDirectoryTest, DoesNotRegisterANameThatLivesElsewhere) {
  TestNode node(WithSaes({}));
  node.Start(At(0));
  node->OnLinkState(At(0), kB, Signed(kB, 1, {}, {{kX, 4}}), node.out);
  node.Configure({kX, kY});
  node.Start(At(0));
  EXPECT_EQ(node->FindSae(kX)->home, kB);
  EXPECT_EQ(node->alarms(), 1u);
  EXPECT_THAT(node.out.TakeSent().back().state.saes, ElementsAre(SaeAdvert{kY, 1}));
}

TEST(SaeDirectoryTest, AnEntryOutlivesItsHomesSilence) {
  TestNode node(WithSaes({}));
  node.Start(At(0));
  node->OnLinkState(At(0), kB, Signed(kB, 1, {}, {{kX, 4}}), node.out);
  node->OnTick(At(60'000), node.out);
  EXPECT_THAT(node->Nodes(), ElementsAre(kA));
  EXPECT_EQ(node->FindSae(kX)->home, kB);
  EXPECT_THAT(node->Homes(), ElementsAre(kB));
}

TEST(SaeDirectoryTest, AHomeMayCorrectItsOwnNumber) {
  TestNode node(WithSaes({}));
  node.Start(At(0));
  node->OnLinkState(At(0), kB, Signed(kB, 1, {}, {{kX, 4}}), node.out);
  node->OnLinkState(At(0), kB, Signed(kB, 2, {}, {{kX, 5}}), node.out);
  EXPECT_EQ(node->FindSae(kX)->number, 5u);
  EXPECT_EQ(node->alarms(), 1u);
  EXPECT_EQ(node.out.directory().at(0).number, 5u);
}

TEST(SaeDirectoryTest, HoldsNoMoreThanItsLimits) {
  RoutingConfig config = WithSaes({kZ});
  config.saes_max = 2;
  TestNode node(config);
  node.Start(At(0));
  node->OnLinkState(At(0), kB, Signed(kB, 1, {}, {{kX, 1}, {kY, 2}}), node.out);
  EXPECT_TRUE(node->FindSae(kX).has_value());
  EXPECT_FALSE(node->FindSae(kY).has_value());
  EXPECT_EQ(node->alarms(), 1u);
}

TEST(SaeDirectoryTest, OneHomeCannotFillIt) {
  SaeDirectory directory(WithSaes({}), {}, 1);
  for (uint32_t i = 1; i <= SaeDirectory::kEntriesPerHomeMax; ++i) {
    ASSERT_EQ(directory.Take(kB, {SaeId(std::to_string(i)), i}), SaeDirectory::Claim::kNew);
  }
  EXPECT_EQ(directory.Take(kB, {kX, 1}), SaeDirectory::Claim::kRefused);
  EXPECT_EQ(directory.Take(kC, {kX, 1}), SaeDirectory::Claim::kNew);
}

TEST(SaeDirectoryTest, GivesNoNumberPastEighteenBits) {
  TestNode node(WithSaes({kX, kY}));
  node.StartFrom(At(0), {}, RoutingRecord{0, kSaeNumberMax});
  EXPECT_EQ(node->FindSae(kX)->number, kSaeNumberMax);
  EXPECT_FALSE(node->FindSae(kY).has_value());
  EXPECT_EQ(node->alarms(), 1u);
}

// The image is from before y and z were registered; then they came in another order.
TEST(SaeDirectoryTest, ARestoredHomeTakesOverTheNumbersThatItGaveAndForgot) {
  TestNode node(WithSaes({kX}));
  node.Start(At(0));
  const auto old_directory = node.out.directory();
  const auto old_own = node.out.own();
  node.Configure({kX, kZ});
  node.Start(At(0));
  node.Configure({kX, kZ, kY});
  node.Start(At(0));
  const LinkState before = node.out.TakeSent().back().state;
  ASSERT_THAT(before.saes, ElementsAre(SaeAdvert{kX, 1}, SaeAdvert{kY, 3}, SaeAdvert{kZ, 2}));

  node.Configure({kX, kY});
  node.StartFrom(At(0), old_directory, old_own);
  EXPECT_EQ(node->FindSae(kY)->number, 2u);
  node.out.TakeSent();
  node->OnLinkState(At(1'000), kB, before, node.out);
  EXPECT_EQ(node->FindSae(kY)->number, 3u);
  EXPECT_EQ(node->LocalSae(2), kZ);
  const auto sent = node.out.TakeSent();
  EXPECT_GT(sent.at(0).state.sequence, before.sequence);
  EXPECT_THAT(sent[0].state.saes, ElementsAre(SaeAdvert{kX, 1}, SaeAdvert{kY, 3}));
  EXPECT_EQ(node.out.own()->next_number, 4u);
  EXPECT_EQ(sent[0].after, node.out.last_write());
}

TEST(SaeDirectoryTest, AnSaeInTheWayOfAForgottenNumberGetsANewOne) {
  SaeDirectory directory(WithSaes({kX, kY}), {{kX, kA, 1}, {kY, kA, 2}}, 3);
  const auto records = directory.AdoptOwn({{kX, 2}, {kZ, 7}});
  EXPECT_EQ(records.size(), 3u);
  EXPECT_EQ(directory.FindLocal(2), kX);
  EXPECT_EQ(directory.FindLocal(7), kZ);
  EXPECT_EQ(directory.Find(kY)->number, 8u);
  EXPECT_EQ(directory.next_number(), 9u);
}

TEST(SaeDirectoryTest, HomesAreThoseOfConfiguredAndOfForeignSaes) {
  TestNode node(WithSaes({}));
  node.Start(At(0));
  EXPECT_THAT(node->Homes(), IsEmpty());
  node->OnLinkState(At(0), kB, Signed(kB, 1, {}, {{kX, 4}}), node.out);
  node->OnLinkState(At(0), kB, Signed(kC, 1), node.out);
  node.Configure({kY});
  node.Start(At(0));
  EXPECT_THAT(node->Homes(), UnorderedElementsAre(kA, kB));
}

}  // namespace
}  // namespace keyhop
