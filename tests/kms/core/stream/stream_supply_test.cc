// Supply notices over one pair stream, under the faults of stream_pair_world.h: what the source was
// told to stand is there for each slave named, once each, the same bytes; what it gave up is not
// answered as standing.

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kms/core/stream/stream_pair_world.h"

namespace keyhop {
namespace {

const SaeId kMaster("master");
const SaeId kSlaves[] = {SaeId("one"), SaeId("two")};

class SupplyWorld : public StreamPairWorld {
 public:
  SupplyWorld(uint64_t seed, StreamFaults faults) : StreamPairWorld(seed, faults) {
    config_.supplies_max = 1 + static_cast<uint32_t>(random_.Below(60));
    config_.fetch_life = Duration::Seconds(5 + static_cast<int64_t>(random_.Below(20)));
    StartSource();
    StartDestination();
  }
  size_t promised() const { return promised_count_; }
  size_t given_up() const { return given_up_; }
  size_t served() const { return served_; }

 private:
  struct Key {
    KeyId id;
    SecretBytes key;
    std::set<SaeId> fetched = {};
  };
  struct Notice {
    std::vector<Key> keys;
    Instant until;
    Instant stood = {};
    uint64_t epoch = 0;  // The destination's newest when it stood.
    int rollbacks = 0;
  };

  void OnSourceCrash() override { asked_.clear(); }
  size_t Progress() const override { return served_; }

  void Also() override {
    for (const StreamSource::SupplyResult& result : source_->TakeSupplyResults()) {
      const auto it = asked_.find(result.number);
      if (it == asked_.end()) {
        wrong_ = "a result that nobody waits for";
        return;
      }
      if (!result.stands || result.after > a_.durable()) {
        GiveUp(it);
        continue;
      }
      source_->ReleaseSupply(result.number);
      Promise(std::move(it->second));
      asked_.erase(it);
    }
    for (auto it = asked_.begin(); it != asked_.end();) {
      const auto next = std::next(it);
      if (it->second.until <= now_) GiveUp(it);
      it = next;
    }
    if (random_.Chance(150) && asked_.size() < 3) Ask();
    Collect(a_, false);
    if (!promised_.empty() && random_.Chance(400)) {
      FetchSupply(promised_[random_.Below(promised_.size())]);
    }
  }

  void GiveUp(std::map<uint64_t, Notice>::iterator it) {
    ++given_up_;
    source_->CancelSupply(now_, it->first, a_);
    asked_.erase(it);
  }

  void Ask() {
    const uint32_t length = 8 + static_cast<uint32_t>(random_.Below(40));
    const size_t count = 1 + random_.Below(3);
    std::vector<uint32_t> lengths = {kSupplyHeadBytes};
    lengths.insert(lengths.end(), count, length);
    if (!source_->CanSupply(now_, lengths)) return;
    auto draft = source_->DrawForSupply(now_, lengths);
    StreamSource::Supply supply;
    supply.master = kMaster;
    supply.slaves = {kSlaves[0], kSlaves[1]};
    supply.leased = std::move(draft.keys);
    supply.life = Duration::Millis(200 + static_cast<int64_t>(random_.Below(2000)));
    Notice notice;
    notice.until = now_ + supply.life;
    for (size_t i = 0; i < count; ++i) {
      Key key{.id = {}, .key = SecretBytes(length)};
      for (uint8_t& b : key.id) b = static_cast<uint8_t>(random_.Next());
      for (uint8_t& b : key.key.ExposeMutable(SecretAccess::ForTest())) {
        b = static_cast<uint8_t>(random_.Next());
      }
      notice.keys.push_back(std::move(key));
    }
    for (const Key& key : notice.keys) supply.keys.emplace_back(key.id, &key.key);
    asked_.emplace(source_->SendSupply(now_, supply, draft.after, a_), std::move(notice));
  }

  void Promise(Notice notice) {
    ++promised_count_;
    notice.stood = now_;
    notice.epoch = destination_->Epochs().empty() ? 0 : destination_->Epochs().front();
    notice.rollbacks = b_.rollbacks;
    promised_.push_back(std::move(notice));
    if (promised_.size() > 40) promised_.erase(promised_.begin());
  }

  void FetchSupply(Notice& notice) {
    Key& key = notice.keys[random_.Below(notice.keys.size())];
    const SaeId& slave = kSlaves[random_.Below(2)];
    if (destination_->SupplyFor(key.id, SaeId("another"), slave) != SupplyState::kNone ||
        destination_->SupplyFor(key.id, kMaster, SaeId("third")) == SupplyState::kReady) {
      wrong_ = "G2: ready for somebody that it does not name";
      return;
    }
    const SupplyState state = destination_->SupplyFor(key.id, kMaster, slave);
    if (state != SupplyState::kReady) {
      // Until its life is over, an opening may have burnt it, or an old image was found.
      const bool excused = notice.until + config_.fetch_life <= now_ ||
                           destination_->Epochs().empty() ||
                           destination_->Epochs().front() != notice.epoch || restored_ ||
                           b_.rollbacks != notice.rollbacks;
      if (!key.fetched.contains(slave) && !excused) wrong_ = "the master's key is not there";
      return;
    }
    auto got = destination_->Fetch({StreamDestination::WantedSupply{key.id, slave}}, b_);
    Collect(b_, true);
    if (!got.ok()) return;  // Not heard since its start.
    if (!key.fetched.insert(slave).second) wrong_ = "G2: a supplied key fetched twice";
    if (!got->keys.front().EqualsConstantTime(key.key)) wrong_ = "G1: a supplied key differs";
    ++served_;
  }

 public:
  void ExpectOldImages() { restored_ = true; }

 private:
  std::map<uint64_t, Notice> asked_;
  std::vector<Notice> promised_;
  size_t promised_count_ = 0;
  size_t given_up_ = 0;
  size_t served_ = 0;
  bool restored_ = false;
};

constexpr int kSeeds = 300;

TEST(StreamSupplyTest, SuppliesWithoutFaults) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SupplyWorld world(seed, {});
    ASSERT_EQ(world.Run(600), "") << "seed " << seed;
    EXPECT_GT(world.served(), 5u) << seed;
  }
}

TEST(StreamSupplyTest, SurvivesLossDoublingAndOldMessages) {
  size_t given_up = 0;
  size_t promised = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SupplyWorld world(seed, {.loss = 100, .doubling = 200, .old_messages = 200});
    ASSERT_EQ(world.Run(800), "") << "seed " << seed;
    given_up += world.given_up();
    promised += world.promised();
  }
  EXPECT_GT(given_up, size_t{kSeeds});
  EXPECT_GT(promised, size_t{kSeeds});
}

TEST(StreamSupplyTest, SurvivesCrashesOfEitherEnd) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SupplyWorld world(seed, {.loss = 50, .doubling = 100, .crash = 15, .old_messages = 100});
    ASSERT_EQ(world.Run(800), "") << "seed " << seed;
  }
}

TEST(StreamSupplyTest, AnOldImageOfTheSourceSuppliesNothingTwice) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SupplyWorld world(
        seed,
        {.loss = 50, .doubling = 100, .crash = 15, .old_messages = 100, .restore_source = true});
    ASSERT_EQ(world.Run(1000), "") << "seed " << seed;
  }
}

TEST(StreamSupplyTest, AnOldImageOfTheDestinationServesNoSuppliedKeyTwice) {
  int found = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SupplyWorld world(seed, {.loss = 30, .doubling = 100, .restore_destination = true});
    world.ExpectOldImages();
    ASSERT_EQ(world.RunRestoringDestination(800), "") << "seed " << seed;
    found += world.rollbacks();
  }
  EXPECT_GT(found, kSeeds / 4);
}

}  // namespace
}  // namespace keyhop
