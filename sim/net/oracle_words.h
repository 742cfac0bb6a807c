#ifndef KEYHOP_SIM_NET_ORACLE_WORDS_H_
#define KEYHOP_SIM_NET_ORACLE_WORDS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "trusted_node/core/node/messages.h"

// For the oracle's own files.

namespace keyhop::sim {

// Runs of bytes are known again by windows of this size.
inline constexpr size_t kWindow = 8;
inline uint64_t WindowAt(std::span<const uint8_t> bytes, size_t at) {
  uint64_t out;
  std::memcpy(&out, bytes.data() + at, kWindow);
  return out;
}

inline std::string Name(const RelayId& id) {
  return id.source.value + "#" + std::to_string(id.number);
}

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_ORACLE_WORDS_H_
