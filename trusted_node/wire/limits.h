#ifndef KEYHOP_TRUSTED_NODE_WIRE_LIMITS_H_
#define KEYHOP_TRUSTED_NODE_WIRE_LIMITS_H_

#include <cstddef>
#include <cstdint>

// What a message on Kx may hold at most. A longer one is refused whole (DESIGN §2, G7).

namespace keyhop {

inline constexpr size_t kWireIdBytesMax = 64;  // Of a node or a link.
inline constexpr size_t kWireSaeIdBytesMax = 300;
inline constexpr size_t kWireBooksMax = 4096;
inline constexpr size_t kWireRangesMax = 16'384;
inline constexpr size_t kWirePadRangesMax = 4096;
inline constexpr size_t kWirePathMax = 64;
inline constexpr size_t kWireLinksMax = 1024;
inline constexpr size_t kWireAnnouncementsMax = 256;
inline constexpr size_t kWireWatchersMax = 16'384;
inline constexpr size_t kWireSaesMax = 100'000;
inline constexpr size_t kWireSupplySlavesMax = 256;
inline constexpr size_t kWireSupplyItemsMax = 4096;
inline constexpr size_t kWireSupplyBytesMax = 1024 * 1024;
inline constexpr size_t kWireSignatureBytesMax = 16 * 1024;  // With its certificates.
inline constexpr uint32_t kWireSaeNumberMax = (1u << 18) - 1;
inline constexpr uint32_t kWireBodyBytesMax = 1024 * 1024;
inline constexpr size_t kWirePayloadBytesMax = kWireBodyBytesMax + 48;
inline constexpr int64_t kWireDurationSecondsMax = 365LL * 24 * 3600;
// Of a whole message, in bytes: the receivers' gRPC limit.
inline constexpr size_t kWireMessageBytesMax = 8 * 1024 * 1024;

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_WIRE_LIMITS_H_
