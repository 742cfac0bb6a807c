#include <utility>

#include "trusted_node/core/node/node_impl.h"

namespace keyhop {

uint64_t NodeCore::Impl::RefillBytesPerSecond(Instant at, const PairWith& pair) const {
  const auto it = sources.find(pair);
  return it == sources.end() ? 0 : it->second.rate.PerSecond(at);
}

void NodeCore::Impl::On(StatusAsked input) {
  Outcome<PairStatus> outcome = delivery.Status(now, input.request, *this);
  if (const auto* refusal = std::get_if<Refusal>(&outcome)) CountRefusal("status", *refusal);
  if (auto* status = std::get_if<PairStatus>(&outcome)) TellQuotas(input.request, *status);
  Emit(StatusAnswered{input.token, std::move(outcome)}, 0);
}

NodeSnapshot NodeCore::Impl::Snapshot(Instant at) const {
  NodeSnapshot snapshot;
  snapshot.self = config.self;
  snapshot.incarnation = own;
  for (const auto& [peer, link] : links) {
    snapshot.links.emplace(link.end->config().id, std::pair(peer, link.end->Levels()));
    snapshot.peers[peer] = link.connected;
    if (link.down) snapshot.links_down.insert(link.end->config().id);
  }
  uint64_t burnt = 0;
  uint64_t acknowledged = 0;
  uint64_t epochs = 0;
  for (const auto& [pair, entry] : sources) {
    const SourceLevels levels = entry.end->Levels();
    const SourceCounters& counts = entry.end->counters();
    burnt += counts.burnt_bytes;
    acknowledged += counts.acknowledged_bytes;
    epochs += counts.epochs_opened;
    snapshot.pools.push_back(
        {.stream = {config.self, pair.node, pair.paths},
         .session_open = levels.session_open,
         .epoch = levels.epoch,
         .open_bytes = levels.open_bytes,
         .stock_bytes = levels.stock_bytes,
         .in_flight_bytes = levels.in_flight_bytes,
         .target_bytes = config.pool.prefill || (entry.used_until && at < *entry.used_until)
                             ? config.pool.target_bytes
                             : config.pool.idle_bytes,
         .refill_bytes_per_s = entry.rate.PerSecond(at),
         .last_path = entry.last_path});
  }
  snapshot.leased_bytes = leased_bytes;
  uint64_t announcements_dropped = 0;
  for (const auto& [destination, entry] : sources) {
    if (entry.announcer) announcements_dropped += entry.announcer->dropped();
  }
  snapshot.counters = counters;
  snapshot.quotas = quotas.All();
  snapshot.counters["announcements_dropped"] = announcements_dropped;
  snapshot.counters["stream_acknowledged_bytes"] = acknowledged;
  snapshot.counters["epochs_opened"] = epochs;
  uint64_t failed_checks = 0;
  uint64_t dropped = 0;
  uint64_t supplies_taken = 0;
  uint64_t supplies_refused = 0;
  uint64_t supplies_burnt = 0;
  uint64_t supplies_expired = 0;
  for (const auto& [source, end] : destinations) {
    snapshot.served_streams += end->serving() ? 1 : 0;
    failed_checks += end->counters().failed_checks;
    dropped += end->counters().dropped;
    burnt += end->counters().burnt_bytes;
    supplies_taken += end->counters().supplies_taken;
    supplies_refused += end->counters().supplies_refused;
    supplies_burnt += end->supplies().burnt_keys();
    supplies_expired += end->supplies().expired_keys();
  }
  snapshot.counters["supply_notices_taken"] = supplies_taken;
  snapshot.counters["supply_notices_refused"] = supplies_refused;
  snapshot.counters["supply_keys_burnt"] = supplies_burnt;
  snapshot.counters["supply_keys_expired"] = supplies_expired;
  snapshot.counters["stream_burnt_bytes"] = burnt;
  snapshot.counters["segments_failed_checks"] = failed_checks;
  snapshot.counters["segments_dropped"] = dropped;
  snapshot.counters["routing_alarms"] = routing->alarms();
  snapshot.counters["keystreams_open"] = keystreams->size();
  snapshot.counters["keystream_opens_refused"] = keystreams->counters().refused;
  snapshot.counters["keystream_chunks_allocated"] = keystreams->counters().allocated;
  snapshot.counters["keystream_chunks_delivered"] = keystreams->counters().delivered;
  snapshot.counters["keystream_chunks_expired"] = keystreams->counters().expired;
  snapshot.database = routing->Database();
  return snapshot;
}

}  // namespace keyhop
