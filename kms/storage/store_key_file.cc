#include "kms/storage/store_key_file.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kms/base/check.h"
#include "kms/base/status_macros.h"
#include "kms/crypto/aead.h"
#include "kms/storage/big_endian.h"

namespace keyhop {
namespace {

// Layout: magic, generation (8 bytes), sealed body. The body is key number (8 bytes) and key (32
// bytes), once or twice. What stands before the body is bound to it.
constexpr absl::string_view kMagic = "keyhop store key 1\n";
constexpr size_t kHeadBytes = kMagic.size() + 8;
constexpr size_t kEntryBytes = 8 + kAeadKeyBytes;

}  // namespace

StoreKeyFile::StoreKeyFile(std::string path, SecretBytes kek, FileOps& files,
                           EntropySource& entropy)
    : path_(std::move(path)), kek_(std::move(kek)), files_(files), entropy_(entropy) {
  KEYHOP_CHECK(kek_.size() == kAeadKeyBytes, "a key-encryption key has 32 bytes");
}

absl::StatusOr<StoreKeyFile::Version> StoreKeyFile::Open(const std::string& contents) const {
  const absl::string_view all = contents;
  if (!absl::StartsWith(all, kMagic) || all.size() < kHeadBytes) {
    return absl::DataLossError("not a store key file");
  }
  KEYHOP_ASSIGN_OR_RETURN(const SecretBytes body,
                          AeadOpen(kek_, all.substr(0, kHeadBytes), all.substr(kHeadBytes)));
  const size_t count = body.size() / kEntryBytes;
  if (body.size() % kEntryBytes != 0 || count < 1 || count > 2) {
    return absl::DataLossError("store key file of an impossible size");
  }
  Version version;
  version.generation = ReadBigEndian64(all.substr(kMagic.size()));
  for (size_t i = 0; i < count; ++i) {
    const std::span<const uint8_t> number =
        body.Expose(SecretAccess::ForStorage()).subspan(i * kEntryBytes, 8);
    version.keys.push_back(
        {ReadBigEndian64({reinterpret_cast<const char*>(number.data()), number.size()}),
         body.Slice(i * kEntryBytes + 8, kAeadKeyBytes)});
  }
  return version;
}

absl::StatusOr<std::vector<StoreKey>> StoreKeyFile::Read() {
  std::optional<Version> best;
  bool damaged = false;
  for (const int place : {0, 1}) {
    KEYHOP_ASSIGN_OR_RETURN(const std::optional<std::string> contents, files_.Read(Place(place)));
    if (!contents.has_value()) continue;
    absl::StatusOr<Version> version = Open(*contents);
    damaged = damaged || !version.ok();
    if (version.ok() && (!best.has_value() || version->generation > best->generation)) {
      best = *std::move(version);
      place_ = place;
    }
  }
  if (!best.has_value()) {
    if (!damaged) return std::vector<StoreKey>();
    return absl::DataLossError(
        absl::StrCat("the store key in ", Place(0), " or ", Place(1),
                     " cannot be opened: it is damaged, or the key-encryption key is another one"));
  }
  generation_ = best->generation;
  // What was written last may not have been synced when the process ended.
  KEYHOP_RETURN_IF_ERROR(files_.Sync(Place(*place_)));
  KEYHOP_RETURN_IF_ERROR(Destroy(Place(1 - *place_)));
  return std::move(best->keys);
}

absl::Status StoreKeyFile::Replace(const std::vector<const StoreKey*>& keys) {
  KEYHOP_CHECK(keys.size() == 1 || keys.size() == 2, "one store key, or two in a change");
  SecretBytes body(keys.size() * kEntryBytes);
  std::span<uint8_t> out = body.ExposeMutable(SecretAccess::ForStorage());
  for (const StoreKey* k : keys) {
    KEYHOP_CHECK(k->key.size() == kAeadKeyBytes, "a store key has 32 bytes");
    std::string number;
    AppendBigEndian64(number, k->number);
    std::copy(number.begin(), number.end(), out.begin());
    const std::span<const uint8_t> key = k->key.Expose(SecretAccess::ForStorage());
    std::copy(key.begin(), key.end(), out.begin() + 8);
    out = out.subspan(kEntryBytes);
  }
  std::string contents(kMagic);
  AppendBigEndian64(contents, ++generation_);
  contents += AeadSeal(kek_, contents, body, entropy_);
  const int place = place_.has_value() ? 1 - *place_ : 0;
  // Free, unless an error left an older version there.
  KEYHOP_RETURN_IF_ERROR(files_.Overwrite(Place(place)));
  KEYHOP_RETURN_IF_ERROR(files_.WriteSynced(Place(place), contents));
  KEYHOP_RETURN_IF_ERROR(files_.Sync(Place(place)));
  const std::optional<int> before = std::exchange(place_, place);
  return before.has_value() ? Destroy(Place(*before)) : absl::OkStatus();
}

absl::Status StoreKeyFile::Destroy(const std::string& place) {
  KEYHOP_RETURN_IF_ERROR(files_.Overwrite(place));
  KEYHOP_RETURN_IF_ERROR(files_.Unlink(place));
  return files_.Sync(place);
}

}  // namespace keyhop
