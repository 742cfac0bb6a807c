#ifndef KEYHOP_TESTS_KMS_CORE_STREAM_STREAM_PAIR_WORLD_H_
#define KEYHOP_TESTS_KMS_CORE_STREAM_STREAM_PAIR_WORLD_H_
// The two ends of one pair stream over a network that loses, doubles, delays and reorders, with
// crashes that lose what was not synced, and old images of either end. Watched from outside: which
// bytes went to the master and to the slave under which address.

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "tests/kms/core/stream/stream_world.h"

namespace keyhop {

struct StreamFaults {
  uint32_t loss = 0;
  uint32_t doubling = 0;
  uint32_t crash = 0;
  uint32_t old_messages = 0;
  bool restore_source = false;
  bool restore_destination = false;
};

class StreamPairWorld {
 public:
  StreamPairWorld(uint64_t seed, StreamFaults faults)
      : random_(seed), faults_(faults), a_(random_), b_(random_) {
    config_.segment_body_bytes = 64u << random_.Below(4);
    config_.lease_bytes_min = 64;
    config_.lease_bytes_max = 128 << random_.Below(5);
    config_.reserve_bytes = 64 << random_.Below(6);
    config_.segments_in_flight_max = 1 + static_cast<uint32_t>(random_.Below(8));
    config_.segment_timeout = Duration::Millis(500);
    config_.epoch_interval_min = Duration::Seconds(5);
    StartSource();
    StartDestination();
  }

  // Returns what went wrong, or nothing.
  std::string Run(int steps) {
    for (int i = 0; i < steps && wrong_.empty(); ++i) Step();
    const StreamFaults none;
    faults_ = none;
    const size_t before = Progress();
    for (int i = 0; i < 6000 && wrong_.empty() && Progress() < before + 3; ++i) Step();
    if (wrong_.empty() && Progress() < before + 3) return "G4: no key after healing";
    return wrong_;
  }
  int rollbacks() const { return b_.rollbacks; }
  size_t fetched() const { return slave_.size(); }
  int crashes() const { return crashes_; }
  virtual ~StreamPairWorld() = default;

 protected:
  // For a world that does more with its pair: in each step, and when an end lost its memory.
  virtual void Also() {}
  virtual void OnSourceCrash() {}
  // What has to grow after healing.
  virtual size_t Progress() const { return slave_.size(); }

  struct InNetwork {
    bool to_source = false;
    std::variant<StreamMessage, Segment> what;
  };
  struct Key {
    StreamSource::Drawn drawn;
  };

  Incarnation Fresh() { return {++counter_, random_.Next()}; }
  void StartSource() {
    source_ = std::make_unique<StreamSource>(config_, stream_, Fresh(), a_.disk.Read());
  }
  void StartDestination() {
    destination_ = std::make_unique<StreamDestination>(config_, stream_, Fresh(), b_.disk.Read());
  }

  static Segment CopySegment(const Segment& s) {
    Segment copy;
    copy.stream = s.stream;
    copy.kind = s.kind;
    copy.session = s.session;
    copy.at = s.at;
    copy.path = s.path;
    copy.check = s.check;
    copy.payload = CopySecret(s.payload);
    return copy;
  }

  void Collect(EndShell& shell, bool to_source) {
    shell.Sync();
    for (StreamMessage& message : shell.Release()) {
      if (random_.Chance(faults_.loss)) continue;
      if (random_.Chance(faults_.doubling)) network_.push_back({to_source, message});
      if (old_.size() < 200) old_.push_back({to_source, message});
      network_.push_back({to_source, std::move(message)});
    }
  }

  void Step() {
    now_ = now_ + Duration::Millis(10);
    if (random_.Chance(faults_.crash)) Crash();
    // Source: tick, relays, draws.
    source_->OnTick(now_, {2048, 32}, a_);
    while (const auto wish = source_->NextSegment(now_, {2048, 32})) {
      SecretBytes payload(48 + wish->body_bytes);
      for (uint8_t& b : payload.ExposeMutable(SecretAccess::ForTest())) {
        b = static_cast<uint8_t>(random_.Next());
      }
      SecretBytes copy = CopySecret(payload);
      auto launched = source_->Launch(now_, *wish, {stream_.source, stream_.destination},
                                      std::move(payload), a_);
      launched.segment.payload = std::move(copy);
      if (random_.Chance(30) && crash_before_sync_) continue;
      if (!random_.Chance(faults_.loss)) network_.push_back({false, std::move(launched.segment)});
    }
    Collect(a_, false);
    if (random_.Chance(400)) Draw();
    destination_->OnTick(now_, b_);
    Collect(b_, true);
    // The network delivers some, in any order.
    for (size_t n = random_.Below(6); n > 0 && !network_.empty(); --n) {
      const size_t pick = random_.Chance(500) ? 0 : random_.Below(network_.size());
      InNetwork item = std::move(network_[pick]);
      network_.erase(network_.begin() + static_cast<ptrdiff_t>(pick));
      Deliver(std::move(item));
    }
    if (random_.Chance(faults_.old_messages) && !old_.empty()) {
      const InNetwork& old = old_[random_.Below(old_.size())];
      Deliver({old.to_source, std::get<StreamMessage>(old.what)});
    }
    if (!drawn_.empty() && random_.Chance(500)) FetchOne();
    Also();
    if (faults_.restore_destination && !image_b_ && destination_->unfetched_bytes() > 0 &&
        random_.Chance(20)) {
      image_b_ = b_.disk.Image();
      after_image_ = 0;
    }
    if (faults_.restore_source && !image_a_ && random_.Chance(20)) image_a_ = a_.disk.Image();
  }

  void Deliver(InNetwork item) {
    if (item.to_source) {
      source_->OnMessage(now_, std::get<StreamMessage>(item.what), a_);
      Collect(a_, false);
      // Every message of B made after the image and a record tells A that B was further.
      if (image_b_) ++after_image_;
    } else if (auto* segment = std::get_if<Segment>(&item.what)) {
      destination_->OnSegment(now_, std::move(*segment), b_);
      Collect(b_, true);
    } else {
      destination_->OnMessage(now_, std::get<StreamMessage>(item.what), b_);
      Collect(b_, true);
    }
  }

  void Crash() {
    ++crashes_;
    if (random_.Chance(500)) {
      a_.Crash();
      if (image_a_ && random_.Chance(400)) {
        a_.disk = std::move(*image_a_);
        image_a_.reset();
        faults_.restore_source = false;
      }
      StartSource();
      OnSourceCrash();
    } else {
      b_.Crash();
      StartDestination();
    }
  }

 public:
  // B goes back to its image; allowed once A got a message that B sent after the record.
  bool RestoreDestination() {
    if (!image_b_ || after_image_ < 20) return false;
    b_.Crash();
    b_.disk = std::move(*image_b_);
    image_b_.reset();
    faults_.restore_destination = false;
    StartDestination();
    return true;
  }
  std::string RunRestoringDestination(int steps) {
    bool done = false;
    for (int i = 0; i < steps && wrong_.empty(); ++i) {
      Step();
      // Everything B knew must have reached A: let the network run dry first.
      if (!done && image_b_ && after_image_ > 40) {
        for (int j = 0; j < 400; ++j) QuietStep();
        done = RestoreDestination();
      }
    }
    return Run(0);
  }
  // B forgets nothing but a fetch, of which A heard; the first that it then hears of A is a new
  // epoch.
  std::string RunForgettingOneFetch() {
    for (int i = 0; i < 6000 && drawn_.size() < 8; ++i) Step();
    for (int j = 0; j < 40; ++j) QuietStep();
    const size_t fetched = slave_.size();
    image_b_ = b_.disk.Image();
    for (int i = 0; i < 100 && slave_.size() == fetched; ++i) FetchOne();
    for (int j = 0; j < 40; ++j) QuietStep();
    after_image_ = 20;
    RestoreDestination();
    source_->BurnAll(now_, a_);
    return Run(500);
  }

 protected:
  void QuietStep() {
    now_ = now_ + Duration::Millis(50);
    destination_->OnTick(now_, b_);
    Collect(b_, true);
    while (!network_.empty()) {
      InNetwork item = std::move(network_.front());
      network_.erase(network_.begin());
      Deliver(std::move(item));
    }
  }

  void Draw() {
    const uint32_t length = 4u << random_.Below(6);
    auto draft = source_->Draw(now_, 1, length);
    if (!draft.ok()) return;
    if (draft->after > a_.durable()) return;  // It may not leave: the step's crash loses it.
    auto& drawn = draft->keys.front();
    const auto bytes = drawn.key.Expose(SecretAccess::ForTest());
    const std::vector<uint8_t> seen(bytes.begin(), bytes.end());
    if (length >= 16 && !content_.insert(seen).second) wrong_ = "G2: bytes drawn twice";
    drawn_.push_back({std::move(drawn)});
    if (drawn_.size() > 64) drawn_.erase(drawn_.begin());
  }

  static StreamDestination::WantedKey Wanted(const StreamSource::Drawn& drawn, uint32_t length) {
    return StreamDestination::Wanted{drawn.epoch, {drawn.offset, length, 1}};
  }
  void FetchOne() {
    const size_t pick = random_.Below(drawn_.size());
    const auto& drawn = drawn_[pick].drawn;
    const uint32_t length = static_cast<uint32_t>(drawn.key.size());
    auto got = destination_->Fetch({Wanted(drawn, length)}, b_);
    Collect(b_, true);
    if (!got.ok()) return;
    if (!got->keys.front().EqualsConstantTime(drawn.key)) wrong_ = "G1: the ends disagree";
    const auto bytes = got->keys.front().Expose(SecretAccess::ForTest());
    const std::vector<uint8_t> seen(bytes.begin(), bytes.end());
    if (length >= 16 && !fetched_.insert(seen).second) wrong_ = "G2: bytes fetched twice";
    if (!slave_.insert({drawn.epoch, drawn.offset, seen.size()}).second && length >= 16) {
      wrong_ = "G2: an address fetched twice";
    }
    // A second fetch of the same must fail at once.
    if (destination_->Fetch({Wanted(drawn, length)}, b_).ok()) {
      wrong_ = "G2: a used key was served";
    }
  }

  TestRandom random_;
  StreamFaults faults_;
  StreamConfig config_;
  const StreamId stream_{NodeId("a"), NodeId("b")};
  Instant now_{1'000'000'000};
  EndShell a_;
  EndShell b_;
  std::unique_ptr<StreamSource> source_;
  std::unique_ptr<StreamDestination> destination_;
  uint64_t counter_ = 0;
  std::vector<InNetwork> network_;
  std::vector<InNetwork> old_;
  std::vector<Key> drawn_;
  std::set<std::vector<uint8_t>> content_;
  std::set<std::vector<uint8_t>> fetched_;
  std::set<std::tuple<uint64_t, uint64_t, size_t>> slave_;
  std::optional<StreamDisk> image_a_;
  std::optional<StreamDisk> image_b_;
  int after_image_ = 0;
  int crashes_ = 0;
  bool crash_before_sync_ = true;
  std::string wrong_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_CORE_STREAM_STREAM_PAIR_WORLD_H_
