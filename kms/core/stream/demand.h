#ifndef KEYHOP_KMS_CORE_STREAM_DEMAND_H_
#define KEYHOP_KMS_CORE_STREAM_DEMAND_H_

#include <algorithm>
#include <cstdint>

namespace keyhop {

// Bytes wanted of a stream, in keys of at most `key_bytes`. A key does not go over the end of a run
// of bytes that touch: ends of runs that are too short for the longest key do not meet a demand.
struct StreamDemand {
  uint64_t bytes = 0;
  uint64_t key_bytes = 0;
};

// What meets either one.
inline StreamDemand Larger(const StreamDemand& a, const StreamDemand& b) {
  return {std::max(a.bytes, b.bytes), std::max(a.key_bytes, b.key_bytes)};
}

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_DEMAND_H_
