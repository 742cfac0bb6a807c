#include "kms/storage/store.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

absl::Status CheckKey(const std::string& key) {
  if (key.empty() || key.size() > Store::kMaxKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "store key of ", key.size(), " bytes: allowed are 1 to ", Store::kMaxKeyBytes));
  }
  if (key[0] == '\0') {
    return absl::InvalidArgumentError(
        absl::StrCat("store key ", absl::CHexEscape(key), " is the store's own"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckBatch(const StoreBatch& batch) {
  for (const StoreOp& op : batch.ops) {
    KEYHOP_RETURN_IF_ERROR(CheckKey(op.key));
    if (op.value.has_value() && op.value->size() > Store::kMaxValueBytes) {
      return absl::InvalidArgumentError(absl::StrCat("value of ", op.value->size(), " bytes under ",
                                                     absl::CHexEscape(op.key), ": allowed are ",
                                                     Store::kMaxValueBytes));
    }
  }
  for (const StorePrecondition& p : batch.preconditions) KEYHOP_RETURN_IF_ERROR(CheckKey(p.key));
  return absl::OkStatus();
}

}  // namespace keyhop
