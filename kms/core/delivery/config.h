#ifndef KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_
#define KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_

#include <cstdint>
#include <map>

#include "kms/base/instant.h"
#include "kms/core/types.h"

namespace keyhop {

// Key bytes of one draw with additional slaves: its notices are single messages.
inline constexpr uint64_t kSupplyBytesMax = 1024 * 1024;

struct DeliveryConfig {
  uint64_t key_size_bits = 256;
  uint64_t min_key_size_bits = 32;
  uint64_t max_key_size_bits = 16'384;  // Never over 32,760.
  uint64_t max_keys_per_request = 128;
  uint32_t failed_fetches_burst = 100;  // Per SAE.
  Duration failed_fetch_refill = Duration::Millis(100);
  Duration retry_after = Duration::Seconds(1);
  // Keys of the default size that one pair may have in stock: what status tells at most.
  uint64_t max_key_count = 1'000'000;
  // Additional slaves that one draw may name.
  uint64_t max_sae_id_count = 16;
  // How long a draw that has its keys waits for the additional slaves' KMEs to hold them.
  Duration supply_wait = Duration::Seconds(2);
  // How long a draw may wait for fresh key of its pair; zero: it is refused at once.
  Duration draw_wait = {};
  // The longest wait that a request may ask for (keyhop_deadline_ms).
  Duration deadline_max = Duration::Seconds(60);
  // Over how many node-disjoint paths the keys of a pair of nodes come at least, whatever its
  // requests say; and with which other nodes it is another number. At most kPathsMax.
  uint8_t paths_min = 1;
  std::map<NodeId, uint8_t> paths_min_with = {};
  // Refuse a draw with an extension_optional that would be ignored.
  bool refuse_unhandled_optional = false;
  // How long after the end of its lease a drawn key can be fetched: only told.
  Duration fetch_life = Duration::Seconds(24 * 3600);
  // Draws that may wait in the whole node.
  uint32_t draws_waiting_max = 1024;
  // How long, in run time, the answer to a request with an idempotency key is kept; how many one
  // SAE may have open; and the memory of all, of which one SAE gets a quarter.
  Duration idempotency_window = Duration::Seconds(60);
  uint32_t idempotency_open_max = 1000;
  uint64_t idempotency_bytes_max = 64ull * 1024 * 1024;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_
