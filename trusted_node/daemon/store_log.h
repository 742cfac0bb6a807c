#ifndef KEYHOP_TRUSTED_NODE_DAEMON_STORE_LOG_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_STORE_LOG_H_

#include <vector>

#include "absl/status/statusor.h"
#include "kms/storage/sealed_store.h"
#include "trusted_node/daemon/core_loop.h"

namespace keyhop {

// The core's records in a sealed store. Commit and Recover must not overlap.
class StoreLog final : public RecordLog {
 public:
  explicit StoreLog(SealedStore& store) : store_(store) {}

  absl::Status Commit(const std::vector<Record>& batch) override;
  // Every record, for NodeCore::Create. DATA_LOSS if one cannot be opened or read.
  absl::StatusOr<std::vector<Record>> Recover() const;

 private:
  SealedStore& store_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_STORE_LOG_H_
