// Which keys were drawn: told to the homes of slaves that want to know, and to those slaves here.
#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {

void NodeCore::Impl::Announce(const DrawRequest& request, const KeyContainer& keys,
                              WriteSeq after) {
  const auto slave = FindSae(request.slave);
  const auto source = slave ? sources.find(slave->home) : sources.end();
  if (source == sources.end()) return;
  std::optional<Announcer>& announcer = source->second.announcer;
  if (!announcer || !announcer->Wants(slave->number)) return;
  for (const DeliveredKey& key : keys.keys) {
    announcer->Add({.id = key.id,
                    .master = request.caller,
                    .slave_number = slave->number,
                    .length_bytes = static_cast<uint32_t>(key.key.size())},
                   after);
  }
  Touch(Machine::kSource, source->first);
}

void NodeCore::Impl::On(WatchAsked input) {
  const auto caller = FindSae(input.request.caller);
  if (!caller || caller->home != config.self) {
    Emit(WatchAnswered{input.token,
                       Refusal{Refusal::Kind::kUnauthorized, "Unauthorized", {}, std::nullopt}},
         0);
    return;
  }
  board->Watch(now, input.token, std::move(input.request), board_out);
  Touch(Machine::kBoard, NodeId{});
}

bool NodeCore::Impl::TakeAnnouncement(const StreamMessage& message) {
  if (const auto* m = std::get_if<Announcements>(&message)) {
    const auto end = destinations.find(m->stream.source);
    if (end == destinations.end() || m->stream.destination != config.self) return true;
    board->On(*m, *end->second, *this, board_out);
    Touch(Machine::kBoard, NodeId{});
    return true;
  }
  const auto* report = std::get_if<InterestReport>(&message);
  const auto* taken = std::get_if<AnnouncementsTaken>(&message);
  if (report == nullptr && taken == nullptr) return false;
  const StreamId& stream = report != nullptr ? report->stream : taken->stream;
  const auto source = sources.find(stream.destination);
  if (source == sources.end() || stream.source != config.self) return true;
  SourceEntry& entry = source->second;
  if (!entry.announcer) entry.announcer.emplace(config.announce, stream, own);
  if (report != nullptr) entry.announcer->On(now, *report, *entry.end);
  if (taken != nullptr) entry.announcer->On(*taken, *entry.end);
  Touch(Machine::kSource, source->first);
  return true;
}

}  // namespace keyhop
