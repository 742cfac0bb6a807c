#include "bench/core_star.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kms/base/overload.h"
#include "kms/base/status_macros.h"
#include "sim/net/prng.h"
#include "sim/net/world.h"
#include "trusted_node/core/node/node.h"

namespace keyhop::bench {
namespace {

constexpr uint64_t kKeyBytes = 32;
constexpr uint32_t kBlockBytes = 4096;
constexpr uint64_t kDrawsOfARound = 400;
constexpr Duration kFilledWithin = Duration::Seconds(3600);  // Virtual.
constexpr size_t kCenter = 0;

NodeId NodeOf(size_t node) { return NodeId(absl::StrFormat("n%04d", node)); }
SaeId SaeOf(size_t node) { return SaeId(absl::StrFormat("sae-%04d", node)); }
LinkId LinkTo(size_t leaf) { return LinkId(absl::StrFormat("link-%04d", leaf)); }

}  // namespace

class CoreStar::Impl {
 public:
  Impl(size_t peers, uint64_t keys) : target_bytes_(keys / peers * kKeyBytes) {
    for (size_t i = 0; i <= peers; ++i) {
      by_id_[NodeOf(i)] = i;
      hosts_.emplace_back();
    }
  }

  absl::Status Start() {
    for (size_t i = 0; i < hosts_.size(); ++i) {
      Host& host = hosts_[i];
      host.entropy = std::make_unique<sim::SeededEntropy>(sim::Prng::Mix(i, 1));
      host.authority = std::make_unique<sim::SimAuthority>(1, NodeOf(i));
      KEYHOP_ASSIGN_OR_RETURN(host.core,
                              NodeCore::Create(ConfigOf(i), *host.entropy, *host.authority, {}));
      Feed(i, DeadlineReached{});
    }
    for (size_t leaf = 1; leaf < hosts_.size(); ++leaf) {
      Feed(leaf, PeerConnected{NodeOf(kCenter)});
      Feed(kCenter, PeerConnected{NodeOf(leaf)});
      Settle();
    }
    return Fill();
  }

  absl::StatusOr<WindowResult> Run(const WindowPlan& plan) {
    WindowResult result;
    while (result.seconds * 1e9 < static_cast<double>(plan.length.ns)) {
      std::vector<DrawRequest> draws;
      for (uint64_t i = 0; i < kDrawsOfARound; ++i) {
        next_peer_ = next_peer_ % (hosts_.size() - 1) + 1;
        draws.push_back({.caller = SaeOf(kCenter), .slave = SaeOf(next_peer_)});
      }
      answered_ = 0;
      const Clock::time_point start = Clock::now();
      for (DrawRequest& draw : draws) Feed(kCenter, DrawAsked{++token_, std::move(draw)});
      result.seconds += std::chrono::duration<double>(Clock::now() - start).count();
      if (answered_ != kDrawsOfARound) {
        return absl::UnavailableError(absl::StrCat("only ", answered_, " draws of ", kDrawsOfARound,
                                                   " were answered with a key"));
      }
      result.done += answered_;
      KEYHOP_RETURN_IF_ERROR(Fill());
    }
    return result;
  }

  uint64_t keys() const {
    uint64_t bytes = 0;
    for (const PoolLevels& pool : hosts_[kCenter].core->Snapshot(now_).pools) {
      bytes += pool.open_bytes + pool.stock_bytes;
    }
    return bytes / kKeyBytes;
  }

 private:
  struct Host {
    std::unique_ptr<EntropySource> entropy;
    std::unique_ptr<LinkStateAuthority> authority;
    std::unique_ptr<NodeCore> core;
    NodeGate gate;
  };
  struct Message {
    size_t from = 0;
    size_t to = 0;
    KxMessage message;
  };

  NodeConfig ConfigOf(size_t node) const {
    NodeConfig config;
    config.self = NodeOf(node);
    config.routing.self = config.self;
    config.routing.saes = {SaeOf(node)};
    // No refresh within a run: what a thousand nodes say of themselves is not what is measured.
    config.routing.refresh = Duration::Seconds(36'000);
    config.routing.expiry = Duration::Seconds(360'000);
    config.lease_memory_bytes_max = uint64_t{16} << 30;
    // A pool is topped up only once a part of it is missing.
    config.pool.target_bytes = target_bytes_ * 4 / 3 + 4096;
    config.pool.prefill = node == kCenter;
    for (size_t leaf = 1; leaf < hosts_.size(); ++leaf) {
      if (node != kCenter && node != leaf) continue;
      LinkSetup setup;
      setup.config.id = LinkTo(leaf);
      setup.config.self = config.self;
      setup.config.peer = NodeOf(node == kCenter ? leaf : kCenter);
      setup.key = SecretBytes(32);
      config.links.push_back(std::move(setup));
    }
    return config;
  }

  void Feed(size_t node, Input input) {
    Host& host = hosts_[node];
    host.gate.Push(host.core->Step(now_, std::move(input)));
    while (!host.gate.TakeBatch().empty()) host.gate.OnDurable();
    while (std::optional<Output> output = host.gate.Pop()) Release(node, *std::move(output));
  }

  void Release(size_t node, Output output) {
    if (auto* send = std::get_if<SendToPeer>(&output)) {
      const size_t to = by_id_.at(send->peer);
      // A leaf need not know the others: a thousand of them would hold a million link states.
      const auto* state = std::get_if<LinkState>(&send->message);
      const bool foreign = state != nullptr && node == kCenter && state->origin != NodeOf(node);
      if (!foreign) messages_.push_back({node, to, std::move(send->message)});
    } else if (auto* keys = std::get_if<KeysAnswered>(&output)) {
      const auto* got = std::get_if<KeyContainer>(&keys->outcome);
      if (got != nullptr && got->keys.size() == 1) ++answered_;
    }
  }

  void Settle() {
    while (!messages_.empty()) {
      Message m = std::move(messages_.front());
      messages_.pop_front();
      Feed(m.to, PeerMessage{NodeOf(m.from), std::move(m.message)});
    }
  }

  // Whatever falls due within `span`, all of it at its end.
  void Pass(Duration span) {
    Settle();
    now_ = now_ + span;
    for (size_t i = 0; i < hosts_.size(); ++i) {
      for (auto due = hosts_[i].core->NextDeadline(); due && *due <= now_;
           due = hosts_[i].core->NextDeadline()) {
        Feed(i, DeadlineReached{});
      }
    }
    Settle();
  }

  void MakePads(size_t leaf) {
    const uint64_t block = next_block_++;
    for (const size_t end : {kCenter, leaf}) {
      SecretBytes pad(kBlockBytes);
      sim::SeededEntropy(sim::Prng::Mix(leaf, block))
          .Fill(pad.ExposeMutable(SecretAccess::ForSimulation()));
      Feed(end, PadBlockArrived{0, LinkTo(leaf), {0, 1}, block, std::move(pad)});
    }
  }

  // Until each pool is about full.
  absl::Status Fill() {
    Pass(Duration::Millis(100));
    const Instant until = now_ + kFilledWithin;
    while (true) {
      const NodeSnapshot snapshot = hosts_[kCenter].core->Snapshot(now_);
      bool full = snapshot.pools.size() == hosts_.size() - 1;
      for (const PoolLevels& pool : snapshot.pools) {
        full = full && pool.open_bytes > target_bytes_ / 3 &&
               pool.open_bytes + pool.stock_bytes >= target_bytes_;
      }
      if (full) return absl::OkStatus();
      if (now_ >= until) return absl::UnavailableError("the pools do not fill");
      for (const auto& [id, link] : snapshot.links) {
        const auto& [peer, levels] = link;
        if (levels.stock_bytes + levels.send_open_bytes >= uint64_t{64} << 10) continue;
        for (int i = 0; i < 8; ++i) MakePads(by_id_.at(peer));
      }
      Pass(Duration::Millis(100));
    }
  }

  const uint64_t target_bytes_;
  std::map<NodeId, size_t> by_id_;
  std::vector<Host> hosts_;
  std::deque<Message> messages_;
  Instant now_{1'000'000'000};
  uint64_t token_ = 0;
  uint64_t next_block_ = 0;
  size_t next_peer_ = 0;
  uint64_t answered_ = 0;
};

absl::StatusOr<std::unique_ptr<CoreStar>> CoreStar::Create(size_t peers, uint64_t keys) {
  auto impl = std::make_unique<Impl>(peers, keys);
  KEYHOP_RETURN_IF_ERROR(impl->Start());
  return absl::WrapUnique(new CoreStar(std::move(impl)));
}

CoreStar::CoreStar(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CoreStar::~CoreStar() = default;
absl::StatusOr<WindowResult> CoreStar::Run(const WindowPlan& plan) { return impl_->Run(plan); }
uint64_t CoreStar::keys() const { return impl_->keys(); }

absl::StatusOr<Report> BenchDrawCostScale(const ScaleBench& bench) {
  std::fprintf(stderr, "filling the pools of %zu peers with %llu keys\n", bench.peers,
               static_cast<unsigned long long>(bench.keys));
  KEYHOP_ASSIGN_OR_RETURN(const auto large, CoreStar::Create(bench.peers, bench.keys));
  KEYHOP_ASSIGN_OR_RETURN(const auto small,
                          CoreStar::Create(bench.baseline_peers, bench.baseline_keys));
  return Compare({.name = "draw_cost_scale",
                  .unit = "draws/s",
                  .value = {large.get(), 0},
                  .baseline = {small.get(), 0},
                  .plan = bench.plan,
                  .windows = bench.windows,
                  .bound = 0.9},
                 [&] {
                   return absl::StrFormat(
                       R"("peers": %d, "keys": %d, "baseline_peers": %d, "baseline_keys": %d)",
                       bench.peers, large->keys(), bench.baseline_peers, small->keys());
                 });
}

}  // namespace keyhop::bench
