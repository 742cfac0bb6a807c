#ifndef KEYHOP_TESTS_TRUSTED_NODE_CORE_NODE_NODE_WORLD_H_
#define KEYHOP_TESTS_TRUSTED_NODE_CORE_NODE_NODE_WORLD_H_
// A few whole node cores in virtual time on a fault-free network, each with a disk of its own; for
// tests of what one node does. What faults do is the network simulation's affair.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/net/disk.h"
#include "trusted_node/core/node/node.h"

namespace keyhop {

class NodeWorld {
 public:
  // `tune` gets each node's configuration before it starts. Links join neighbours of a line, each
  // node's one SAE is named as the node, in capitals.
  using Tune = std::function<void(NodeConfig&)>;
  // A ring also joins the first with the last.
  enum class Shape { kLine, kRing };
  explicit NodeWorld(std::vector<std::string> line, Tune tune = {}, Shape shape = Shape::kLine);

  // Starts what is not up, from its disk, and connects it with its neighbours.
  void Start(const std::string& node);
  void Crash(const std::string& node);
  // Until `span` has passed.
  void Run(Duration span);

  // `bytes` of pads at both ends of every link of which both ends are up.
  void MakePads(uint64_t bytes);

  void Feed(const std::string& node, Input input);
  // A request's token; its answer is in `answers` once there is one.
  uint64_t Draw(const std::string& master, const std::string& slave, uint64_t number = 1,
                std::vector<ExtensionParameter> mandatory = {});
  uint64_t Draw(const std::string& node, DrawRequest request);
  // Asks which keys were drawn for the SAE of `node`; its answer is in `watched` once there is one.
  uint64_t Watch(const std::string& node, std::optional<WatchRequest::Place> seen = {});
  uint64_t Fetch(const std::string& slave, const std::string& master, std::vector<KeyId> ids);
  uint64_t Fetch(const std::string& node, FetchRequest request);
  // ETSI GS QKD 004; its answer is in `streamed`.
  uint64_t Stream(const std::string& node, KeystreamRequest request);
  uint64_t Switch(const std::string& node, const std::string& link, bool up);
  // The SAE at `home`, by an operator of `node`.
  uint64_t SwitchSae(const std::string& node, const std::string& home, bool active);
  // The container that answered `token`; fails the test if there is none.
  const KeyContainer& Keys(uint64_t token) const;
  // The refusal that answered `token`, or null.
  const Refusal* RefusalOf(uint64_t token) const;
  bool answered(uint64_t token) const { return answers.contains(token); }

  NodeSnapshot Snapshot(const std::string& node) const;
  Instant now() const { return now_; }
  sim::Disk& disk(const std::string& node) { return hosts_.at(node).disk; }

  std::map<uint64_t, Outcome<KeyContainer>> answers;
  std::map<uint64_t, PairStatus> statuses;
  std::map<uint64_t, Outcome<WatchAnswer>> watched;
  std::map<uint64_t, absl::Status> switched;
  std::map<uint64_t, Outcome<KeystreamAnswer>> streamed;
  // Whether a message that a node lets out gets through; all do if there is none.
  std::function<bool(const std::string& from, const KxMessage& message)> passes;
  bool alarms_expected = false;
  uint64_t frames = 0;  // Relay frames that left any node.

 private:
  struct Host {
    std::unique_ptr<EntropySource> entropy;
    std::unique_ptr<LinkStateAuthority> authority;
    std::unique_ptr<NodeCore> core;
    NodeGate gate;
    sim::Disk disk;
    uint64_t starts = 0;
  };
  struct Message {
    std::string from;
    std::string to;
    KxMessage message;
  };

  NodeConfig ConfigOf(const std::string& node) const;
  bool Adjacent(size_t a, size_t b) const {
    const bool closes = shape_ == Shape::kRing && a + b + 1 == line_.size() && (a == 0 || b == 0);
    return a + 1 == b || b + 1 == a || closes;
  }
  void Release(const std::string& node, Output output);
  // Delivers until nobody says any more.
  void Settle();

  const std::vector<std::string> line_;
  const Tune tune_;
  const Shape shape_;
  std::map<std::string, Host> hosts_;
  std::deque<Message> messages_;
  Instant now_{1'000'000'000};
  uint64_t next_token_ = 1;
  uint64_t next_block_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_TRUSTED_NODE_CORE_NODE_NODE_WORLD_H_
