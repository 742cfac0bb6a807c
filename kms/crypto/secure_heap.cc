#include "kms/crypto/secure_heap.h"

#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "kms/base/secret_bytes.h"

namespace keyhop {
namespace {

constexpr size_t kMinSizeBytes = size_t{64} << 10;
constexpr size_t kMaxSizeBytes = size_t{1} << 30;
constexpr size_t kSmallestBlockBytes = 32;
// One in so many bytes is left for what OpenSSL itself keeps there: private keys, big numbers.
constexpr size_t kPartOfOpenSsl = 4;

}  // namespace

absl::StatusOr<SecureHeap> InitSecureHeap(size_t size_bytes) {
  if (size_bytes < kMinSizeBytes || size_bytes > kMaxSizeBytes ||
      (size_bytes & (size_bytes - 1)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("secure heap of ", size_bytes,
                     " bytes: the size must be a power of two from 65536 to 1073741824"));
  }
  if (CRYPTO_secure_malloc_initialized() == 1) {
    return absl::FailedPreconditionError("the secure heap is set up already");
  }
  const int outcome = CRYPTO_secure_malloc_init(size_bytes, kSmallestBlockBytes);
  if (outcome == 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a secure heap of ", size_bytes, " bytes"));
  }
  SetSecureHeapShare(size_bytes - size_bytes / kPartOfOpenSsl);
  return SecureHeap{.size_bytes = size_bytes, .locked = outcome == 1};
}

size_t SecureHeapUsedBytes() {
  return CRYPTO_secure_malloc_initialized() == 1 ? CRYPTO_secure_used() : 0;
}

absl::Status DisableCoreDumps() {
  const rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) {
    return absl::ErrnoToStatus(errno, "cannot set RLIMIT_CORE to 0");
  }
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return absl::ErrnoToStatus(errno, "cannot set PR_SET_DUMPABLE to 0");
  }
  return absl::OkStatus();
}

}  // namespace keyhop
