#ifndef KEYHOP_SIM_NET_MESSAGE_BYTES_H_
#define KEYHOP_SIM_NET_MESSAGE_BYTES_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "sim/net/prng.h"
#include "trusted_node/core/node/messages.h"

namespace keyhop::sim {

// Every field of a message, one after the other: what a tap above TLS would see.
std::vector<uint8_t> BytesOf(const KxMessage& message);
// A short name of the kind, and one line for the trace (public fields only).
std::string KindOf(const KxMessage& message);
std::string Describe(const KxMessage& message);
// Changes one field in flight, as a fault or an attacker would.
void Tamper(Prng& prng, KxMessage& message);

// 64-bit FNV-1a over words, for the trace hash.
class TraceHash {
 public:
  void Add(uint64_t v) { hash_ = (hash_ ^ v) * 1099511628211u + (hash_ >> 47); }
  // As one byte string; every field of a message.
  void Add(std::span<const uint8_t> bytes) { Bytes(bytes); }
  void Add(const KxMessage& message);

  // As a ByteWriter takes them.
  TraceHash& U64(uint64_t v) {
    Add(v);
    return *this;
  }
  TraceHash& Text(absl::string_view s) {
    return Bytes({reinterpret_cast<const uint8_t*>(s.data()), s.size()});
  }
  TraceHash& Bytes(std::span<const uint8_t> bytes);

  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 14695981039346656037u;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_MESSAGE_BYTES_H_
