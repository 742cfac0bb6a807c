#include "trusted_node/daemon/core_config.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

DeliveryConfig DeliveryOf(const config::v1::Delivery& delivery) {
  DeliveryConfig out;
  out.key_size_bits = delivery.key_size_bits();
  out.min_key_size_bits = delivery.min_key_size_bits();
  out.max_key_size_bits = delivery.max_key_size_bits();
  out.max_keys_per_request = delivery.max_keys_per_request();
  out.failed_fetches_burst = delivery.failed_fetch_burst();
  out.failed_fetch_refill = Duration::Seconds(1) / delivery.failed_fetches_per_second();
  out.max_key_count = delivery.max_key_count();
  out.max_sae_id_count = delivery.max_sae_id_count();
  out.supply_wait = FromProto(delivery.supply_deadline());
  out.idempotency_window = FromProto(delivery.idempotency_window());
  out.idempotency_open_max = delivery.idempotency_open_max();
  out.idempotency_bytes_max = delivery.idempotency_bytes_max();
  out.draw_wait = FromProto(delivery.request_deadline());
  out.deadline_max = FromProto(delivery.deadline_max());
  out.paths_min = static_cast<uint8_t>(delivery.paths_min());
  for (const config::v1::PathsWith& with : delivery.paths_min_with()) {
    out.paths_min_with[NodeId(with.node())] = static_cast<uint8_t>(with.paths_min());
  }
  out.refuse_unhandled_optional = delivery.refuse_unhandled_optional();
  out.fetch_life = FromProto(delivery.fetch_life());
  // The other half is left to those that can be answered.
  out.draws_waiting_max = delivery.requests_pending_max() / 2;
  return out;
}

AnnounceConfig AnnounceOf(const config::v1::Config& config) {
  AnnounceConfig out;
  out.saes_max = config.delivery().watching_saes_max();
  out.kept_per_sae_max = config.delivery().announcements_kept_max();
  out.queued_max = config.delivery().announcements_queued_max();
  out.watch_life = FromProto(config.delivery().watch_life());
  out.retry = FromProto(config.lease().request_retry());
  return out;
}

absl::StatusOr<Quotas::Table> QuotasOf(const config::v1::Config& config) {
  Quotas::Table out;
  for (int i = 0; i < config.quotas_size(); ++i) {
    const config::v1::Quota& in = config.quotas(i);
    const QuotaOf of{SaeId(in.sae()), SaeId(in.slave())};
    const Quota quota{in.keys_per_second(), in.bits_per_second(), FromProto(in.burst()),
                      in.share()};
    const absl::Status fits = CheckQuota(of, quota);
    if (!fits.ok()) {
      return absl::Status(fits.code(), absl::StrCat("quotas[", i, "]: ", fits.message()));
    }
    out.emplace(of, quota);
  }
  return out;
}

StreamConfig StreamOf(const config::v1::Config& config) {
  StreamConfig out;
  out.segment_body_bytes = static_cast<uint32_t>(config.relay().segment_bytes_max());
  out.segments_in_flight_max = config.relay().segments_under_way_max();
  out.segment_timeout = FromProto(config.relay().segment_deadline());
  out.lease_bytes_min = config.lease().stream_lease_bytes_min();
  out.lease_bytes_max = config.lease().stream_lease_bytes_max();
  out.retry = FromProto(config.lease().request_retry());
  out.lease_life = FromProto(config.lease().life());
  out.fetch_life = FromProto(config.delivery().fetch_life());
  out.supplies_max = config.delivery().supplied_keys_max();
  return out;
}

KeystreamConfig KeystreamOf(const config::v1::KeyStreams& streams) {
  KeystreamConfig out;
  out.streams_max = streams.streams_max();
  out.streams_per_sae_max = streams.streams_per_sae_max();
  out.calls_waiting_max = streams.calls_waiting_max();
  out.chunk_bytes_default = streams.chunk_bytes_default();
  out.chunk_bytes_max = streams.chunk_bytes_max();
  out.max_bps_max = streams.max_bps_max();
  out.priority_max = streams.priority_max();
  out.timeout_default = FromProto(streams.timeout_default());
  out.timeout_max = FromProto(streams.timeout_max());
  out.ttl_default = FromProto(streams.ttl_default());
  out.ttl_max = FromProto(streams.ttl_max());
  out.chunks_max = streams.chunks_max();
  out.ahead_max = streams.ahead_max();
  out.pending = FromProto(streams.pending());
  out.idle = FromProto(streams.idle());
  out.reservable_percent = streams.reservable_percent();
  return out;
}

RoutingConfig RoutingOf(const config::v1::Config& config) {
  RoutingConfig out;
  out.self = NodeId(config.node().id());
  for (const config::v1::Sae& sae : config.saes()) out.saes.emplace_back(sae.id());
  out.refresh = FromProto(config.routing().refresh());
  out.expiry = FromProto(config.routing().expiry());
  out.flood_interval_min = FromProto(config.routing().min_interval());
  out.nodes_max = config.routing().nodes_max();
  out.hops_max = config.routing().hops_max();
  return out;
}

PoolConfig PoolOf(const config::v1::Pools& pools) {
  PoolConfig out;
  out.target_bytes = pools.target_bytes();
  out.idle_bytes = pools.idle_target_bytes();
  out.in_use = FromProto(pools.idle_after());
  out.prefill = pools.prefill() == config::v1::ALL_KNOWN_NODES;
  return out;
}

}  // namespace

absl::StatusOr<NodeConfig> CoreConfigOf(const config::v1::Config& config) {
  NodeConfig out;
  out.self = NodeId(config.node().id());
  for (const config::v1::Link& link : config.links()) {
    LinkSetup setup;
    setup.config.id = LinkId(link.id());
    setup.config.self = out.self;
    setup.config.peer = NodeId(link.peer());
    setup.config.unit_bytes_max = static_cast<uint32_t>(link.unit_bytes());
    setup.config.lease_bytes_min = link.lease_bytes_min();
    setup.config.lease_bytes_max = link.lease_bytes_max();
    setup.config.stock_bytes_max = link.pads_bytes_max();
    out.links.push_back(std::move(setup));
  }
  out.routing = RoutingOf(config);
  out.stream = StreamOf(config);
  out.delivery = DeliveryOf(config.delivery());
  out.keystream = KeystreamOf(config.key_streams());
  out.announce = AnnounceOf(config);
  KEYHOP_ASSIGN_OR_RETURN(out.quotas, QuotasOf(config));
  out.pool = PoolOf(config.pools());
  out.lease_memory_bytes_max = config.lease().memory_bytes_max();
  out.burn_open_leases_on_start = config.lease().burn_open_leases_on_start();
  return out;
}

}  // namespace keyhop
