#ifndef KEYHOP_TRUSTED_NODE_WIRE_KEYSTREAM_QOS_H_
#define KEYHOP_TRUSTED_NODE_WIRE_KEYSTREAM_QOS_H_

#include "kms/core/keystream/request.h"
#include "trusted_node/wire/reader.h"

// The QoS of a key stream, which a note and a record have in messages of their own.

namespace keyhop {

inline constexpr size_t kWireMimetypeBytesMax = 255;

template <typename Proto>
void PutQos(const KeystreamQos& in, Proto* out) {
  out->set_chunk_bytes(in.chunk_bytes);
  out->set_max_bps(in.max_bps);
  out->set_min_bps(in.min_bps);
  out->set_jitter_bps(in.jitter_bps);
  out->set_priority(in.priority);
  out->set_timeout_ms(in.timeout_ms);
  out->set_ttl_seconds(in.ttl_s);
  out->set_metadata_mimetype(in.metadata_mimetype);
}

template <typename Proto>
KeystreamQos QosOf(const Proto& in, WireReader& reader) {
  reader.Require(in.metadata_mimetype().size() <= kWireMimetypeBytesMax, "qos.metadata_mimetype",
                 "longer than 255 bytes");
  return {in.chunk_bytes(), in.max_bps(),    in.min_bps(),     in.jitter_bps(),
          in.priority(),    in.timeout_ms(), in.ttl_seconds(), in.metadata_mimetype()};
}

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_WIRE_KEYSTREAM_QOS_H_
