#ifndef KEYHOP_KMS_STORAGE_MEMORY_STORE_H_
#define KEYHOP_KMS_STORAGE_MEMORY_STORE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "kms/base/mutex.h"
#include "kms/storage/store.h"

namespace keyhop {

// What outlives a MemoryStore: the disk of tests and simulations. Thread-safe.
class MemoryDisk {
 public:
  std::map<std::string, std::string, std::less<>> Image() const {
    MutexLock lock(mu_);
    return data_;
  }

 private:
  friend class MemoryStore;
  mutable Mutex mu_;
  std::map<std::string, std::string, std::less<>> data_ ABSL_GUARDED_BY(mu_);
  uint64_t commit_number_ ABSL_GUARDED_BY(mu_) = 0;
};

// A Store in memory. Thread-safe.
class MemoryStore final : public Store {
 public:
  explicit MemoryStore(std::shared_ptr<MemoryDisk> disk = std::make_shared<MemoryDisk>());

  absl::Status Commit(const StoreBatch& batch) override;
  absl::StatusOr<std::string> Get(absl::string_view key) const override;
  absl::Status Scan(absl::string_view prefix, const Visitor& visit) const override;
  uint64_t commit_number() const override;

 private:
  const std::shared_ptr<MemoryDisk> disk_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_MEMORY_STORE_H_
