#include "kms/storage/commit_numbers.h"

#include <rocksdb/write_batch.h>

#include "absl/strings/str_cat.h"
#include "kms/storage/big_endian.h"

namespace keyhop {
namespace {

class FindNumbers final : public rocksdb::WriteBatch::Handler {
 public:
  rocksdb::Status PutCF(uint32_t, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    if (absl::string_view(key.data(), key.size()) == kCommitNumbersKey) {
      numbers = CommitNumbers::Decode({value.data(), value.size()});
    }
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(uint32_t, const rocksdb::Slice&) override {
    return rocksdb::Status::OK();
  }

  std::optional<CommitNumbers> numbers;
};

}  // namespace

std::string CommitNumbers::Encode() const {
  std::string out;
  AppendBigEndian64(out, first);
  AppendBigEndian64(out, last);
  return out;
}

std::optional<CommitNumbers> CommitNumbers::Decode(absl::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  const CommitNumbers n = {ReadBigEndian64(bytes), ReadBigEndian64(bytes.substr(8))};
  if (n.first > n.last) return std::nullopt;
  return n;
}

rocksdb::WalFilter::WalProcessingOption CommitNumberCheck::LogRecordFound(
    unsigned long long, const std::string& log_file, const rocksdb::WriteBatch& batch,
    rocksdb::WriteBatch*, bool*) {
  FindNumbers find;
  const rocksdb::Status read = batch.Iterate(&find);
  if (!read.ok() || !find.numbers.has_value()) {
    gap_ = absl::StrCat("a write in ", log_file, " has no commit numbers");
    return WalProcessingOption::kCorruptedRecord;
  }
  if (last_.has_value() && find.numbers->first != *last_ + 1) {
    gap_ =
        absl::StrCat("commit ", *last_, " is followed by ", find.numbers->first, " in ", log_file);
    return WalProcessingOption::kCorruptedRecord;
  }
  last_ = find.numbers->last;
  return WalProcessingOption::kContinueProcessing;
}

}  // namespace keyhop
