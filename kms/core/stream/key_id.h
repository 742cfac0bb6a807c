#ifndef KEYHOP_KMS_CORE_STREAM_KEY_ID_H_
#define KEYHOP_KMS_CORE_STREAM_KEY_ID_H_

#include <cstdint>
#include <optional>

#include "kms/base/secret_bytes.h"
#include "kms/core/stream/messages.h"
#include "kms/core/types.h"

// key_IDs that say where a key is, never what it is (DESIGN §6): a UUID whose 122 free bits are a
// 48-bit synthetic-IV tag over all that identifies the key, and its location encrypted under the
// tag. Prior art: LUMII's qkd-stub encrypts key_IDs with an 8-bit check.

namespace keyhop {

struct KeyLocation {
  uint64_t offset = 0;        // In body bytes, below 2^44.
  uint32_t length_bytes = 0;  // 1 to 4,095.
  uint32_t slave_number = 0;  // Below 2^18: the slave's registration number at its home.
  friend auto operator<=>(const KeyLocation&, const KeyLocation&) = default;
};

// What a key_ID is bound to besides its location.
struct KeyIdBinding {
  StreamId stream;
  uint64_t epoch = 0;
  SaeId master;
  SaeId slave;
};

// `id_key`: 32 bytes, of the epoch.
KeyId MakeKeyId(const SecretBytes& id_key, const KeyIdBinding& binding, const KeyLocation& at);

// Decrypts the location without checking it: the slave's number is needed to know what to check.
KeyLocation PeekLocation(const SecretBytes& id_key, const KeyId& id);

// Whether `id` is what MakeKeyId gives for this binding and location. Constant time.
bool VerifyKeyId(const SecretBytes& id_key, const KeyIdBinding& binding, const KeyLocation& at,
                 const KeyId& id);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_KEY_ID_H_
