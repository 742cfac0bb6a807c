#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>

#include "kms/core/book/interval_set.h"
#include "tests/trusted_node/core/link/link_world.h"

namespace keyhop {
namespace {

// Two ends under every fault at once: loss, doubling, reorder, crashes that lose unsynced writes,
// and old disk images of one end. The oracle watches from outside what leaves and what is taken.

using Bytes = std::vector<uint8_t>;

Bytes Reveal(const SecretBytes& secret) {
  const auto b = secret.Expose(SecretAccess::ForTest());
  return {b.begin(), b.end()};
}

struct Frame {
  int from = 0;
  uint64_t id = 0;
  Session session;
  std::vector<PadRange> ranges;
  Bytes r, s, pad;
  WriteSeq after = 0;
};

struct Totals {
  uint64_t frames = 0;
  uint64_t accepted = 0;
  uint64_t crashes = 0;
  uint64_t restores = 0;
  uint64_t sessions_ended = 0;
  uint64_t finished_refusals = 0;
  uint64_t rollbacks = 0;
};

class World {
 public:
  explicit World(uint64_t seed)
      : random_(seed),
        ends_{std::make_unique<TestEnd>(Config(true), seed * 2 + 1),
              std::make_unique<TestEnd>(Config(false), seed * 2 + 2)},
        restored_end_(static_cast<int>(random_() % 2)),
        loss_percent_(random_() % 40),
        double_percent_(random_() % 40),
        crash_percent_(random_() % 4),
        new_run_percent_(random_() % 8) {}

  // Returns what went wrong, or nothing.
  std::string Run(Totals& totals) {
    totals_ = &totals;
    for (int e : {0, 1}) end(e)->OnConnected(now_, end(e));
    for (int step = 0; step < 400 && wrong_.empty(); ++step) {
      Step();
      for (int e : {0, 1}) Collect(e);
    }
    if (wrong_.empty()) Heal();
    totals.rollbacks += static_cast<uint64_t>(end(0).rollbacks + end(1).rollbacks);
    return wrong_;
  }

 private:
  static constexpr size_t kUnitBytes = 96;

  LinkConfig Config(bool lower) {
    LinkConfig config = TestLinkConfig(lower);
    config.unit_bytes_max = kUnitBytes;
    config.lease_bytes_min = 64;
    config.lease_bytes_max = 1024;
    config.stock_bytes_max = 40 * kUnitBytes;
    config.failed_tags_max = 2;
    return config;
  }
  TestEnd& end(int e) { return *ends_[e]; }
  bool Chance(uint64_t percent) { return random_() % 100 < percent; }

  void Step() {
    const int e = static_cast<int>(random_() % 2);
    if (Chance(crash_percent_)) {
      const bool power_cut = Chance(40);
      Crash(e);
      if (power_cut) Crash(1 - e);
      Start(e);
      if (power_cut) Start(1 - e);
      return;
    }
    if (Chance(1)) image_ = end(restored_end_).disk.Clone();
    switch (random_() % 10) {
      case 0:
      case 1:
        return end(e).Sync(1 + random_() % 12);
      case 2:
        now_ = now_ + Duration::Millis(static_cast<int64_t>(random_() % 120));
        return Tick(e);
      case 3:
        Make();
        return GiveNext(e);
      case 4:
        return GiveNext(e);
      case 5:
      case 6:
        return SendFrame(e);
      case 7:
        if (Chance(10)) end(e)->OnConnected(now_, end(e));
        if (Chance(3)) {
          end(e)->OnFailedTag(now_, end(e));
          ++totals_->sessions_ended;
        }
        return;
      default:
        return Deliver();
    }
  }

  void Tick(int e) {
    if (const auto at = end(e)->NextDeadline(); at && *at <= now_) end(e)->OnTick(now_, end(e));
  }

  // ---- Modules: both ends get the same units in the same order, each at its own pace.
  void Make() {
    if (made_.size() > 400) return;
    if (Chance(new_run_percent_)) {
      ++run_;
      next_block_ = 0;
    }
    if (Chance(5)) ++next_block_;
    made_.emplace_back(BookId{1, run_}, next_block_++);
  }
  void GiveNext(int e) {
    if (given_[e] >= made_.size()) return;
    const auto [book, block] = made_[given_[e]];
    const auto taken = end(e)->Take(now_, book, block, UnitBytes(book, block, kUnitBytes), end(e));
    if (taken.ok()) {
      acks_[e].emplace_back(*taken, ++given_[e]);
    } else if (taken.status().code() == absl::StatusCode::kFailedPrecondition) {
      ++given_[e];
      ++totals_->finished_refusals;
    } else if (taken.status().code() != absl::StatusCode::kResourceExhausted) {
      wrong_ = "a unit is refused: " + std::string(taken.status().message());
    }
  }

  // ---- Frames and messages.
  void SendFrame(int e) {
    auto taken = end(e)->TakeForSending(now_, static_cast<uint32_t>(random_() % 60));
    if (!taken.ok()) return;
    Frame f;
    f.from = e;
    f.id = ++frame_ids_;
    f.session = end(e)->session();
    f.ranges = taken->ranges;
    f.r = Reveal(taken->r);
    f.s = Reveal(taken->s);
    f.pad = Reveal(taken->pad);
    f.after = taken->after;
    frames_waiting_[e].push_back(std::move(f));
    Collect(e);
  }

  // What is durable leaves: frames and messages.
  void Collect(int e) {
    for (LinkMessage& m : end(e).TakeSent()) messages_.emplace_back(1 - e, std::move(m));
    std::erase_if(acks_[e], [&](const auto& ack) {
      if (!end(e).Durable(ack.first)) return false;
      acked_[e] = std::max(acked_[e], ack.second);
      return true;
    });
    std::vector<Frame> waiting = std::move(frames_waiting_[e]);
    frames_waiting_[e].clear();
    for (Frame& f : waiting) {
      if (!end(e).Durable(f.after)) {
        frames_waiting_[e].push_back(std::move(f));
        continue;
      }
      SeeFrame(f);
      frames_.push_back(std::move(f));
    }
  }

  void SeeFrame(const Frame& f) {
    ++totals_->frames;
    Bytes all;
    for (const PadRange& range : f.ranges) {
      IntervalSet& used = used_[{range.book, range.block}];
      const Range bytes = {range.offset_bytes, uint64_t{range.offset_bytes} + range.length_bytes};
      if (used.Overlaps(bytes)) wrong_ = "G3: a pad byte protects two frames";
      if (r_of_.contains({range.book, range.block}) && range.offset_bytes < 16) {
        wrong_ = "G3: a pad byte was r of another lease";
      }
      used.Add(bytes);
      const Bytes unit = Reveal(UnitBytes(range.book, range.block, kUnitBytes));
      all.insert(all.end(), unit.begin() + range.offset_bytes,
                 unit.begin() + range.offset_bytes + range.length_bytes);
    }
    Bytes said = f.s;
    said.insert(said.end(), f.pad.begin(), f.pad.end());
    if (said != all) wrong_ = "the bytes taken are not those of the ranges";
    SeeR(f);
  }

  void SeeR(const Frame& f) {
    for (const auto& [book, block] : made_) {
      const Bytes unit = Reveal(UnitBytes(book, block, 16));
      if (unit != f.r) continue;
      const auto lease = std::tuple(f.session, f.from, f.ranges.front().lease);
      const auto [it, fresh] = r_of_.try_emplace({book, block}, lease);
      if (!fresh && it->second != lease) wrong_ = "G3: two leases have one r";
      if (used_[{book, block}].Overlaps({0, 16})) wrong_ = "G3: r protected a frame";
      return;
    }
    wrong_ = "r is of no unit";
  }

  void Deliver() {
    if (!messages_.empty() && (frames_.empty() || Chance(60))) {
      const size_t k = random_() % messages_.size();
      const auto [to, message] = messages_[k];
      if (!Chance(double_percent_)) messages_.erase(messages_.begin() + static_cast<long>(k));
      if (!Chance(loss_percent_)) end(to)->OnMessage(now_, message, end(to));
      return;
    }
    if (frames_.empty()) return;
    const size_t k = Chance(70) ? 0 : random_() % frames_.size();
    const Frame f = frames_[k];
    if (!Chance(double_percent_)) frames_.erase(frames_.begin() + static_cast<long>(k));
    if (!Chance(loss_percent_)) Receive(f);
  }

  bool Receive(const Frame& f) {
    auto taken = end(1 - f.from)->TakeForReceiving(f.session, f.ranges);
    if (!taken.ok()) return false;
    ++totals_->accepted;
    if (!accepted_.insert(f.id).second) wrong_ = "G6: a frame is accepted twice";
    if (Reveal(taken->r) != f.r || Reveal(taken->s) != f.s || Reveal(taken->pad) != f.pad) {
      wrong_ = "G1: the ends hold different pads for one frame";
    }
    return true;
  }

  // ---- Faults.
  void Crash(int e) {
    ++totals_->crashes;
    end(e).Crash(random_() % (end(e).under_way() + 1));
    frames_waiting_[e].clear();
    acks_[e].clear();
    given_[e] = acked_[e];
    if (e == restored_end_ && image_ && Chance(50)) {
      end(e).disk = image_->Clone();
      ++totals_->restores;
    }
  }
  void Start(int e) {
    end(e).Start();
    // A module that still has everything asks what this end took, and gives the rest again.
    if (Chance(60)) {
      const auto tops = end(e)->TakenTops();
      for (size_t i = 0; i < given_[e]; ++i) {
        const auto top = tops.find(made_[i].first);
        if (top == tops.end() || made_[i].second < top->second) continue;
        given_[e] = i;
        break;
      }
    }
    end(e)->OnConnected(now_, end(e));
  }

  // ---- Healing: faults end, and both directions get pads again.
  void Heal() {
    for (int e : {0, 1}) end(e)->OnConnected(now_, end(e));
    int passed[2] = {0, 0};
    for (int step = 0; step < 3000 && wrong_.empty(); ++step) {
      now_ = now_ + Duration::Millis(10);
      for (int e : {0, 1}) {
        Tick(e);
        if (step % 2 == 0) {
          if (e == 0) MakeHealing();
          GiveNext(e);
        }
        end(e).Sync();
        Collect(e);
      }
      while (!messages_.empty()) {
        const auto [to, message] = messages_.front();
        messages_.erase(messages_.begin());
        end(to)->OnMessage(now_, message, end(to));
      }
      for (int e : {0, 1}) {
        end(e).Sync();
        Collect(e);
        SendFrame(e);
      }
      const std::vector<Frame> frames = std::exchange(frames_, {});
      for (const Frame& f : frames) passed[f.from] += Receive(f) ? 1 : 0;
      if (passed[0] >= 5 && passed[1] >= 5) return;
    }
    if (wrong_.empty()) {
      wrong_ = "G4: wedged after healing: " + std::to_string(passed[0]) + " and " +
               std::to_string(passed[1]) + " frames passed";
    }
  }
  void MakeHealing() {
    if (made_.size() < 4000) made_.emplace_back(BookId{1, run_}, next_block_++);
  }

  std::mt19937_64 random_;
  std::unique_ptr<TestEnd> ends_[2];
  int restored_end_;
  uint64_t loss_percent_, double_percent_, crash_percent_, new_run_percent_;
  Instant now_ = {1'000'000'000};
  std::string wrong_;
  Totals* totals_ = nullptr;
  std::vector<std::pair<BookId, uint64_t>> made_;
  uint64_t run_ = 1;
  uint64_t next_block_ = 0;
  size_t given_[2] = {0, 0};
  size_t acked_[2] = {0, 0};
  std::vector<std::pair<WriteSeq, size_t>> acks_[2];
  std::vector<std::pair<int, LinkMessage>> messages_;
  std::vector<Frame> frames_waiting_[2];
  std::vector<Frame> frames_;
  uint64_t frame_ids_ = 0;
  std::set<uint64_t> accepted_;
  std::map<std::pair<BookId, uint64_t>, IntervalSet> used_;
  std::map<std::pair<BookId, uint64_t>, std::tuple<Session, int, uint64_t>> r_of_;
  std::optional<LinkDisk> image_;
};

TEST(LinkPropertyTest, NoPadByteProtectsTwoFramesAndNothingStaysWedged) {
  constexpr uint64_t kSeeds = 4000;
  Totals totals;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const std::string wrong = World(seed).Run(totals);
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
  // The run is worth something only if all of it happened.
  EXPECT_GT(totals.frames, 20 * kSeeds);
  EXPECT_GT(totals.accepted, 10 * kSeeds);
  EXPECT_GT(totals.crashes, kSeeds);
  EXPECT_GT(totals.restores, kSeeds / 5);
  EXPECT_GT(totals.sessions_ended, kSeeds / 5);
  EXPECT_GT(totals.finished_refusals, 0u);
  EXPECT_GT(totals.rollbacks, 0u);
  RecordProperty("frames", static_cast<int>(totals.frames));
  RecordProperty("accepted", static_cast<int>(totals.accepted));
}

}  // namespace
}  // namespace keyhop
