#ifndef KEYHOP_KMS_STORAGE_ROCKS_STORE_H_
#define KEYHOP_KMS_STORAGE_ROCKS_STORE_H_

#include <memory>
#include <string>

#include "kms/base/instant.h"
#include "kms/storage/store.h"

namespace keyhop {

struct RocksStoreOptions {
  std::string path;  // A folder, made if absent; its parent must exist.
  // How long to wait for the lock of a process that is just ending.
  Duration lock_wait = Duration::Seconds(10);
  // Memory for recent writes (twice this may be in use) and for cached blocks.
  size_t write_buffer_bytes = size_t{4} << 20;
  size_t block_cache_bytes = size_t{4} << 20;
};

// A Store in RocksDB. A commit is OK once the write-ahead log is synced; commits that wait at the
// same time share one sync. Opening accepts a torn last record, which no commit was told OK for,
// and refuses anything else that is missing.
//
// Thread-safe.
class RocksStore : public Store {
 public:
  // UNAVAILABLE, naming the process, when another one holds the store for longer than the wait;
  // DATA_LOSS when a commit is missing or a file is damaged; INTERNAL for other trouble of the
  // file system.
  static absl::StatusOr<std::unique_ptr<RocksStore>> Open(const RocksStoreOptions& options);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_ROCKS_STORE_H_
