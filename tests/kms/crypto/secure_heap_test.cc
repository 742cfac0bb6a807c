#include "kms/crypto/secure_heap.h"

#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "kms/base/secret_bytes.h"

namespace keyhop {
namespace {

// Each runs in a process of its own: the heap is set up once a process.
void InChild(void (*body)()) {
  EXPECT_EXIT(
      {
        body();
        std::exit(testing::Test::HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

TEST(SecureHeapTest, HoldsSecretsAndFitsTheUsualLockLimit) {
  InChild([] {
    const absl::StatusOr<SecureHeap> heap = InitSecureHeap();
    ASSERT_TRUE(heap.ok()) << heap.status();
    rlimit limit;
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    if (limit.rlim_cur >= size_t{8} << 20) {
      EXPECT_TRUE(heap->locked);
    }
    const SecretBytes secret(100);
    EXPECT_EQ(CRYPTO_secure_allocated(secret.Expose(SecretAccess::ForTest()).data()), 1);
    EXPECT_GE(SecureHeapUsedBytes(), 100u);
  });
}

TEST(SecureHeapTest, SaysThatItIsNotLockedUnderALowLimit) {
  InChild([] {
    const rlimit low = {4096, 4096};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &low), 0);
    const absl::StatusOr<SecureHeap> heap = InitSecureHeap();
    ASSERT_TRUE(heap.ok()) << heap.status();
    // CAP_IPC_LOCK, which root has, lifts the limit.
    if (geteuid() != 0) {
      EXPECT_FALSE(heap->locked);
    }
  });
}

// A key manager with a large stock of pads could not load its TLS key any more, and did not start.
TEST(SecureHeapTest, LeavesRoomForOpenSslHoweverManySecretsThereAre) {
  InChild([] {
    ASSERT_TRUE(InitSecureHeap(64 << 10).ok());
    std::vector<SecretBytes> secrets;
    for (int i = 0; i < 100; ++i) secrets.emplace_back(1000);
    void* of_openssl = OPENSSL_secure_malloc(4096);
    EXPECT_EQ(CRYPTO_secure_allocated(of_openssl), 1);
    OPENSSL_secure_free(of_openssl);
  });
}

TEST(SecureHeapTest, GoesOnBesideAFullHeap) {
  InChild([] {
    ASSERT_TRUE(InitSecureHeap(64 << 10).ok());
    const SecretBytes large(128 << 10);
    EXPECT_EQ(large.size(), size_t{128} << 10);
  });
}

TEST(SecureHeapTest, RefusesABadSizeAndASecondTime) {
  InChild([] {
    EXPECT_EQ(InitSecureHeap(0).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(InitSecureHeap(5 << 20).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(InitSecureHeap(64 << 10).ok());
    EXPECT_EQ(InitSecureHeap(64 << 10).status().code(), absl::StatusCode::kFailedPrecondition);
  });
}

TEST(DisableCoreDumpsTest, ClosesTheProcess) {
  InChild([] {
    EXPECT_TRUE(DisableCoreDumps().ok());
    rlimit limit;
    ASSERT_EQ(getrlimit(RLIMIT_CORE, &limit), 0);
    EXPECT_EQ(limit.rlim_max, 0u);
    EXPECT_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
  });
}

}  // namespace
}  // namespace keyhop
