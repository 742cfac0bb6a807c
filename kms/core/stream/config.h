#ifndef KEYHOP_KMS_CORE_STREAM_CONFIG_H_
#define KEYHOP_KMS_CORE_STREAM_CONFIG_H_

#include <cstdint>

#include "kms/base/instant.h"

namespace keyhop {

// Of any source's segment, in bytes: a unit at the destination, sealed under one data key.
inline constexpr uint32_t kSegmentBodyBytesMax = 4096;

struct StreamConfig {
  uint32_t segment_body_bytes = kSegmentBodyBytesMax;  // That this node sends.
  uint32_t segments_in_flight_max = 16;
  Duration segment_timeout = Duration::Seconds(5);  // Then burnt, never sent again.
  uint64_t reserve_bytes = 64 * 1024;  // Offsets are reserved durably in runs of this size.
  uint64_t lease_bytes_min = 1024;     // Less acknowledged stock is not leased, unless drawn from.
  uint64_t lease_bytes_max = 64 * 1024;    // Of one lease.
  Duration retry = Duration::Millis(300);  // Of hellos and lease requests.
  Duration lease_life = Duration::Seconds(3600);
  Duration fetch_life = Duration::Seconds(3600);  // How much longer the destination keeps a key.
  Duration epoch_interval_min = Duration::Seconds(60);  // Between epochs that worked.
  Duration report_interval = Duration::Seconds(1);      // Of the destination's version, if it grew.
  Duration silence_max = Duration::Seconds(10);  // A source that draws asks whether all is well.
  uint32_t units_max = 16'384;   // At one destination; past it segments are dropped.
  uint32_t supplies_max = 4096;  // Keys of supply notices at one destination; past it: refused.
  uint32_t supplies_under_way_max = 64;  // Notices and cancels of one source without an answer.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_CONFIG_H_
