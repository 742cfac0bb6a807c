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
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_
