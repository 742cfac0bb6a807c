#include "kms/tls/psk_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/crypto/os_entropy.h"
#include "kms/crypto/sha256.h"
#include "kms/storage/secret_file.h"

namespace keyhop {
namespace {

constexpr size_t kDecoyBytes = 48;

int HexDigit(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::span<const uint8_t> BytesOf(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// All ones if they are equal, else zero.
size_t MaskOfEqual(const std::array<uint8_t, 32>& a, const std::array<uint8_t, 32>& b) {
  return size_t{0} - static_cast<size_t>(EqualConstantTime(a, b));
}

}  // namespace

absl::Status PskTable::AddLine(std::span<const uint8_t> line, const std::string& where) {
  const auto wrong = [&where](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
  };
  const auto colon = std::find(line.rbegin(), line.rend(), ':');
  if (colon == line.rend()) return wrong("expected IDENTITY:HEX");
  const size_t at = line.size() - 1 - static_cast<size_t>(colon - line.rbegin());
  const std::span<const uint8_t> digits = line.subspan(at + 1);
  if (at == 0 || at > kPskIdentityBytesMax) {
    return wrong(absl::StrCat("expected an identity of 1 to ", kPskIdentityBytesMax,
                              " bytes before the colon"));
  }
  Entry entry;
  entry.identity.assign(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(at));
  if (entry.identity.find('\0') != std::string::npos) {
    return wrong("expected an identity without a NUL byte");
  }
  if (digits.size() % 2 != 0 || digits.size() / 2 < kPskBytesMin ||
      digits.size() / 2 > kPskBytesMax) {
    return wrong(absl::StrCat("expected a key of ", kPskBytesMin, " to ", kPskBytesMax,
                              " bytes as ", 2 * kPskBytesMin, " to ", 2 * kPskBytesMax,
                              " hex digits behind the last colon; found ", digits.size(),
                              " characters"));
  }
  entry.key = SecretBytes(digits.size() / 2);
  const std::span<uint8_t> key = entry.key.ExposeMutable(SecretAccess::ForCrypto());
  for (size_t i = 0; i < key.size(); ++i) {
    const int high = HexDigit(digits[2 * i]);
    const int low = HexDigit(digits[2 * i + 1]);
    if (high < 0 || low < 0) return wrong("expected hex digits behind the last colon");
    key[i] = static_cast<uint8_t>(high * 16 + low);
  }
  digests_.push_back(Sha256(BytesOf(entry.identity)));
  entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::StatusOr<PskTable> PskTable::Parse(std::span<const uint8_t> text, const std::string& name) {
  PskTable table;
  std::set<std::string> seen;
  for (size_t number = 1; !text.empty(); ++number) {
    const auto newline = std::find(text.begin(), text.end(), '\n');
    const size_t size = static_cast<size_t>(newline - text.begin());
    std::span<const uint8_t> line = text.first(size);
    text = text.subspan(std::min(text.size(), size + 1));
    if (!line.empty() && line.back() == '\r') line = line.first(line.size() - 1);
    if (line.empty() || line[0] == '#') continue;
    const std::string where = absl::StrCat(name, ":", number);
    KEYHOP_RETURN_IF_ERROR(table.AddLine(line, where));
    if (!seen.insert(table.entries_.back().identity).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": expected an identity that no line above has"));
    }
  }
  return table;
}

const PskTable::Entry* PskTable::Find(absl::string_view identity) const {
  const Digest wanted = Sha256(BytesOf(identity));
  size_t found = 0;  // One above its index.
  for (size_t i = 0; i < digests_.size(); ++i) found |= (i + 1) & MaskOfEqual(digests_[i], wanted);
  return found == 0 ? nullptr : &entries_[found - 1];
}

void PskTable::Number(const PskTable& before, uint64_t& next) {
  std::map<absl::string_view, const Entry*> known;
  for (const Entry& entry : before.entries_) known.emplace(entry.identity, &entry);
  for (Entry& entry : entries_) {
    const auto old = known.find(entry.identity);
    const bool same = old != known.end() && old->second->key.EqualsConstantTime(entry.key);
    entry.serial = same ? old->second->serial : next++;
  }
}

PskFile::PskFile(std::string path, size_t bytes_max, Problem on_problem)
    : path_(std::move(path)),
      bytes_max_(bytes_max),
      on_problem_(std::move(on_problem)),
      decoy_(kDecoyBytes) {
  OsEntropy().Fill(decoy_.ExposeMutable(SecretAccess::ForCrypto()));
}

absl::StatusOr<PskTable> PskFile::Read() const {
  KEYHOP_RETURN_IF_ERROR(CheckSecretFile(path_));
  const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::NotFoundError(
        absl::StrCat(path_, ": expected pre-shared keys, lines of IDENTITY:HEX: cannot be read"));
  }
  SecretBytes text(bytes_max_ + 1);  // One byte that tells of a longer file.
  const std::span<uint8_t> bytes = text.ExposeMutable(SecretAccess::ForCrypto());
  size_t have = 0;
  ssize_t got = 1;
  while (have < bytes.size() && got != 0) {
    got = read(fd, bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno != EINTR) break;
    if (got > 0) have += static_cast<size_t>(got);
  }
  close(fd);
  if (got < 0) return absl::NotFoundError(absl::StrCat(path_, ": cannot be read"));
  if (have > bytes_max_) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": expected at most ", bytes_max_, " bytes"));
  }
  return PskTable::Parse(bytes.first(have), path_);
}

absl::StatusOr<std::shared_ptr<PskFile>> PskFile::Open(const std::string& path, size_t bytes_max,
                                                       Problem on_problem) {
  auto file = std::shared_ptr<PskFile>(new PskFile(path, bytes_max, std::move(on_problem)));
  const FileStamp seen = FileStamp::Of(path);  // First: a change meanwhile is seen as one later.
  KEYHOP_ASSIGN_OR_RETURN(PskTable table, file->Read());
  MutexLock lock(file->mu_);
  table.Number(PskTable(), file->next_serial_);
  file->seen_ = seen;
  file->table_ = std::make_shared<const PskTable>(std::move(table));
  return file;
}

std::shared_ptr<const PskTable> PskFile::Current() {
  MutexLock lock(mu_);
  const FileStamp seen = FileStamp::Of(path_);
  if (seen != seen_) {
    absl::StatusOr<PskTable> table = Read();
    if (table.ok()) {
      table->Number(*table_, next_serial_);
      table_ = std::make_shared<const PskTable>(*std::move(table));
      seen_ = seen;
    } else if (seen != told_) {
      told_ = seen;
      if (on_problem_) {
        on_problem_(absl::StrCat("the keys read before stay in use: ", table.status().message()));
      }
    }
  }
  return table_;
}

bool PskFile::Holds(const std::string& identity, uint64_t serial) {
  const std::shared_ptr<const PskTable> table = Current();
  const PskTable::Entry* entry = table->Find(identity);
  return entry != nullptr && entry->serial == serial;
}

}  // namespace keyhop
