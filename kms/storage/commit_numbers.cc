#include "kms/storage/commit_numbers.h"

#include <rocksdb/write_batch.h>

#include "absl/strings/str_cat.h"

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

void AppendU64(std::string& out, uint64_t v) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(v >> shift));
}

uint64_t ReadU64(absl::string_view bytes) {
  uint64_t v = 0;
  for (size_t i = 0; i < 8; ++i) v = v << 8 | static_cast<uint8_t>(bytes[i]);
  return v;
}

}  // namespace

std::string CommitNumbers::Encode() const {
  std::string out;
  AppendU64(out, first);
  AppendU64(out, last);
  return out;
}

std::optional<CommitNumbers> CommitNumbers::Decode(absl::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  const CommitNumbers n = {ReadU64(bytes), ReadU64(bytes.substr(8))};
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
