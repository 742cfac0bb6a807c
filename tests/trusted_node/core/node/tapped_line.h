#ifndef KEYHOP_TESTS_TRUSTED_NODE_CORE_NODE_TAPPED_LINE_H_
#define KEYHOP_TESTS_TRUSTED_NODE_CORE_NODE_TAPPED_LINE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "sim/net/lease_watch.h"
#include "sim/net/pad_truth.h"
#include "sim/net/plan.h"
#include "sim/net/prng.h"
#include "sim/net/world.h"
#include "trusted_node/core/node/node.h"

namespace keyhop {

// The pads of every link: bytes from a seed, some of them exchanged for others. Both ends of a link
// get the same.
class PadBook {
 public:
  explicit PadBook(const sim::Plan& plan) : truth_(plan.seed, plan.links) {}

  std::vector<uint8_t> Block(size_t link, const BookId& book, uint64_t block) const;
  // The bytes that a frame's ranges name, in order.
  std::vector<uint8_t> Gather(size_t link, const std::vector<PadRange>& ranges) const;
  // Puts `bytes` in the place of those, from the `skip`th on.
  void Replace(size_t link, const std::vector<PadRange>& ranges, size_t skip,
               std::span<const uint8_t> bytes);

 private:
  sim::PadTruth truth_;
  std::map<std::tuple<size_t, BookId, uint64_t>, std::vector<uint8_t>> exchanged_;
};

// What a tap above TLS saw: one message.
struct TappedMessage {
  Instant at;
  size_t from = 0;
  size_t to = 0;
  std::string bytes;  // A keyhop.kx.v1.KxMessage.
  friend bool operator==(const TappedMessage&, const TappedMessage&) = default;
};
struct TappedFrame {
  size_t link = 0;
  size_t from = 0;
  RelayFrame frame;
};
struct DrawnKey {
  SaeId master;
  SaeId slave;
  KeyId id = {};
  std::vector<uint8_t> drawn;
  std::vector<uint8_t> fetched;  // Empty until it was.
};

// Four whole nodes in a line, n0 to n3, in virtual time without faults. An SAE lives at each; some
// pairs draw and fetch. Each message is serialised as the daemon does and parsed at the other end.
// Everything follows from the pads: the rest of the randomness is the same in each run.
class TappedLine {
 public:
  static sim::Plan MakePlan();

  explicit TappedLine(const PadBook& pads);
  void Run();

  const std::vector<TappedMessage>& traffic() const { return traffic_; }
  const std::vector<TappedFrame>& frames() const { return frames_; }
  const std::vector<DrawnKey>& keys() const { return keys_; }
  const std::vector<std::string>& alarms() const { return alarms_; }
  // Bytes of r of the lease that the frame's s is from.
  std::vector<uint8_t> HopKeyOf(const TappedFrame& tapped);

  static constexpr uint64_t kBlocks = 48;  // Of each link.

 private:
  using Action = std::function<void()>;
  struct Host {
    std::unique_ptr<sim::SimAuthority> authority;
    std::unique_ptr<sim::SeededEntropy> entropy;
    std::unique_ptr<NodeCore> core;
    NodeGate gate;
    std::optional<Instant> wake_at;
  };

  void At(Duration delay, Action action);
  void Feed(size_t node, Input input);
  void Release(size_t node, Output output);
  void Send(size_t from, const NodeId& peer, const KxMessage& message);
  void Arm(size_t node);
  void DrawSoon(size_t master, size_t slave, Duration wait);
  void OnKeys(uint64_t token, Outcome<KeyContainer> outcome);

  const sim::Plan plan_;
  const PadBook& pads_;
  sim::LeaseWatch leases_;
  Instant now_ = {Duration::Seconds(1).ns};
  std::multimap<Instant, Action> events_;
  std::vector<Host> hosts_;
  std::vector<TappedMessage> traffic_;
  std::vector<TappedFrame> frames_;
  std::vector<DrawnKey> keys_;
  std::vector<std::string> alarms_;
  uint64_t next_token_ = 1;
  std::map<uint64_t, DrawRequest> draws_;
  std::map<uint64_t, FetchRequest> fetches_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_TRUSTED_NODE_CORE_NODE_TAPPED_LINE_H_
