#ifndef KEYHOP_KMS_CORE_KEYSTREAM_CONFIG_H_
#define KEYHOP_KMS_CORE_KEYSTREAM_CONFIG_H_

#include <cstdint>

#include "kms/base/instant.h"

namespace keyhop {

struct KeystreamConfig {
  uint32_t streams_max = 256;         // At this node; past it an OPEN_CONNECT is refused.
  uint32_t streams_per_sae_max = 32;  // That one SAE opened.
  uint32_t calls_waiting_max = 1024;  // At this node.
  uint32_t chunk_bytes_default = 32;
  uint32_t chunk_bytes_max = 2048;
  uint32_t max_bps_max = 100'000'000;
  uint32_t priority_max = 7;
  Duration timeout_default = Duration::Seconds(2);
  Duration timeout_max = Duration::Seconds(30);
  Duration ttl_default = Duration::Seconds(300);
  Duration ttl_max = Duration::Seconds(3600);
  // Chunks of one stream that may be held unread; past it no more are drawn for it.
  uint32_t chunks_max = 64;
  // Chunks drawn ahead of the highest index asked for: a second of Max_bps, at most this.
  uint32_t ahead_max = 8;
  // A stream that one end alone opened ends after this; and one for which no call came, at either
  // end by itself.
  Duration pending = Duration::Seconds(600);
  Duration idle = Duration::Seconds(3600);
  // Of the key rate of a link, the part that Min_bps of streams may reserve.
  uint32_t reservable_percent = 80;
  Duration retry = Duration::Millis(300);  // Of what is said to the other KME.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_KEYSTREAM_CONFIG_H_
