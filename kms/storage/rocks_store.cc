#include "kms/storage/rocks_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"
#include "kms/storage/commit_numbers.h"
#include "kms/storage/file_ops.h"
#include "kms/storage/store_lock.h"

namespace keyhop {
namespace {

// Limits of one synced write that several commits share.
constexpr size_t kGroupCommitsMax = 256;
constexpr size_t kGroupBytesMax = size_t{8} << 20;

// Says that a store was made here: a store that lost its files is not taken for a new one.
constexpr char kMarkerName[] = "/KEYHOP_STORE";
constexpr char kMarkerText[] = "keyhop store, format 1\n";

rocksdb::Slice ToSlice(absl::string_view s) { return {s.data(), s.size()}; }
absl::string_view FromSlice(const rocksdb::Slice& s) { return {s.data(), s.size()}; }

// Texts of RocksDB name files and checksums, never contents.
absl::Status ToStatus(const rocksdb::Status& s, absl::string_view doing) {
  if (s.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat(doing, ": ", s.ToString());
  return s.IsCorruption() ? absl::DataLossError(text) : absl::InternalError(text);
}

rocksdb::Options MakeOptions(const RocksStoreOptions& options, CommitNumberCheck* check) {
  rocksdb::Options o;
  o.create_if_missing = true;
  // The default drops synced records behind a bad one.
  o.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  o.track_and_verify_wals_in_manifest = true;
  o.wal_filter = check;
  o.paranoid_checks = true;
  // A failed write ends the process; it must not be healed behind its back.
  o.max_bgerror_resume_count = 0;
  o.write_buffer_size = options.write_buffer_bytes;
  o.max_write_buffer_number = 2;
  o.max_total_wal_size = 4 * options.write_buffer_bytes;
  o.target_file_size_base = 2 * options.write_buffer_bytes;
  o.max_background_jobs = 2;
  o.max_open_files = 256;
  o.compression = rocksdb::kNoCompression;  // Sealed values do not compress.
  o.keep_log_file_num = 2;
  o.max_log_file_size = size_t{1} << 20;
  o.info_log_level = rocksdb::WARN_LEVEL;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  table.cache_index_and_filter_blocks = true;
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

bool IsLocked(const rocksdb::Status& s) {
  const std::string text = s.ToString();
  return s.IsIOError() &&
         (absl::StrContains(text, "lock file") || absl::StrContains(text, "lock hold"));
}

// The lock goes with its process, of which this one hears nothing: asking again is all there is.
absl::StatusOr<std::unique_ptr<rocksdb::DB>> OpenLocked(const RocksStoreOptions& options,
                                                        CommitNumberCheck& check) {
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    check.Reset();
    rocksdb::DB* db = nullptr;
    const rocksdb::Status s = rocksdb::DB::Open(MakeOptions(options, &check), options.path, &db);
    if (s.ok()) return std::unique_ptr<rocksdb::DB>(db);
    if (!check.gap().empty()) {
      return absl::DataLossError(absl::StrCat("store ", options.path, ": ", check.gap()));
    }
    if (!IsLocked(s)) return ToStatus(s, absl::StrCat("cannot open the store ", options.path));
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited >= std::chrono::nanoseconds(options.lock_wait.ns)) {
      return absl::UnavailableError(absl::StrCat("store ", options.path, " is held by ",
                                                 DescribeLockHolder(options.path + "/LOCK"),
                                                 "; waited ", options.lock_wait.millis(), " ms"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // NOLINT(keyhop): see above
  }
}

class RocksStoreImpl final : public RocksStore {
 public:
  RocksStoreImpl(std::unique_ptr<CommitNumberCheck> check, std::unique_ptr<rocksdb::DB> db,
                 uint64_t commit_number)
      : check_(std::move(check)), db_(std::move(db)), commit_number_(commit_number) {}

  absl::Status Commit(const StoreBatch& batch) override {
    KEYHOP_RETURN_IF_ERROR(CheckBatch(batch));
    Waiter self = {&batch};
    MutexLock lock(mu_);
    queue_.push_back(&self);
    while (!self.done && queue_.front() != &self) changed_.Wait(mu_);
    if (self.done) return self.outcome;
    // This thread is at the head: it writes for those that wait behind it.
    const std::vector<Waiter*> group = TakeGroup();
    if (failed_.ok()) {
      const uint64_t before = commit_number_;
      mu_.unlock();
      uint64_t after = before;
      const absl::Status written = WriteGroup(group, after);
      mu_.lock();
      commit_number_ = after;
      failed_ = written;
    }
    for (Waiter* w : group) {
      if (!failed_.ok()) w->outcome = failed_;
      w->done = true;
    }
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(group.size()));
    changed_.SignalAll();
    return self.outcome;
  }

  absl::StatusOr<std::string> Get(absl::string_view key) const override {
    std::string value;
    const rocksdb::Status s = db_->Get(rocksdb::ReadOptions(), ToSlice(key), &value);
    if (s.IsNotFound()) {
      return absl::NotFoundError(absl::StrCat("no store key ", absl::CHexEscape(key)));
    }
    KEYHOP_RETURN_IF_ERROR(ToStatus(s, "cannot read the store"));
    return value;
  }

  absl::Status Scan(absl::string_view prefix, const Visitor& visit) const override {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options));
    for (it->Seek(ToSlice(prefix)); it->Valid() && it->key().starts_with(ToSlice(prefix));
         it->Next()) {
      if (it->key()[0] == '\0') continue;  // The store's own.
      KEYHOP_RETURN_IF_ERROR(visit(FromSlice(it->key()), FromSlice(it->value())));
    }
    return ToStatus(it->status(), "cannot scan the store");
  }

  uint64_t commit_number() const override {
    MutexLock lock(mu_);
    return commit_number_;
  }

 private:
  struct Waiter {
    const StoreBatch* batch;
    bool done = false;
    absl::Status outcome = absl::OkStatus();
  };
  using Overlay = std::map<absl::string_view, const std::optional<std::string>*>;

  std::vector<Waiter*> TakeGroup() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<Waiter*> group;
    size_t bytes = 0;
    for (Waiter* w : queue_) {
      for (const StoreOp& op : w->batch->ops) {
        bytes += op.key.size() + (op.value.has_value() ? op.value->size() : 0);
      }
      if (!group.empty() && (bytes > kGroupBytesMax || group.size() == kGroupCommitsMax)) break;
      group.push_back(w);
    }
    return group;
  }

  // FAILED_PRECONDITION or OK in `outcome`; an error of the database is returned.
  absl::Status CheckPreconditions(const Waiter& w, const Overlay& overlay, absl::Status& outcome) {
    for (const StorePrecondition& p : w.batch->preconditions) {
      std::optional<std::string> found;
      if (const auto it = overlay.find(p.key); it != overlay.end()) {
        found = *it->second;
      } else {
        std::string value;
        const rocksdb::Status s = db_->Get(rocksdb::ReadOptions(), ToSlice(p.key), &value);
        if (!s.IsNotFound()) KEYHOP_RETURN_IF_ERROR(ToStatus(s, "cannot read the store"));
        if (s.ok()) found = std::move(value);
      }
      if (found != p.expected) {
        outcome = absl::FailedPreconditionError(absl::StrCat("store key ", absl::CHexEscape(p.key),
                                                             " does not hold what was expected"));
        return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }

  // Only the thread at the head of the queue is here. `number` grows by one for each commit.
  absl::Status WriteGroup(const std::vector<Waiter*>& group, uint64_t& number) {
    rocksdb::WriteBatch write;
    Overlay overlay;
    const uint64_t before = number;
    for (Waiter* w : group) {
      KEYHOP_RETURN_IF_ERROR(CheckPreconditions(*w, overlay, w->outcome));
      if (!w->outcome.ok()) continue;
      ++number;
      for (const StoreOp& op : w->batch->ops) {
        overlay[op.key] = &op.value;
        KEYHOP_RETURN_IF_ERROR(ToStatus(op.value.has_value()
                                            ? write.Put(ToSlice(op.key), ToSlice(*op.value))
                                            : write.Delete(ToSlice(op.key)),
                                        "cannot collect a write"));
      }
    }
    if (number == before) return absl::OkStatus();
    const std::string numbers = CommitNumbers{before + 1, number}.Encode();
    KEYHOP_RETURN_IF_ERROR(
        ToStatus(write.Put(ToSlice(kCommitNumbersKey), numbers), "cannot collect a write"));
    rocksdb::WriteOptions options;
    options.sync = true;
    return ToStatus(db_->Write(options, &write), "cannot write to the store");
  }

  // RocksDB keeps a pointer to it as long as it is open.
  const std::unique_ptr<CommitNumberCheck> check_;
  const std::unique_ptr<rocksdb::DB> db_;
  mutable Mutex mu_;
  CondVar changed_;
  std::deque<Waiter*> queue_ ABSL_GUARDED_BY(mu_);
  uint64_t commit_number_ ABSL_GUARDED_BY(mu_);
  absl::Status failed_ ABSL_GUARDED_BY(mu_);
};

// Numbers of the last write; makes them in a new store.
absl::StatusOr<CommitNumbers> ReadNumbers(rocksdb::DB& db, bool was_made, const std::string& path) {
  std::string value;
  rocksdb::Status s = db.Get(rocksdb::ReadOptions(), ToSlice(kCommitNumbersKey), &value);
  if (s.IsNotFound() && !was_made) {
    value = CommitNumbers{}.Encode();
    rocksdb::WriteOptions options;
    options.sync = true;
    s = db.Put(options, ToSlice(kCommitNumbersKey), value);
  }
  if (!s.IsNotFound()) {
    KEYHOP_RETURN_IF_ERROR(ToStatus(s, absl::StrCat("cannot read the store ", path)));
  }
  const std::optional<CommitNumbers> numbers = CommitNumbers::Decode(value);
  if (!numbers.has_value()) {
    return absl::DataLossError(
        absl::StrCat("store ", path, " was made before and has lost its commit number"));
  }
  return *numbers;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RocksStore>> RocksStore::Open(const RocksStoreOptions& options) {
  DiskFileOps files;
  KEYHOP_RETURN_IF_ERROR(files.MakeFolder(options.path));
  const std::string marker = options.path + kMarkerName;
  KEYHOP_ASSIGN_OR_RETURN(const std::optional<std::string> mark, files.Read(marker));
  if (mark.has_value() && *mark != kMarkerText) {
    return absl::DataLossError(
        absl::StrCat(marker, " is not of this version: expected \"keyhop store, format 1\""));
  }
  KEYHOP_ASSIGN_OR_RETURN(const std::optional<std::string> current,
                          files.Read(options.path + "/CURRENT"));
  if (mark.has_value() && !current.has_value()) {
    return absl::DataLossError(
        absl::StrCat("store ", options.path, " was made before and has lost its file CURRENT"));
  }
  auto check = std::make_unique<CommitNumberCheck>();
  KEYHOP_ASSIGN_OR_RETURN(std::unique_ptr<rocksdb::DB> db, OpenLocked(options, *check));
  KEYHOP_ASSIGN_OR_RETURN(const CommitNumbers numbers,
                          ReadNumbers(*db, mark.has_value(), options.path));
  if (check->last().has_value() && *check->last() > numbers.last) {
    return absl::DataLossError(absl::StrCat("store ", options.path, " is at commit ", numbers.last,
                                            ", its log at ", *check->last()));
  }
  if (!mark.has_value()) {
    KEYHOP_RETURN_IF_ERROR(files.WriteSynced(marker, kMarkerText));
    KEYHOP_RETURN_IF_ERROR(files.Sync(marker));
  }
  return std::make_unique<RocksStoreImpl>(std::move(check), std::move(db), numbers.last);
}

}  // namespace keyhop
