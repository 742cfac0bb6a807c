#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "sim/net/world.h"

namespace keyhop::sim {
namespace {

// A module keeps this many blocks that its KM did not take yet, then it stops making more.
constexpr size_t kWaitingMax = 64;

}  // namespace

void World::MakeBlock(size_t link, uint32_t pair) {
  const LinkPlan& plan = plan_.links[link];
  LinkWorld& world = links_[link];
  Duration next = plan.block_interval;
  if (faults_on_ && now_ < world.collapsed_until) next = next * 20;
  At(next, [this, link, pair] { MakeBlock(link, pair); });
  if (!world.module_up) return;
  if (world.ends[0].waiting.size() >= kWaitingMax || world.ends[1].waiting.size() >= kWaitingMax) {
    return;
  }
  if (Faulty(Fault::kNewRun, 3)) {
    Count(Fault::kNewRun);
    ++world.runs[pair];
    world.blocks[pair] = 0;
  }
  const Block block{{pair, world.runs[pair]}, world.blocks[pair]++};
  if (Faulty(Fault::kUnequalBlock, 5)) {
    Count(Fault::kUnequalBlock);
    // Frames under it fail, eight of them may end the session.
    for (int i = 0; i < 8; ++i) oracle_.OnMessageFault();
    oracle_.OnTransportFault();
    truth_.MakeUnequal(link, block.book, block.number);
  }
  for (size_t end : {size_t{0}, size_t{1}}) {
    if (Faulty(Fault::kBlockLost, 10)) {
      Count(Fault::kBlockLost);
      continue;
    }
    world.ends[end].waiting.push_back(block);
    PushSoon(link, end, Duration::Micros(prng_.Between(50, 20'000)));
  }
}

void World::PushSoon(size_t link, size_t end, Duration wait) {
  ModuleEnd& module = links_[link].ends[end];
  if (module.pushing || module.push_due || module.waiting.empty()) return;
  module.push_due = true;
  At(wait, [this, link, end] {
    links_[link].ends[end].push_due = false;
    PushNext(link, end);
  });
}

void World::PushNext(size_t link, size_t end) {
  ModuleEnd& module = links_[link].ends[end];
  const size_t node = NodeAt(link, end);
  if (module.pushing || module.waiting.empty() || !hosts_[node].up()) return;
  if (hosts_[node].gate.full()) {
    return PushSoon(link, end, Duration::Millis(500));
  }
  const Block& block = module.waiting.front();
  module.pushing = true;
  module.token = next_token_++;
  pushes_[module.token] = {link, end};
  Feed(node, PadBlockArrived{module.token, plan_.links[link].id, block.book, block.number,
                             truth_.Block(link, block.book, block.number,
                                          end == 0 ? End::kFirst : End::kSecond)});
}

void World::OnTaken(size_t, const PadBlockTaken& taken) {
  const auto push = pushes_.find(taken.token);
  if (push == pushes_.end()) return;
  const auto [link, end] = push->second;
  pushes_.erase(push);
  ModuleEnd& module = links_[link].ends[end];
  if (!module.pushing || module.token != taken.token) return;
  module.pushing = false;
  Duration wait;
  if (absl::IsResourceExhausted(taken.status)) {
    oracle_.Probe("module_waits");
    wait = Duration::Millis(prng_.Between(2000, 6000));
  } else {
    if (!taken.status.ok()) oracle_.Probe("block_refused");
    module.waiting.pop_front();
  }
  PushSoon(link, end, wait);
}

void World::AttachModules(size_t node) {
  for (size_t l = 0; l < links_.size(); ++l) {
    if (plan_.links[l].a != node && plan_.links[l].b != node) continue;
    const size_t end = EndOf(l, node);
    Feed(node, ModuleStatusChanged{plan_.links[l].id, links_[l].module_up, 20'000,
                                   plan_.links[l].rate_bps});
    ModuleEnd& module = links_[l].ends[end];
    module.pushing = false;
    // What was taken before the crash, and not acknowledged, need not come again; it may.
    if (hosts_[node].up() && prng_.Chance(500)) {
      const std::map<BookId, uint64_t> tops = hosts_[node].core->TakenTops(plan_.links[l].id);
      std::erase_if(module.waiting, [&](const Block& block) {
        const auto top = tops.find(block.book);
        return top != tops.end() && block.number < top->second;
      });
    }
    PushSoon(l, end, Duration::Millis(prng_.Between(1, 1000)));
  }
}

void World::SetModule(size_t link, bool up) {
  if (links_[link].module_up == up) return;
  links_[link].module_up = up;
  for (size_t end : {size_t{0}, size_t{1}}) {
    Feed(NodeAt(link, end), ModuleStatusChanged{plan_.links[link].id, up, up ? 20'000u : 110'000u,
                                                up ? plan_.links[link].rate_bps : 0});
  }
}

}  // namespace keyhop::sim
