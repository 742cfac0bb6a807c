#include "kms/core/delivery/fair_order.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace keyhop {
namespace {

const SaeId kAlice("alice");
const SaeId kBob("bob");
const SaeId kCarol("carol");

// Serves the one whose turn it is, of those that wait; each asks for so many bytes a time.
class Counter {
 public:
  explicit Counter(std::map<SaeId, uint64_t> bytes, std::map<SaeId, uint32_t> shares = {})
      : bytes_(std::move(bytes)), shares_(std::move(shares)) {}

  void Enter(const SaeId& sae) {
    order_.Enter(sae);
    ++waiting_[sae];
  }
  SaeId Serve() {
    const SaeId* next = nullptr;
    for (const auto& [sae, count] : waiting_) {
      if (count > 0 && (next == nullptr || EndOf(sae) < EndOf(*next))) next = &sae;
    }
    const SaeId sae = *next;
    order_.Served(sae, bytes_.at(sae), ShareOf(sae));
    order_.Leave(sae);
    --waiting_[sae];
    got_[sae] += bytes_.at(sae);
    return sae;
  }
  uint64_t got(const SaeId& sae) const { return got_.contains(sae) ? got_.at(sae) : 0; }

 private:
  uint32_t ShareOf(const SaeId& sae) const { return shares_.contains(sae) ? shares_.at(sae) : 1; }
  uint64_t EndOf(const SaeId& sae) const { return order_.EndOf(sae, bytes_.at(sae), ShareOf(sae)); }

  const std::map<SaeId, uint64_t> bytes_;
  const std::map<SaeId, uint32_t> shares_;
  FairOrder order_;
  std::map<SaeId, int> waiting_;
  std::map<SaeId, uint64_t> got_;
};

TEST(FairOrderTest, AFloodGetsNoMoreThanWhoAsksNowAndThen) {
  Counter counter({{kAlice, 32}, {kBob, 32}});
  for (int i = 0; i < 100; ++i) counter.Enter(kAlice);
  for (int i = 0; i < 20; ++i) {
    counter.Enter(kBob);
    const SaeId first = counter.Serve();
    const SaeId second = counter.Serve();
    EXPECT_NE(first, second) << i;
  }
  EXPECT_EQ(counter.got(kAlice), counter.got(kBob));
}

TEST(FairOrderTest, BytesCountNotRequests) {
  Counter counter({{kAlice, 2048}, {kBob, 32}});
  for (int i = 0; i < 10; ++i) counter.Enter(kAlice);
  for (int i = 0; i < 1'000; ++i) counter.Enter(kBob);
  for (int i = 0; i < 325; ++i) counter.Serve();
  EXPECT_NEAR(static_cast<double>(counter.got(kAlice)), static_cast<double>(counter.got(kBob)),
              2048);
}

TEST(FairOrderTest, SharesDivideWhatThereIs) {
  Counter counter({{kAlice, 32}, {kBob, 32}, {kCarol, 32}}, {{kAlice, 3}, {kBob, 2}});
  for (const SaeId& sae : {kAlice, kBob, kCarol}) {
    for (int i = 0; i < 600; ++i) counter.Enter(sae);
  }
  for (int i = 0; i < 600; ++i) counter.Serve();
  EXPECT_NEAR(static_cast<double>(counter.got(kAlice)), 300 * 32, 64);
  EXPECT_NEAR(static_cast<double>(counter.got(kBob)), 200 * 32, 64);
  EXPECT_NEAR(static_cast<double>(counter.got(kCarol)), 100 * 32, 64);
}

TEST(FairOrderTest, WhoWasAwayHasNoCreditFromThen) {
  Counter counter({{kAlice, 32}, {kBob, 32}});
  for (int i = 0; i < 200; ++i) counter.Enter(kAlice);
  for (int i = 0; i < 100; ++i) counter.Serve();
  for (int i = 0; i < 100; ++i) counter.Enter(kBob);
  for (int i = 0; i < 40; ++i) counter.Serve();
  EXPECT_NEAR(static_cast<double>(counter.got(kBob)), 20 * 32, 32);
}

TEST(FairOrderTest, WhoWaitsInVainIsChargedNothing) {
  FairOrder order;
  order.Enter(kAlice);
  order.Enter(kBob);
  order.Leave(kAlice);
  EXPECT_EQ(order.WaitingOf(kAlice), 0u);
  order.Enter(kAlice);
  EXPECT_EQ(order.EndOf(kAlice, 32, 1), order.EndOf(kBob, 32, 1));
}

TEST(HasPlaceTest, AFloodLeavesRoomAndOneAloneGetsHalf) {
  size_t own = 0;
  while (HasPlace(own, own, 128)) ++own;
  EXPECT_EQ(own, 64u);
  // Each next one takes half of the rest; the 20th of as many still has a place.
  size_t taken = own;
  for (int other = 0; other < 20 && taken < 128; ++other) {
    EXPECT_TRUE(HasPlace(0, taken, 128));
    ++taken;
  }
  EXPECT_FALSE(HasPlace(0, 128, 128));
}

}  // namespace
}  // namespace keyhop
