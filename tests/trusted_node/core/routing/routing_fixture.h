#ifndef KEYHOP_TESTS_TRUSTED_NODE_CORE_ROUTING_ROUTING_FIXTURE_H_
#define KEYHOP_TESTS_TRUSTED_NODE_CORE_ROUTING_ROUTING_FIXTURE_H_

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/trusted_node/core/routing/fake_authority.h"
#include "trusted_node/core/routing/routing.h"

namespace keyhop {

// Keeps everything that Routing says, and its records as a disk would: the newest for each key.
class RecordingOutbox : public RoutingOutbox {
 public:
  struct Sent {
    LinkState state;
    NodeId to;      // Empty: a flood.
    NodeId except;  // Of a flood.
    WriteSeq after = 0;
  };

  WriteSeq Write(DirectoryRecord record) override {
    directory_.insert_or_assign(record.sae, record);
    return ++last_write_;
  }
  WriteSeq Write(RoutingRecord record) override {
    own_ = record;
    return ++last_write_;
  }
  void Flood(const LinkState& state, const NodeId& except, WriteSeq after) override {
    sent_.push_back({state, NodeId(), except, after});
  }
  void SendTo(const NodeId& neighbour, const LinkState& state, WriteSeq after) override {
    sent_.push_back({state, neighbour, NodeId(), after});
  }

  std::vector<Sent> TakeSent() { return std::exchange(sent_, {}); }
  std::vector<DirectoryRecord> directory() const {
    std::vector<DirectoryRecord> records;
    for (const auto& [sae, record] : directory_) records.push_back(record);
    return records;
  }
  std::optional<RoutingRecord> own() const { return own_; }
  WriteSeq last_write() const { return last_write_; }

 private:
  std::vector<Sent> sent_;
  std::map<SaeId, DirectoryRecord> directory_;
  std::optional<RoutingRecord> own_;
  WriteSeq last_write_ = 0;
};

// One node with its disk; Restart() begins a new life from what the disk has, or from an older
// copy of it.
class TestNode {
 public:
  explicit TestNode(RoutingConfig config) : config_(std::move(config)), authority_(config_.self) {}

  void Start(Instant now) { StartFrom(now, out.directory(), out.own()); }
  void StartFrom(Instant now, std::vector<DirectoryRecord> directory,
                 std::optional<RoutingRecord> own) {
    routing_ = std::make_unique<Routing>(config_, authority_, std::move(directory), own);
    routing_->Start(now, out);
  }
  void Configure(std::vector<SaeId> saes) { config_.saes = std::move(saes); }

  Routing* operator->() { return routing_.get(); }
  const FakeAuthority& authority() const { return authority_; }
  const NodeId& id() const { return config_.self; }

  RecordingOutbox out;

 private:
  RoutingConfig config_;
  FakeAuthority authority_;
  std::unique_ptr<Routing> routing_;
};

inline LinkId LinkBetween(const NodeId& a, const NodeId& b) {
  return LinkId(std::min(a, b).value + "-" + std::max(a, b).value);
}

inline LinkAdvert Up(const NodeId& from, const NodeId& to, uint64_t free_bytes = 1 << 20) {
  return {LinkBetween(from, to), to, true, free_bytes, 1'000'000};
}

// A record as `origin` itself would make it.
inline LinkState Signed(const NodeId& origin, uint64_t sequence, std::vector<LinkAdvert> links = {},
                        std::vector<SaeAdvert> saes = {}) {
  std::sort(links.begin(), links.end(),
            [](const LinkAdvert& a, const LinkAdvert& b) { return a.link < b.link; });
  LinkState state{origin, sequence, std::move(links), std::move(saes)};
  state.signature = FakeAuthority(origin).Sign(LayoutOf(state));
  return state;
}

inline Instant At(int64_t milliseconds) { return Instant{} + Duration::Millis(milliseconds); }

}  // namespace keyhop

#endif  // KEYHOP_TESTS_TRUSTED_NODE_CORE_ROUTING_ROUTING_FIXTURE_H_
