#ifndef KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_
#define KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_

#include <cstdint>
#include <map>

#include "kms/base/instant.h"
#include "kms/core/types.h"

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
  // Draws that may wait in the whole node.
  uint32_t draws_waiting_max = 1024;
  // Shares of scarce key of the SAEs that have another one than 1.
  std::map<SaeId, uint32_t> weights = {};
  // How long, in run time, the answer to a request with an idempotency key is kept; how many one
  // SAE may have open; and the memory of all, of which one SAE gets a quarter.
  Duration idempotency_window = Duration::Seconds(60);
  uint32_t idempotency_open_max = 1000;
  uint64_t idempotency_bytes_max = 64ull * 1024 * 1024;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_CONFIG_H_
