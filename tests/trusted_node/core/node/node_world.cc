#include "tests/trusted_node/core/node/node_world.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "sim/net/prng.h"
#include "sim/net/world.h"

namespace keyhop {
namespace {

constexpr uint32_t kBlockBytes = 4096;

LinkId LinkBetween(const std::string& a, const std::string& b) {
  return LinkId(absl::StrCat(std::min(a, b), "-", std::max(a, b)));
}
SaeId SaeOf(const std::string& node) { return SaeId(absl::AsciiStrToUpper(node)); }

}  // namespace

NodeWorld::NodeWorld(std::vector<std::string> line, Tune tune, Shape shape)
    : line_(std::move(line)), tune_(std::move(tune)), shape_(shape) {
  for (const std::string& node : line_) Start(node);
}

NodeConfig NodeWorld::ConfigOf(const std::string& node) const {
  NodeConfig config;
  config.self = NodeId(node);
  config.routing.self = config.self;
  config.routing.saes = {SaeOf(node)};
  const size_t at =
      static_cast<size_t>(std::find(line_.begin(), line_.end(), node) - line_.begin());
  for (size_t other = 0; other < line_.size(); ++other) {
    if (!Adjacent(at, other)) continue;
    LinkSetup setup;
    setup.config.id = LinkBetween(node, line_[other]);
    setup.config.self = config.self;
    setup.config.peer = NodeId(line_[other]);
    setup.config.lease_bytes_min = 16 * 1024;
    setup.config.lease_bytes_max = 64 * 1024;
    setup.key = SecretBytes(32);
    config.links.push_back(std::move(setup));
  }
  if (tune_) tune_(config);
  return config;
}

void NodeWorld::Start(const std::string& node) {
  Host& host = hosts_[node];
  KEYHOP_CHECK(host.core == nullptr, "it is up already");
  const uint64_t place =
      static_cast<uint64_t>(std::find(line_.begin(), line_.end(), node) - line_.begin());
  host.entropy = std::make_unique<sim::SeededEntropy>(sim::Prng::Mix(place, ++host.starts));
  host.authority = std::make_unique<sim::SimAuthority>(1, NodeId(node));
  host.gate = NodeGate();
  auto core = NodeCore::Create(ConfigOf(node), *host.entropy, *host.authority, host.disk.Recover());
  ASSERT_TRUE(core.ok()) << core.status();
  host.core = *std::move(core);
  Feed(node, DeadlineReached{});
  for (size_t i = 0; i < line_.size(); ++i) {
    if (!Adjacent(i, place) || !hosts_.contains(line_[i]) || !hosts_[line_[i]].core) continue;
    Feed(node, PeerConnected{NodeId(line_[i])});
    Feed(line_[i], PeerConnected{NodeId(node)});
  }
  Settle();
}

void NodeWorld::Crash(const std::string& node) {
  Host& host = hosts_.at(node);
  host.core.reset();
  std::erase_if(messages_, [&](const Message& m) { return m.from == node || m.to == node; });
  for (auto& [name, other] : hosts_) {
    if (other.core) Feed(name, PeerDisconnected{NodeId(node)});
  }
  Settle();
}

void NodeWorld::Feed(const std::string& node, Input input) {
  Host& host = hosts_.at(node);
  host.gate.Push(host.core->Step(now_, std::move(input)));
  for (std::vector<Record> batch = host.gate.TakeBatch(); !batch.empty();
       batch = host.gate.TakeBatch()) {
    for (Record& record : batch) host.disk.Apply(std::move(record));
    host.gate.OnDurable();
  }
  while (std::optional<Output> output = host.gate.Pop()) Release(node, *std::move(output));
}

void NodeWorld::Release(const std::string& node, Output output) {
  std::visit(
      Overload{
          [&](SendToPeer& m) {
            if (std::holds_alternative<RelayFrame>(m.message)) ++frames;
            if (passes && !passes(node, m.message)) return;
            messages_.push_back({node, m.peer.value, std::move(m.message)});
          },
          [&](PadBlockTaken& m) { EXPECT_TRUE(m.status.ok()) << m.status; },
          [&](KeysAnswered& m) {
            EXPECT_TRUE(answers.emplace(m.token, std::move(m.outcome)).second) << "answered twice";
          },
          [&](KeystreamAnswered& m) {
            EXPECT_TRUE(streamed.emplace(m.token, std::move(m.outcome)).second) << "answered twice";
          },
          [&](SwitchDone& m) { switched[m.token] = std::move(m.status); },
          [&](WatchAnswered& m) {
            EXPECT_TRUE(watched.emplace(m.token, std::move(m.outcome)).second) << "answered twice";
          },
          [&](StatusAnswered& m) { statuses[m.token] = std::get<PairStatus>(m.outcome); },
          [&](AlarmRaised& m) {
            EXPECT_TRUE(alarms_expected) << node << ": " << m.kind << ": " << m.text;
          },
      },
      output);
}

void NodeWorld::Settle() {
  while (!messages_.empty()) {
    Message m = std::move(messages_.front());
    messages_.pop_front();
    if (hosts_.at(m.to).core) Feed(m.to, PeerMessage{NodeId(m.from), std::move(m.message)});
  }
}

void NodeWorld::Run(Duration span) {
  const Instant end = now_ + span;
  while (true) {
    Settle();
    std::string first;
    Instant at = end;
    for (auto& [name, host] : hosts_) {
      const auto due = host.core ? host.core->NextDeadline() : std::nullopt;
      if (due && *due < at) {
        first = name;
        at = *due;
      }
    }
    now_ = std::max(now_, at);
    if (first.empty()) return;
    Feed(first, DeadlineReached{});
  }
}

void NodeWorld::MakePads(uint64_t bytes) {
  for (uint64_t made = 0; made < bytes; made += kBlockBytes) {
    const uint64_t block = next_block_++;
    for (size_t i = 0; i < line_.size(); ++i) {
      const size_t next = (i + 1) % line_.size();
      if (!Adjacent(i, next) || !hosts_[line_[i]].core || !hosts_[line_[next]].core) continue;
      for (const std::string& end : {line_[i], line_[next]}) {
        SecretBytes pad(kBlockBytes);
        sim::SeededEntropy(sim::Prng::Mix(i + 100, block))
            .Fill(pad.ExposeMutable(SecretAccess::ForTest()));
        Feed(end,
             PadBlockArrived{0, LinkBetween(line_[i], line_[next]), {0, 1}, block, std::move(pad)});
      }
    }
    Settle();
  }
}

uint64_t NodeWorld::Draw(const std::string& master, const std::string& slave, uint64_t number,
                         std::vector<ExtensionParameter> mandatory) {
  return Draw(master, DrawRequest{.caller = SaeOf(master),
                                  .slave = SaeOf(slave),
                                  .number = number,
                                  .extension_mandatory = std::move(mandatory)});
}

uint64_t NodeWorld::Draw(const std::string& node, DrawRequest request) {
  const uint64_t token = next_token_++;
  Feed(node, DrawAsked{token, std::move(request)});
  Settle();
  return token;
}

uint64_t NodeWorld::Fetch(const std::string& slave, const std::string& master,
                          std::vector<KeyId> ids) {
  return Fetch(slave, FetchRequest{SaeOf(slave), SaeOf(master), std::move(ids)});
}

uint64_t NodeWorld::Fetch(const std::string& node, FetchRequest request) {
  const uint64_t token = next_token_++;
  Feed(node, FetchAsked{token, std::move(request)});
  Settle();
  return token;
}

uint64_t NodeWorld::Stream(const std::string& node, KeystreamRequest request) {
  const uint64_t token = next_token_++;
  Feed(node, KeystreamAsked{token, std::move(request)});
  Settle();
  return token;
}

uint64_t NodeWorld::Watch(const std::string& node, std::optional<WatchRequest::Place> seen) {
  const uint64_t token = next_token_++;
  WatchRequest request{.caller = SaeOf(node), .seen = seen};
  request.call = token;
  Feed(node, WatchAsked{token, std::move(request)});
  Settle();
  return token;
}

uint64_t NodeWorld::Switch(const std::string& node, const std::string& link, bool up) {
  const uint64_t token = next_token_++;
  Feed(node, LinkSwitched{token, LinkId(link), up});
  Settle();
  return token;
}

uint64_t NodeWorld::SwitchSae(const std::string& node, const std::string& home, bool active) {
  const uint64_t token = next_token_++;
  Feed(node, SaeSwitched{token, SaeOf(home), active});
  Settle();
  return token;
}

const KeyContainer& NodeWorld::Keys(uint64_t token) const {
  static const auto* const none = new KeyContainer;
  const auto answer = answers.find(token);
  const auto* keys = answer == answers.end() ? nullptr : std::get_if<KeyContainer>(&answer->second);
  EXPECT_NE(keys, nullptr) << "request " << token << " got no keys";
  return keys != nullptr ? *keys : *none;
}

const Refusal* NodeWorld::RefusalOf(uint64_t token) const {
  const auto answer = answers.find(token);
  return answer == answers.end() ? nullptr : std::get_if<Refusal>(&answer->second);
}

NodeSnapshot NodeWorld::Snapshot(const std::string& node) const {
  return hosts_.at(node).core->Snapshot(now_);
}

}  // namespace keyhop
