#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_LIMITS_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_LIMITS_H_

#include <cstddef>
#include <cstdint>

// Bounds of what a link's end holds and says (DESIGN §2, G7).

namespace keyhop {

inline constexpr size_t kBooksMax = 16;       // Live ones of a link.
inline constexpr size_t kRunsOfAPairMax = 4;  // Live ones of a module pair.
inline constexpr size_t kRequestRangesMax = 16;
inline constexpr uint64_t kLeaseBlocksMax = 4096;
inline constexpr size_t kLackingRangesMax = 64;
inline constexpr size_t kOpenLeasesMax = 64;  // In one direction.
inline constexpr size_t kFrameRangesMax = 4096;

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_LIMITS_H_
