#ifndef KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_
#define KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_

#include <cstdint>

#include "kms/base/instant.h"

namespace keyhop {

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
  // How long a draw may wait for fresh key of its pair; zero: it is refused at once.
  Duration draw_wait = {};
  // The longest wait that a request may ask for (keyhop_deadline_ms).
  Duration deadline_max = Duration::Seconds(60);
  // Refuse a draw with an extension_optional that would be ignored.
  bool refuse_unhandled_optional = false;
  // How long after the end of its lease a drawn key can be fetched: only told.
  Duration fetch_life = Duration::Seconds(24 * 3600);
  // Draws that may wait in the whole node.
  uint32_t draws_waiting_max = 1024;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_
