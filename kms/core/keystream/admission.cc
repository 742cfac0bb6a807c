#include "kms/core/keystream/admission.h"

#include <algorithm>

namespace keyhop {
namespace {

uint32_t MillisOf(Duration d) { return static_cast<uint32_t>(d.millis()); }
uint32_t SecondsOf(Duration d) { return static_cast<uint32_t>(d.millis() / 1000); }

}  // namespace

Admission Admit(const KeystreamQos& asked, const KeystreamConfig& config, uint64_t available_bps) {
  Admission out;
  KeystreamQos& q = out.granted;
  const auto need = [&out](uint32_t wanted, uint32_t fallback, uint64_t most) {
    if (wanted == 0) return static_cast<uint32_t>(std::min<uint64_t>(fallback, most));
    if (wanted > most) out.met = false;
    return static_cast<uint32_t>(std::min<uint64_t>(wanted, most));
  };
  q.chunk_bytes = need(asked.chunk_bytes, config.chunk_bytes_default, config.chunk_bytes_max);
  q.timeout_ms =
      need(asked.timeout_ms, MillisOf(config.timeout_default), MillisOf(config.timeout_max));
  q.ttl_s = need(asked.ttl_s, SecondsOf(config.ttl_default), SecondsOf(config.ttl_max));
  q.max_bps = asked.max_bps == 0 ? config.max_bps_max : std::min(asked.max_bps, config.max_bps_max);
  q.min_bps = need(asked.min_bps, 0, std::min<uint64_t>(q.max_bps, available_bps));
  q.jitter_bps = std::min(asked.jitter_bps, q.max_bps);
  q.priority = std::min(asked.priority, config.priority_max);
  q.metadata_mimetype = asked.metadata_mimetype;
  if (!q.metadata_mimetype.empty() && q.metadata_mimetype != kMetadataJson) {
    q.metadata_mimetype = kMetadataJson;
    out.met = false;
  }
  return out;
}

}  // namespace keyhop
