#include <algorithm>
#include <utility>
#include <vector>

#include "sim/net/world.h"

namespace keyhop::sim {
namespace {

constexpr size_t kImagesMax = 4;

}  // namespace

// Something larger than one message goes wrong.
void World::Incident() {
  if (!faults_on_) return;
  At(prng_.Between(Duration::Millis(500), plan_.incident_interval_max), [this] { Incident(); });
  const size_t node = prng_.Below(hosts_.size());
  const size_t link = prng_.Below(links_.size());
  const Duration lasting = Duration::Millis(prng_.Between(200, 60'000));
  // Images are taken also where they will never be used.
  if (plan_.has(Fault::kOldImage) && hosts_[node].up() && !restored_) {
    std::vector<Image>& images = hosts_[node].images;
    if (images.size() >= kImagesMax) images.erase(images.begin() + prng_.Below(kImagesMax));
    images.push_back({hosts_[node].disk.image(), now_});
  }
  switch (prng_.Below(8)) {
    case 0:
    case 1: {
      if (!plan_.has(Fault::kCrash)) return;
      const bool restore = plan_.has(Fault::kOldImage) && !restored_ &&
                           now_.ns > plan_.fault_time.ns / 3 && prng_.Chance(500);
      Crash(node, restore);
      return;
    }
    case 2:
      if (!plan_.has(Fault::kPartition)) return;
      Count(Fault::kPartition);
      oracle_.OnTransportFault();
      Trace("partition of " + plan_.links[link].id.value);
      links_[link].dead_until[prng_.Below(2)] = now_ + lasting;
      if (prng_.Chance(300)) links_[link].dead_until[prng_.Below(2)] = now_ + lasting;
      return;
    case 3:
      if (!plan_.has(Fault::kDisconnect)) return;
      Count(Fault::kDisconnect);
      oracle_.OnTransportFault();
      Trace("transport of " + plan_.links[link].id.value + " breaks");
      for (size_t end : {size_t{0}, size_t{1}}) {
        At(Duration::Millis(prng_.Between(0, 3000)), [this, link, end] { Disconnect(link, end); });
      }
      At(Duration::Millis(3001) + lasting / 4, [this, link] { Connect(link); });
      return;
    case 4:
      if (!plan_.has(Fault::kSlowDisk)) return;
      Count(Fault::kSlowDisk);
      hosts_[node].slow_until = now_ + lasting;
      oracle_.OnTransportFault();
      return;
    case 5:
      if (!plan_.has(Fault::kRateCollapse)) return;
      Count(Fault::kRateCollapse);
      if (prng_.Chance(500)) {
        links_[link].collapsed_until = now_ + lasting;
      } else {
        SetModule(link, false);
        At(lasting, [this, link] { SetModule(link, true); });
      }
      return;
    case 6: {  // Messages of long ago, often of sessions that are gone.
      const size_t end = prng_.Below(2);
      std::deque<KxMessage>& kept = links_[link].kept[end];
      for (size_t n = prng_.Below(8); n > 0 && !kept.empty(); --n) {
        Count(Fault::kOldMessage);
        Deliver(NodeAt(link, end), NodeAt(link, 1 - end), kept[prng_.Below(kept.size())],
                prng_.Between(Duration::Millis(1), Duration::Seconds(3)), false);
      }
      return;
    }
    default: {
      // A burst of crashes: a whole site loses power.
      if (!plan_.has(Fault::kCrash) || !prng_.Chance(200)) return;
      for (size_t i = 0; i < hosts_.size(); ++i) {
        if (prng_.Chance(500)) Crash(i, false);
      }
    }
  }
}

void World::StopFaults() {
  Trace("faults stop");
  faults_on_ = false;
  for (size_t i = 0; i < hosts_.size(); ++i) {
    hosts_[i].crash_after_outputs.reset();
    hosts_[i].crash_when_durable = false;
    hosts_[i].crash_in_batch = false;
    hosts_[i].slow_until = {};
    if (!hosts_[i].up()) Boot(i);
  }
  for (size_t l = 0; l < links_.size(); ++l) {
    links_[l].dead_until[0] = links_[l].dead_until[1] = {};
    SetModule(l, true);
    At(Duration::Millis(prng_.Between(1, 3000)), [this, l] { Connect(l); });
    At(Duration::Millis(8000), [this, l] { Connect(l); });
  }
  for (size_t m = 0; m < plan_.saes.size(); ++m) {
    for (size_t s = 0; s < plan_.saes.size(); ++s) {
      if (plan_.saes[m].node == plan_.saes[s].node) continue;
      heal_.push_back({m, s});
      const size_t index = heal_.size() - 1;
      if (plan_.heals_multicasts && index % 5 == 0) heal_[index].additional = AdditionalFor(m, s);
      At(Duration::Millis(prng_.Between(10, 5000)), [this, index] { HealDraw(index); });
    }
  }
  for (const DemandPlan& demand : plan_.demands) {
    if (!plan_.HasDisjointPaths(demand.master, demand.slave, demand.paths)) continue;
    if (demand.paths == 1) continue;
    heal_.push_back({.master = demand.master, .slave = demand.slave, .paths = demand.paths});
    const size_t index = heal_.size() - 1;
    At(Duration::Millis(split_prng_.Between(10, 5000)), [this, index] { HealDraw(index); });
  }
}

}  // namespace keyhop::sim
