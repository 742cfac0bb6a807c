#ifndef KEYHOP_KMS_STORAGE_STORE_H_
#define KEYHOP_KMS_STORAGE_STORE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyhop {

// One change of a batch. Keys and values are binary.
struct StoreOp {
  std::string key;
  std::optional<std::string> value;  // nullopt: erase; erasing what is not there is no error.
};

// What a key must hold for the batch to be applied; nullopt: nothing.
struct StorePrecondition {
  std::string key;
  std::optional<std::string> expected;
};

struct StoreBatch {
  std::vector<StoreOp> ops;  // In order; a later one on the same key wins.
  std::vector<StorePrecondition> preconditions;
};

// An ordered, durable map from keys to values (bytes order). It keeps every commit or refuses to
// open: commits are numbered without a gap. It is not told secrets: see sealed_store.h.
//
// Keys are 1 to kMaxKeyBytes bytes long; those that begin with a zero byte are the store's own.
// Thread-safe.
class Store {
 public:
  static constexpr size_t kMaxKeyBytes = 1024;
  static constexpr size_t kMaxValueBytes = size_t{16} << 20;

  virtual ~Store() = default;

  // Applies all of the batch or nothing. OK: it is durable and outlives a crash of the machine.
  // FAILED_PRECONDITION: a precondition did not hold; INVALID_ARGUMENT: a key or value outside the
  // limits; in both cases nothing changed. Any other error: it is not known whether the batch is
  // there; no later commit is taken, and the caller ends the process and recovers from disk.
  virtual absl::Status Commit(const StoreBatch& batch) = 0;

  // The value, or NOT_FOUND.
  virtual absl::StatusOr<std::string> Get(absl::string_view key) const = 0;

  // Calls `visit` for each key that begins with `prefix`, in order, as of one moment; ends early
  // with its error. The views are valid during the call only. `visit` may use this store.
  using Visitor = std::function<absl::Status(absl::string_view key, absl::string_view value)>;
  virtual absl::Status Scan(absl::string_view prefix, const Visitor& visit) const = 0;

  // How many batches were committed since the store was made.
  virtual uint64_t commit_number() const = 0;
};

// INVALID_ARGUMENT, naming the key, when the batch breaks the limits above.
absl::Status CheckBatch(const StoreBatch& batch);

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_STORE_H_
