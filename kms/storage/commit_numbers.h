#ifndef KEYHOP_KMS_STORAGE_COMMIT_NUMBERS_H_
#define KEYHOP_KMS_STORAGE_COMMIT_NUMBERS_H_

#include <rocksdb/wal_filter.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace keyhop {

// The numbers of the commits in one synced write: [first, last]. {0, 0} stands for the making of
// the store.
struct CommitNumbers {
  uint64_t first = 0;
  uint64_t last = 0;

  std::string Encode() const;
  static std::optional<CommitNumbers> Decode(absl::string_view bytes);
};

// The key that each write puts its numbers under.
inline constexpr absl::string_view kCommitNumbersKey = absl::string_view("\0commit", 7);

// Watches the replay of the write-ahead log: each write must carry the numbers that follow those of
// the write before. RocksDB itself notices damaged records, not missing ones.
class CommitNumberCheck final : public rocksdb::WalFilter {
 public:
  WalProcessingOption LogRecordFound(unsigned long long log_number, const std::string& log_file,
                                     const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch* new_batch, bool* batch_changed) override;
  const char* Name() const override { return "keyhop.CommitNumberCheck"; }

  // Before another attempt at opening.
  void Reset() {
    last_.reset();
    gap_.clear();
  }
  // What is missing, in words; empty if nothing.
  const std::string& gap() const { return gap_; }
  std::optional<uint64_t> last() const { return last_; }

 private:
  std::optional<uint64_t> last_;
  std::string gap_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_COMMIT_NUMBERS_H_
