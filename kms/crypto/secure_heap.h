#ifndef KEYHOP_KMS_CRYPTO_SECURE_HEAP_H_
#define KEYHOP_KMS_CRYPTO_SECURE_HEAP_H_

#include <cstddef>

#include "absl/status/statusor.h"

namespace keyhop {

// Half of the usual RLIMIT_MEMLOCK (8 MiB), so that libraries may lock some too.
inline constexpr size_t kDefaultSecureHeapBytes = size_t{4} << 20;

struct SecureHeap {
  size_t size_bytes = 0;
  // Never swapped out. False when the lock limit (`ulimit -l`) is below the size: secrets are then
  // still apart from the ordinary heap, behind guard pages and out of core dumps.
  bool locked = false;
};

// Sets up the heap that SecretBytes takes its memory from, of `size_bytes` (a power of two from
// 64 KiB to 1 GiB). Only the heap is locked, not the process. Call first thing in `main`: secrets
// made before are in the ordinary heap. INVALID_ARGUMENT for another size, FAILED_PRECONDITION
// when done already, RESOURCE_EXHAUSTED when there is no such memory.
absl::StatusOr<SecureHeap> InitSecureHeap(size_t size_bytes = kDefaultSecureHeapBytes);

// Bytes of it in use. Thread-safe.
size_t SecureHeapUsedBytes();

// No core file of this process, and no other process of the same user may attach to it or read its
// memory (RLIMIT_CORE 0, PR_SET_DUMPABLE 0). Call before secrets are read.
absl::Status DisableCoreDumps();

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_SECURE_HEAP_H_
