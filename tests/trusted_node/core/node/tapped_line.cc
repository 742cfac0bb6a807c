#include "tests/trusted_node/core/node/tapped_line.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "keyhop/kx/v1/kx.pb.h"
#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "trusted_node/wire/kx.h"

namespace keyhop {
namespace {

using sim::End;

constexpr Duration kRunTime = Duration::Seconds(30);
constexpr Duration kDrawInterval = Duration::Millis(700);
constexpr Duration kLastDraw = Duration::Seconds(25);
constexpr uint64_t kKeysADraw = 4;
constexpr BookId kBook = {0, 1};

// Who draws for whom: over three hops and two, both ways, and between neighbours.
constexpr std::pair<size_t, size_t> kPairs[] = {{0, 3}, {3, 0}, {0, 2}, {2, 1}};

std::vector<uint8_t> Clear(const SecretBytes& secret) {
  const auto bytes = secret.Expose(SecretAccess::ForTest());
  return {bytes.begin(), bytes.end()};
}

}  // namespace

// ---- Pads.

std::vector<uint8_t> PadBook::Block(size_t link, const BookId& book, uint64_t block) const {
  const auto it = exchanged_.find({link, book, block});
  if (it != exchanged_.end()) return it->second;
  return Clear(truth_.Block(link, book, block, End::kFirst));
}

std::vector<uint8_t> PadBook::Gather(size_t link, const std::vector<PadRange>& ranges) const {
  std::vector<uint8_t> out;
  for (const PadRange& range : ranges) {
    const std::vector<uint8_t> block = Block(link, range.book, range.block);
    KEYHOP_CHECK(range.offset_bytes + range.length_bytes <= block.size(), "inside the block");
    const auto begin = block.begin() + range.offset_bytes;
    out.insert(out.end(), begin, begin + range.length_bytes);
  }
  return out;
}

void PadBook::Replace(size_t link, const std::vector<PadRange>& ranges, size_t skip,
                      std::span<const uint8_t> bytes) {
  size_t done = 0;
  for (const PadRange& range : ranges) {
    std::vector<uint8_t> block = Block(link, range.book, range.block);
    for (uint32_t i = 0; i < range.length_bytes && done < bytes.size(); ++i) {
      if (skip > 0) {
        --skip;
      } else {
        block[range.offset_bytes + i] = bytes[done++];
      }
    }
    exchanged_[{link, range.book, range.block}] = std::move(block);
  }
  KEYHOP_CHECK(done == bytes.size(), "as many pad bytes as were given");
}

// ---- The line.

sim::Plan TappedLine::MakePlan() {
  sim::Plan plan;
  plan.seed = 11;
  for (size_t i = 0; i < 4; ++i) {
    plan.nodes.emplace_back("n" + std::to_string(i));
    plan.saes.push_back({SaeId("app-" + std::to_string(i)), i});
  }
  for (size_t i = 0; i + 1 < plan.nodes.size(); ++i) {
    sim::LinkPlan link;
    link.id = LinkId(plan.nodes[i].value + "-" + plan.nodes[i + 1].value);
    link.a = i;
    link.b = i + 1;
    link.block_bytes = 2048;
    plan.links.push_back(std::move(link));
  }
  plan.link.lease_bytes_max = 4 * 1024;  // Frames cross from one lease into the next.
  plan.stream.segment_body_bytes = 512;
  plan.pool.target_bytes = 1024;
  plan.pool.pace = Duration::Millis(100);
  plan.Index();
  return plan;
}

TappedLine::TappedLine(const PadBook& pads) : plan_(MakePlan()), pads_(pads), leases_(plan_) {
  hosts_.resize(plan_.nodes.size());
  for (size_t i = 0; i < hosts_.size(); ++i) {
    Host& host = hosts_[i];
    host.authority = std::make_unique<sim::SimAuthority>(plan_.seed, plan_.nodes[i]);
    host.entropy = std::make_unique<sim::SeededEntropy>(sim::Prng::Mix(plan_.seed, 100 + i));
    auto core = NodeCore::Create(plan_.ConfigOf(i), *host.entropy, *host.authority, {});
    KEYHOP_CHECK(core.ok(), "the configuration is good");
    host.core = *std::move(core);
  }
}

void TappedLine::At(Duration delay, Action action) {
  events_.emplace(now_ + delay, std::move(action));
}

void TappedLine::Run() {
  for (size_t i = 0; i < hosts_.size(); ++i) {
    At(Duration{}, [this, i] { Feed(i, DeadlineReached{}); });
  }
  for (size_t l = 0; l < plan_.links.size(); ++l) {
    for (const auto& [node, other] : {std::pair(plan_.links[l].a, plan_.links[l].b),
                                      std::pair(plan_.links[l].b, plan_.links[l].a)}) {
      At(Duration::Millis(10), [this, l, node = node, other = other] {
        Feed(node, ModuleStatusChanged{plan_.links[l].id, true, 20'000, 8'000});
        for (uint64_t block = 0; block < kBlocks; ++block) {
          Feed(node, PadBlockArrived{next_token_++, plan_.links[l].id, kBook, block,
                                     SecretBytes::CopyOf(pads_.Block(l, kBook, block))});
        }
        Feed(node, PeerConnected{plan_.nodes[other]});
      });
    }
  }
  for (const auto& [master, slave] : kPairs) DrawSoon(master, slave, Duration::Seconds(2));
  const Instant end = now_ + kRunTime;
  while (!events_.empty() && events_.begin()->first <= end) {
    auto first = events_.extract(events_.begin());
    now_ = first.key();
    first.mapped()();
  }
}

void TappedLine::Feed(size_t node, Input input) {
  Host& host = hosts_[node];
  host.gate.Push(host.core->Step(now_, std::move(input)));
  // A disk without delay: what this test shows does not hang on when writes are durable.
  while (!host.gate.TakeBatch().empty()) host.gate.OnDurable();
  while (std::optional<Output> output = host.gate.Pop()) Release(node, *std::move(output));
  Arm(node);
}

void TappedLine::Release(size_t node, Output output) {
  std::visit(
      Overload{[&](SendToPeer& send) { Send(node, send.peer, send.message); },
               [](PadBlockTaken& taken) { KEYHOP_CHECK(taken.status.ok(), "room for all pads"); },
               [](StatusAnswered&) {}, [](SwitchDone&) {}, [](KeystreamAnswered&) {},
               [](WatchAnswered&) {},
               [&](KeysAnswered& answer) { OnKeys(answer.token, std::move(answer.outcome)); },
               [&](AlarmRaised& alarm) { alarms_.push_back(alarm.kind + ": " + alarm.text); }},
      output);
}

void TappedLine::Send(size_t from, const NodeId& peer, const KxMessage& message) {
  const size_t to = *plan_.FindNode(peer);
  std::string bytes = ToProto(message).SerializeAsString();
  traffic_.push_back({now_, from, to, bytes});
  if (const auto* link_message = std::get_if<LinkMessage>(&message)) {
    leases_.OnSent(from, *link_message);
  } else if (const auto* frame = std::get_if<RelayFrame>(&message)) {
    frames_.push_back({*plan_.LinkBetween(from, to), from, *frame});
  }
  At(Duration::Millis(1), [this, from, to, bytes = std::move(bytes)] {
    kx::v1::KxMessage proto;
    KEYHOP_CHECK(proto.ParseFromString(bytes), "what was serialised");
    auto parsed = FromProto(proto);
    KEYHOP_CHECK(parsed.ok(), "what the core says can be said");
    Feed(to, PeerMessage{plan_.nodes[from], *std::move(parsed)});
  });
}

void TappedLine::Arm(size_t node) {
  Host& host = hosts_[node];
  const std::optional<Instant> due = host.core->NextDeadline();
  if (!due) return;
  const Instant at = std::max(now_, *due);
  if (host.wake_at && *host.wake_at <= at) return;
  host.wake_at = at;
  At(at - now_, [this, node, at] {
    Host& woken = hosts_[node];
    if (woken.wake_at != at) return;
    woken.wake_at.reset();
    const std::optional<Instant> next = woken.core->NextDeadline();
    if (next && *next <= now_) return Feed(node, DeadlineReached{});
    Arm(node);
  });
}

void TappedLine::DrawSoon(size_t master, size_t slave, Duration wait) {
  if (now_ + wait > Instant{} + kLastDraw) return;
  At(wait, [this, master, slave] {
    const uint64_t token = next_token_++;
    const DrawRequest request = {
        .caller = plan_.saes[master].id, .slave = plan_.saes[slave].id, .number = kKeysADraw};
    draws_[token] = request;
    Feed(master, DrawAsked{token, request});
    DrawSoon(master, slave, kDrawInterval);
  });
}

void TappedLine::OnKeys(uint64_t token, Outcome<KeyContainer> outcome) {
  const auto* got = std::get_if<KeyContainer>(&outcome);
  if (const auto draw = draws_.extract(token)) {
    if (got == nullptr) return;  // The pool is not filled yet.
    for (const DeliveredKey& key : got->keys) {
      const auto& [master, slave] = std::tie(draw.mapped().caller, draw.mapped().slave);
      keys_.push_back({master, slave, key.id, Clear(key.key), {}});
      const uint64_t fetch = next_token_++;
      fetches_[fetch] = {.caller = slave, .master = master, .key_ids = {key.id}};
      // Whenever that is, it is at the other end already.
      At(Duration::Millis(5), [this, fetch] {
        const FetchRequest& request = fetches_.at(fetch);
        const auto home = std::find_if(plan_.saes.begin(), plan_.saes.end(),
                                       [&](const auto& sae) { return sae.id == request.caller; });
        Feed(home->node, FetchAsked{fetch, request});
      });
    }
    return;
  }
  fetches_.extract(token);
  if (got == nullptr) return;
  for (const DeliveredKey& fetched : got->keys) {
    for (DrawnKey& key : keys_) {
      if (key.id == fetched.id) key.fetched = Clear(fetched.key);
    }
  }
}

std::vector<uint8_t> TappedLine::HopKeyOf(const TappedFrame& tapped) {
  const sim::LeaseWatch::Lease* lease = leases_.Find(tapped.link, tapped.from, tapped.frame);
  KEYHOP_CHECK(lease != nullptr && lease->RBlock().has_value(), "a frame's lease was asked for");
  std::vector<uint8_t> block = pads_.Block(tapped.link, lease->book, *lease->RBlock());
  block.resize(16);
  return block;
}

}  // namespace keyhop
