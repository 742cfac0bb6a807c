#ifndef KEYHOP_KMS_STORAGE_STORE_KEY_FILE_H_
#define KEYHOP_KMS_STORAGE_STORE_KEY_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kms/base/secret_bytes.h"
#include "kms/crypto/entropy.h"
#include "kms/storage/file_ops.h"

namespace keyhop {

// A store key and its number; numbers grow and never return.
struct StoreKey {
  uint64_t number = 0;
  SecretBytes key;
};

// The file outside the store that holds the store keys (one, or two while they are changed),
// sealed by the key-encryption key. It lives in two places by turns, PATH.a and PATH.b: a new
// version is written to the free place and synced, then the old one is overwritten and unlinked;
// so there is a whole version at any moment. Keep both out of backups.
//
// Not thread-safe.
class StoreKeyFile {
 public:
  // `files` and `entropy` outlive it. `kek` has 32 bytes.
  StoreKeyFile(std::string path, SecretBytes kek, FileOps& files, EntropySource& entropy);

  // The keys, oldest first; none if there is no file. Removes what a crash left of an older
  // version. DATA_LOSS if no version can be opened: damaged, or another key-encryption key.
  absl::StatusOr<std::vector<StoreKey>> Read();

  // Makes `keys` (one or two) the durable contents, and destroys the version before. After an
  // error either of them may be there.
  absl::Status Replace(const std::vector<const StoreKey*>& keys);

 private:
  struct Version {
    uint64_t generation = 0;
    std::vector<StoreKey> keys;
  };
  std::string Place(int i) const { return path_ + (i == 0 ? ".a" : ".b"); }
  absl::StatusOr<Version> Open(const std::string& contents) const;
  absl::Status Destroy(const std::string& place);

  const std::string path_;
  const SecretBytes kek_;
  FileOps& files_;
  EntropySource& entropy_;
  uint64_t generation_ = 0;
  std::optional<int> place_;  // Of the version in force.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_STORE_KEY_FILE_H_
