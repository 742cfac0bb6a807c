#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/storage/big_endian.h"
#include "kms/storage/sealed_store.h"

namespace keyhop {
namespace {

constexpr absl::string_view kKeyPrefix = "k/";

// One pass finds all that was written before the new key was in force; a second one shows that
// nothing is left. More means that somebody goes on with the old key.
constexpr int kPassesMax = 4;

}  // namespace

absl::Status SealedStore::Rotate() {
  MutexLock rotating(rotating_);
  bool broken_off;
  {
    MutexLock lock(mu_);
    broken_off = keys_.size() > 1;
  }
  if (broken_off) KEYHOP_RETURN_IF_ERROR(FinishRotation());
  KEYHOP_RETURN_IF_ERROR(BeginRotation());
  return FinishRotation();
}

uint64_t SealedStore::store_key_number() const {
  MutexLock lock(mu_);
  return keys_.back().number;
}

absl::Status SealedStore::BeginRotation() {
  StoreKey next = {0, RandomKey()};
  std::vector<StoreKey> both(1);
  {
    MutexLock lock(mu_);
    both[0] = {keys_.back().number, keys_.back().key.Duplicate(SecretAccess::ForStorage())};
  }
  next.number = both[0].number + 1;
  both.push_back(std::move(next));
  // The new key is durable before anything is wrapped with it.
  KEYHOP_RETURN_IF_ERROR(file_.Replace({&both[0], &both[1]}));
  MutexLock lock(mu_);
  keys_ = std::move(both);
  return absl::OkStatus();
}

absl::Status SealedStore::FinishRotation() {
  StoreKey current;
  {
    MutexLock lock(mu_);
    current = {keys_.back().number, keys_.back().key.Duplicate(SecretAccess::ForStorage())};
    // What is wrapped with an old key and on its way must be there before the pass.
    while (!under_way_.empty() && under_way_.begin()->first < current.number) {
      commit_ended_.Wait(mu_);
    }
  }
  size_t found = 1;
  for (int pass = 0; found > 0; ++pass) {
    if (pass == kPassesMax) {
      return absl::InternalError("data keys under an old store key keep appearing");
    }
    KEYHOP_ASSIGN_OR_RETURN(found, RewrapPass());
  }
  KEYHOP_RETURN_IF_ERROR(file_.Replace({&current}));
  MutexLock lock(mu_);
  keys_.erase(keys_.begin(), keys_.end() - 1);
  return absl::OkStatus();
}

absl::StatusOr<size_t> SealedStore::RewrapPass() {
  size_t found = 0;
  StoreBatch batch;
  const auto flush = [&]() -> absl::Status {
    return batch.ops.empty() ? absl::OkStatus() : CommitRewrapped(std::exchange(batch, {}));
  };
  KEYHOP_RETURN_IF_ERROR(store_.Scan(
      kKeyPrefix, [&](absl::string_view stored_key, absl::string_view wrapped) -> absl::Status {
        const std::string key(stored_key.substr(kKeyPrefix.size()));
        std::string wrapped_anew;
        {
          MutexLock lock(mu_);
          if (wrapped.size() >= 8 && ReadBigEndian64(wrapped) == keys_.back().number) {
            return absl::OkStatus();
          }
          KEYHOP_ASSIGN_OR_RETURN(const std::optional<SecretBytes> data_key, Unwrap(key, wrapped));
          if (!data_key.has_value()) {
            return absl::DataLossError(
                absl::StrCat("stored record ", absl::CHexEscape(key),
                             ": its data key is under a store key that is gone"));
          }
          wrapped_anew = Wrap(key, *data_key);
        }
        ++found;
        batch.ops.push_back({std::string(stored_key), std::move(wrapped_anew)});
        batch.preconditions.push_back({std::string(stored_key), std::string(wrapped)});
        return batch.ops.size() < rewrap_batch_ ? absl::OkStatus() : flush();
      }));
  KEYHOP_RETURN_IF_ERROR(flush());
  return found;
}

// A record that was changed since it was scanned is wrapped with the new key by that change, or
// gone; the others go one by one then.
absl::Status SealedStore::CommitRewrapped(StoreBatch batch) {
  absl::Status s = store_.Commit(batch);
  if (!absl::IsFailedPrecondition(s)) return s;
  for (size_t i = 0; i < batch.ops.size(); ++i) {
    s = store_.Commit({.ops = {batch.ops[i]}, .preconditions = {batch.preconditions[i]}});
    if (!s.ok() && !absl::IsFailedPrecondition(s)) return s;
  }
  return absl::OkStatus();
}

}  // namespace keyhop
