#include "trusted_node/daemon/store_log.h"

#include <optional>
#include <string>
#include <utility>

#include "kms/base/status_macros.h"
#include "trusted_node/wire/records.h"

namespace keyhop {

absl::Status StoreLog::Commit(const std::vector<Record>& batch) {
  std::vector<SealedOp> ops;
  ops.reserve(batch.size());
  for (const Record& record : batch) {
    StoredRecord stored = ToStored(record);
    ops.push_back(
        {std::move(stored.key), stored.erase, std::move(stored.public_bytes), stored.secret});
  }
  return store_.Commit(ops);
}

absl::StatusOr<std::vector<Record>> StoreLog::Recover() const {
  std::vector<Record> records;
  KEYHOP_RETURN_IF_ERROR(store_.ScanAll(
      [&](absl::string_view key, absl::string_view open, std::optional<SecretBytes> secret) {
        absl::StatusOr<Record> record = FromStored(key, open, std::move(secret));
        if (record.ok()) records.push_back(*std::move(record));
        return record.status();
      }));
  return records;
}

}  // namespace keyhop
