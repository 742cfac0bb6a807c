#ifndef KEYHOP_KMS_CORE_ANNOUNCE_CONFIG_H_
#define KEYHOP_KMS_CORE_ANNOUNCE_CONFIG_H_

#include <cstdint>

#include "kms/base/instant.h"

namespace keyhop {

// In one message.
inline constexpr size_t kAnnouncementsPerMessageMax = 256;
// Of one SAE that wait for news at the same time.
inline constexpr size_t kWatchersPerSaeMax = 8;

struct AnnounceConfig {
  uint32_t saes_max = 256;           // That may watch; 0: none.
  uint32_t kept_per_sae_max = 1024;  // Announcements; past it the oldest go.
  uint32_t queued_max = 4096;        // At a source for one destination; past it the oldest go.
  Duration watch_life = Duration::Seconds(24 * 3600);  // Without a watcher, then forgotten.
  Duration retry = Duration::Millis(300);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_ANNOUNCE_CONFIG_H_
