// What an operator set for the node as a whole: links out of use, the memory of leases, the strict
// start.
#include <utility>

#include "absl/strings/str_cat.h"
#include "trusted_node/core/node/node_impl.h"

namespace keyhop {

void NodeCore::Impl::On(LinkSwitched input) {
  const auto peer = peer_of.find(input.link);
  if (peer == peer_of.end()) {
    Emit(SwitchDone{input.token, absl::NotFoundError(
                                     absl::StrCat("no link ", input.link.value, " at this node"))},
         0);
    return;
  }
  LinkEntry& link = links.at(peer->second);
  WriteSeq after = last_seq;  // Said already: perhaps not durable yet.
  if (link.down == input.up) {
    link.down = !input.up;
    after = Write(LinkDownRecord{input.link, /*erased=*/input.up});
    LinkMayHaveChanged(peer->second);
  }
  Emit(SwitchDone{input.token, absl::OkStatus()}, after);
}

void NodeCore::Impl::On(SaeSwitched input) {
  const auto known = routing->FindSae(input.sae);
  // One that is suspended can be taken back also when it is not configured any more.
  if ((!known || known->home != config.self) && !suspended.contains(input.sae)) {
    Emit(SwitchDone{input.token,
                    absl::NotFoundError(absl::StrCat("no SAE ", input.sae.value, " at this node"))},
         0);
    return;
  }
  WriteSeq after = last_seq;  // Said already: perhaps not durable yet.
  if (suspended.contains(input.sae) == input.active) {
    if (input.active) {
      suspended.erase(input.sae);
    } else {
      suspended.insert(input.sae);
      board->Dismiss(input.sae, board_out);
    }
    after = Write(SaeSuspendedRecord{input.sae, /*erased=*/input.active});
  }
  Emit(SwitchDone{input.token, absl::OkStatus()}, after);
}

void NodeCore::Impl::BurnOpenLeases() {
  for (auto& [node, end] : destinations) {
    end->BurnOpenLeases(stream_out);
    Touch(Machine::kDestination, node);
  }
}

void NodeCore::Impl::Account(const TimerKey& key) {
  const auto count = [this](uint64_t& counted, uint64_t held) {
    leased_bytes += held - counted;
    counted = held;
  };
  if (key.first == Machine::kLink) {
    LinkEntry& link = links.at(key.second.node);
    count(link.leased_bytes, link.end->LeasedBytes());
  } else if (key.first == Machine::kSource) {
    SourceEntry& entry = sources.at(key.second);
    count(entry.leased_bytes, entry.end->Levels().open_bytes);
  } else {
    return;
  }
  const uint64_t budget = config.lease_memory_bytes_max;
  const bool scarce = leased_bytes >= (leases_scarce ? budget - budget / 4 : budget);
  if (scarce == leases_scarce) return;
  leases_scarce = scarce;
  if (scarce) ++counters["lease_memory_full"];
  for (auto& [peer, link] : links) link.end->SetLeasesScarce(scarce);
}

}  // namespace keyhop
