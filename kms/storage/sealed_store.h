#ifndef KEYHOP_KMS_STORAGE_SEALED_STORE_H_
#define KEYHOP_KMS_STORAGE_SEALED_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/base/mutex.h"
#include "kms/base/secret_bytes.h"
#include "kms/crypto/entropy.h"
#include "kms/storage/file_ops.h"
#include "kms/storage/store.h"
#include "kms/storage/store_key_file.h"

namespace keyhop {

// One change: a record with a public part and, perhaps, a secret one.
struct SealedOp {
  std::string key;
  bool erase = false;                   // The record goes with both parts.
  std::string open = {};                // The public part.
  const SecretBytes* secret = nullptr;  // Not owned; null: none.
};

struct SealedStoreOptions {
  std::string key_path;  // Of the store key file, outside the store: KEY_PATH.a and KEY_PATH.b.
  SecretBytes kek;       // Key-encryption key, 32 bytes.
  // Data keys that one commit of a rotation re-wraps.
  size_t rewrap_batch = 256;
};

// Records with secrets over a Store that sees none (DESIGN §7). Each secret is sealed with
// AES-256-GCM under a data key of its own, which a store key wraps, which the key-encryption key
// wraps. Key and public part are bound to the secret: a changed or moved record is DATA_LOSS. (Not
// seen here: an older version of the same record, put back whole, and a change of a record that has
// no secret.)
//
// Erasing a value in a store erases nothing from its files; so the store key is replaced from time
// to time, live data keys are wrapped anew, and the old store key is destroyed. Thereafter what was
// erased before cannot be opened from any copy of the store's files.
//
// In the store: "v/" KEY holds the public part and the sealed secret, "k/" KEY the wrapped data
// key, if there is a secret. A rotation touches only the latter.
//
// Thread-safe; changes of one key must not overlap each other.
class SealedStore {
 public:
  // All but `options` outlive it. Finishes a rotation that a crash broke off, then rotates.
  // DATA_LOSS when the store key cannot be opened, or is missing while the store has secrets.
  static absl::StatusOr<std::unique_ptr<SealedStore>> Open(SealedStoreOptions options, Store& store,
                                                           FileOps& files, EntropySource& entropy);

  // All or nothing, in order, durable when OK; errors as in Store::Commit.
  absl::Status Commit(const std::vector<SealedOp>& ops);

  struct Record {
    std::string open;
    std::optional<SecretBytes> secret;
  };
  // NOT_FOUND, or DATA_LOSS naming the key when it cannot be authenticated.
  absl::StatusOr<Record> Get(absl::string_view key) const;

  // Calls `visit` for each record whose key begins with `prefix`, in order of keys; ends early
  // with its error. DATA_LOSS as for Get, and when a secret is there whose record is not. For
  // recovery: while it runs, nothing may be committed.
  using Visitor = std::function<absl::Status(absl::string_view key, absl::string_view open,
                                             std::optional<SecretBytes> secret)>;
  absl::Status ScanAll(absl::string_view prefix, const Visitor& visit) const;
  absl::Status ScanAll(const Visitor& visit) const { return ScanAll("", visit); }

  // Replaces the store key; commits may go on meanwhile. After an error the old one may still be
  // valid too; the next rotation, also after a restart, goes on from there.
  absl::Status Rotate();

  // Of the store key in force; grows with each rotation.
  uint64_t store_key_number() const;

  // The last call, at an orderly end.
  absl::Status Close() { return Rotate(); }

 private:
  SealedStore(SealedStoreOptions options, Store& store, FileOps& files, EntropySource& entropy);

  absl::Status OpenKeys();
  absl::StatusOr<bool> HasSecrets() const;
  SecretBytes RandomKey() const;
  std::string Wrap(const std::string& key, const SecretBytes& data_key) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The data key; nullopt if wrapped by a store key that is not held.
  absl::StatusOr<std::optional<SecretBytes>> Unwrap(absl::string_view key,
                                                    absl::string_view wrapped) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<SecretBytes> OpenSecret(absl::string_view key, absl::string_view open,
                                         absl::string_view sealed) const;
  absl::StatusOr<Record> OpenRecord(absl::string_view key, absl::string_view value) const;

  // The steps of a rotation.
  absl::Status BeginRotation() ABSL_EXCLUSIVE_LOCKS_REQUIRED(rotating_);
  absl::Status FinishRotation() ABSL_EXCLUSIVE_LOCKS_REQUIRED(rotating_);
  absl::StatusOr<size_t> RewrapPass() ABSL_EXCLUSIVE_LOCKS_REQUIRED(rotating_);
  absl::Status CommitRewrapped(StoreBatch batch);

  Store& store_;
  EntropySource& entropy_;
  const size_t rewrap_batch_;
  Mutex rotating_;  // Before mu_.
  StoreKeyFile file_ ABSL_GUARDED_BY(rotating_);

  mutable Mutex mu_;
  CondVar commit_ended_;
  // Oldest first; the last one wraps. Two during a rotation.
  std::vector<StoreKey> keys_ ABSL_GUARDED_BY(mu_);
  // Commits under way by the number of the key that they wrap with.
  std::map<uint64_t, size_t> under_way_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_SEALED_STORE_H_
