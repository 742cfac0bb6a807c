// Which keys were drawn: told to the homes of slaves that want to know, and to those slaves here.
#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {

void NodeCore::Impl::BoardOut::Answer(uint64_t token, Outcome<WatchAnswer> outcome,
                                      WriteSeq after) {
  impl.Emit(WatchAnswered{token, std::move(outcome)}, after);
}

std::vector<NodeCore::Impl::News> NodeCore::Impl::NewsOf(const DrawRequest& request,
                                                         const KeyContainer& keys) const {
  std::vector<News> news;
  if (!anybody_watches) return news;
  const auto tell = [&](const SaeId& sae) {
    const auto slave = FindSae(sae);
    const auto source = slave ? sources.find(slave->home) : sources.end();
    if (source == sources.end()) return;
    const std::optional<Announcer>& announcer = source->second.announcer;
    if (!announcer || !announcer->Wants(slave->number)) return;
    for (const DeliveredKey& key : keys.keys) {
      news.push_back({slave->home,
                      {.id = key.id,
                       .master = request.caller,
                       .slave_number = slave->number,
                       .length_bytes = static_cast<uint32_t>(key.key.size())}});
    }
  };
  tell(request.slave);
  for (const SaeId& sae : request.additional_slaves) tell(sae);
  return news;
}

void NodeCore::Impl::Announce(std::vector<News> news, WriteSeq after) {
  std::set<NodeId> homes;
  for (auto& [home, drawn] : news) {
    sources.at(home).announcer->Add(std::move(drawn), after);
    homes.insert(home);
  }
  for (const NodeId& home : homes) {
    SourceEntry& entry = sources.at(home);
    entry.announcer->OnTick(now, *entry.end, stream_out);
    Touch(Machine::kSource, home);
  }
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
  anybody_watches = true;
  if (report != nullptr) entry.announcer->On(now, *report, *entry.end, last_seq);
  if (taken != nullptr) entry.announcer->On(*taken, *entry.end);
  Touch(Machine::kSource, source->first);
  return true;
}

}  // namespace keyhop
