#include "kms/storage/memory_store.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

// std::map looks up by std::string_view, which is not Abseil's here.
std::string_view Std(absl::string_view s) { return {s.data(), s.size()}; }

}  // namespace

MemoryStore::MemoryStore(std::shared_ptr<MemoryDisk> disk) : disk_(std::move(disk)) {}

absl::Status MemoryStore::Commit(const StoreBatch& batch) {
  KEYHOP_RETURN_IF_ERROR(CheckBatch(batch));
  MutexLock lock(disk_->mu_);
  for (const StorePrecondition& p : batch.preconditions) {
    const auto it = disk_->data_.find(p.key);
    const bool holds =
        it == disk_->data_.end() ? !p.expected.has_value() : p.expected == it->second;
    if (!holds) {
      return absl::FailedPreconditionError(
          absl::StrCat("store key ", absl::CHexEscape(p.key), " does not hold what was expected"));
    }
  }
  for (const StoreOp& op : batch.ops) {
    if (op.value.has_value()) {
      disk_->data_.insert_or_assign(op.key, *op.value);
    } else {
      disk_->data_.erase(op.key);
    }
  }
  ++disk_->commit_number_;
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryStore::Get(absl::string_view key) const {
  MutexLock lock(disk_->mu_);
  const auto it = disk_->data_.find(Std(key));
  if (it == disk_->data_.end()) {
    return absl::NotFoundError(absl::StrCat("no store key ", absl::CHexEscape(key)));
  }
  return it->second;
}

absl::Status MemoryStore::Scan(absl::string_view prefix, const Visitor& visit) const {
  std::vector<std::pair<std::string, std::string>> found;
  {
    MutexLock lock(disk_->mu_);
    for (auto it = disk_->data_.lower_bound(Std(prefix));
         it != disk_->data_.end() && absl::StartsWith(it->first, prefix); ++it) {
      found.push_back(*it);
    }
  }
  for (const auto& [key, value] : found) KEYHOP_RETURN_IF_ERROR(visit(key, value));
  return absl::OkStatus();
}

uint64_t MemoryStore::commit_number() const {
  MutexLock lock(disk_->mu_);
  return disk_->commit_number_;
}

}  // namespace keyhop
