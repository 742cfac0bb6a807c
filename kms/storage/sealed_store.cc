#include "kms/storage/sealed_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kms/base/byte_writer.h"
#include "kms/base/check.h"
#include "kms/base/status_macros.h"
#include "kms/crypto/aead.h"
#include "kms/storage/big_endian.h"

namespace keyhop {
namespace {

constexpr absl::string_view kValuePrefix = "v/";
constexpr absl::string_view kKeyPrefix = "k/";

// First byte of a value. kOpenOnly: the public part follows. kWithSecret: its length (8 bytes), the
// public part, the sealed secret.
constexpr char kOpenOnly = 1;
constexpr char kWithSecret = 2;

std::string ValueKey(absl::string_view key) { return absl::StrCat(kValuePrefix, key); }
std::string DataKeyKey(absl::string_view key) { return absl::StrCat(kKeyPrefix, key); }

absl::Status Damaged(absl::string_view key, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("stored record ", absl::CHexEscape(key), ": ", what));
}

// What a sealed secret and a wrapped data key are bound to.
ByteWriter SecretPlace(absl::string_view key, absl::string_view open) {
  ByteWriter w;
  w.Text("keyhop secret 1").Text(key).Text(open);
  return w;
}
ByteWriter DataKeyPlace(absl::string_view key, uint64_t store_key_number) {
  ByteWriter w;
  w.Text("keyhop data key 1").Text(key).U64(store_key_number);
  return w;
}

struct Value {
  bool has_secret = false;
  absl::string_view open;
  absl::string_view sealed;
};

absl::StatusOr<Value> ParseValue(absl::string_view key, absl::string_view bytes) {
  if (!bytes.empty() && bytes[0] == kOpenOnly) return Value{false, bytes.substr(1), {}};
  if (bytes.size() < 9 || bytes[0] != kWithSecret) return Damaged(key, "unknown format");
  const uint64_t open_bytes = ReadBigEndian64(bytes.substr(1));
  if (open_bytes > bytes.size() - 9) return Damaged(key, "cut short");
  return Value{true, bytes.substr(9, open_bytes), bytes.substr(9 + open_bytes)};
}

}  // namespace

SealedStore::SealedStore(SealedStoreOptions options, Store& store, FileOps& files,
                         EntropySource& entropy)
    : store_(store),
      entropy_(entropy),
      rewrap_batch_(std::max<size_t>(options.rewrap_batch, 1)),
      file_(std::move(options.key_path), std::move(options.kek), files, entropy) {}

absl::StatusOr<std::unique_ptr<SealedStore>> SealedStore::Open(SealedStoreOptions options,
                                                               Store& store, FileOps& files,
                                                               EntropySource& entropy) {
  std::unique_ptr<SealedStore> sealed(new SealedStore(std::move(options), store, files, entropy));
  KEYHOP_RETURN_IF_ERROR(sealed->OpenKeys());
  KEYHOP_RETURN_IF_ERROR(sealed->Rotate());
  return sealed;
}

absl::Status SealedStore::OpenKeys() {
  MutexLock rotating(rotating_);
  KEYHOP_ASSIGN_OR_RETURN(std::vector<StoreKey> keys, file_.Read());
  if (keys.empty()) {
    KEYHOP_ASSIGN_OR_RETURN(const bool has_secrets, HasSecrets());
    if (has_secrets) {
      return absl::DataLossError(
          "the store key file is missing, and the store has secrets that only it could open: "
          "put it back, or remove the store to start as an empty node");
    }
    keys.push_back({1, RandomKey()});
    KEYHOP_RETURN_IF_ERROR(file_.Replace({&keys[0]}));
  }
  MutexLock lock(mu_);
  keys_ = std::move(keys);
  return absl::OkStatus();
}

absl::StatusOr<bool> SealedStore::HasSecrets() const {
  bool found = false;
  const absl::Status s = store_.Scan(kKeyPrefix, [&](absl::string_view, absl::string_view) {
    found = true;
    return absl::CancelledError("one is enough");
  });
  if (!found) KEYHOP_RETURN_IF_ERROR(s);
  return found;
}

SecretBytes SealedStore::RandomKey() const {
  SecretBytes key(kAeadKeyBytes);
  entropy_.Fill(key.ExposeMutable(SecretAccess::ForStorage()));
  return key;
}

std::string SealedStore::Wrap(const std::string& key, const SecretBytes& data_key) const {
  const StoreKey& store_key = keys_.back();
  std::string wrapped;
  AppendBigEndian64(wrapped, store_key.number);
  wrapped +=
      AeadSeal(store_key.key, DataKeyPlace(key, store_key.number).bytes(), data_key, entropy_);
  return wrapped;
}

absl::StatusOr<std::optional<SecretBytes>> SealedStore::Unwrap(absl::string_view key,
                                                               absl::string_view wrapped) const {
  if (wrapped.size() < 8) return Damaged(key, "its data key is cut short");
  const uint64_t number = ReadBigEndian64(wrapped);
  for (const StoreKey& k : keys_) {
    if (k.number != number) continue;
    absl::StatusOr<SecretBytes> data_key =
        AeadOpen(k.key, DataKeyPlace(key, number).bytes(), wrapped.substr(8));
    if (!data_key.ok() || data_key->size() != kAeadKeyBytes) {
      return Damaged(key, "its data key is not authentic");
    }
    return std::optional<SecretBytes>(*std::move(data_key));
  }
  return std::optional<SecretBytes>();
}

absl::Status SealedStore::Commit(const std::vector<SealedOp>& ops) {
  // Of several changes of one record only the last one counts: no other is sealed.
  std::map<absl::string_view, const SealedOp*> last;
  for (const SealedOp& op : ops) {
    KEYHOP_CHECK(!op.erase || op.secret == nullptr, "a secret with an erased record");
    last[op.key] = &op;
  }
  StoreBatch batch;
  std::vector<std::pair<const std::string*, SecretBytes>> data_keys;
  for (const auto& [key, op] : last) {
    if (op->secret == nullptr) {
      batch.ops.push_back(
          {ValueKey(key),
           op->erase ? std::nullopt : std::optional(std::string(1, kOpenOnly) + op->open)});
      const absl::StatusOr<std::string> before = store_.Get(DataKeyKey(key));
      if (before.ok()) {
        batch.ops.push_back({DataKeyKey(key), std::nullopt});
      } else if (!absl::IsNotFound(before.status())) {
        return before.status();
      }
      continue;
    }
    SecretBytes data_key = RandomKey();
    std::string value(1, kWithSecret);
    AppendBigEndian64(value, op->open.size());
    value += op->open;
    value += AeadSeal(data_key, SecretPlace(key, op->open).bytes(), *op->secret, entropy_);
    batch.ops.push_back({ValueKey(key), std::move(value)});
    data_keys.emplace_back(&op->key, std::move(data_key));
  }
  uint64_t number;
  {
    MutexLock lock(mu_);
    number = keys_.back().number;
    for (const auto& [key, data_key] : data_keys) {
      batch.ops.push_back({DataKeyKey(*key), Wrap(*key, data_key)});
    }
    ++under_way_[number];
  }
  absl::Status committed = store_.Commit(batch);
  MutexLock lock(mu_);
  if (--under_way_[number] == 0) {
    under_way_.erase(number);
    commit_ended_.SignalAll();
  }
  return committed;
}

absl::StatusOr<SecretBytes> SealedStore::OpenSecret(absl::string_view key, absl::string_view open,
                                                    absl::string_view sealed) const {
  // A rotation may replace the wrapped key between reading and unwrapping it; so look again, at
  // most as often as rotations could pass meanwhile.
  for (int attempt = 0; attempt < 4; ++attempt) {
    const absl::StatusOr<std::string> wrapped = store_.Get(DataKeyKey(key));
    if (absl::IsNotFound(wrapped.status())) return Damaged(key, "its data key is missing");
    KEYHOP_RETURN_IF_ERROR(wrapped.status());
    std::optional<SecretBytes> data_key;
    {
      MutexLock lock(mu_);
      KEYHOP_ASSIGN_OR_RETURN(data_key, Unwrap(key, *wrapped));
    }
    if (!data_key.has_value()) continue;
    absl::StatusOr<SecretBytes> secret =
        AeadOpen(*data_key, SecretPlace(key, open).bytes(), sealed);
    if (!secret.ok()) return Damaged(key, "its secret is not authentic");
    return secret;
  }
  return Damaged(key, "its data key is under a store key that is gone");
}

absl::StatusOr<SealedStore::Record> SealedStore::OpenRecord(absl::string_view key,
                                                            absl::string_view bytes) const {
  KEYHOP_ASSIGN_OR_RETURN(const Value value, ParseValue(key, bytes));
  Record record;
  record.open = std::string(value.open);
  if (value.has_secret) {
    KEYHOP_ASSIGN_OR_RETURN(record.secret, OpenSecret(key, value.open, value.sealed));
    return record;
  }
  const absl::StatusOr<std::string> data_key = store_.Get(DataKeyKey(key));
  if (data_key.ok()) return Damaged(key, "its secret is missing, its data key is there");
  if (!absl::IsNotFound(data_key.status())) return data_key.status();
  return record;
}

absl::StatusOr<SealedStore::Record> SealedStore::Get(absl::string_view key) const {
  KEYHOP_ASSIGN_OR_RETURN(const std::string bytes, store_.Get(ValueKey(key)));
  return OpenRecord(key, bytes);
}

absl::Status SealedStore::ScanAll(absl::string_view prefix, const Visitor& visit) const {
  size_t secrets = 0;
  KEYHOP_RETURN_IF_ERROR(store_.Scan(
      ValueKey(prefix), [&](absl::string_view stored_key, absl::string_view bytes) -> absl::Status {
        const absl::string_view key = stored_key.substr(kValuePrefix.size());
        KEYHOP_ASSIGN_OR_RETURN(Record record, OpenRecord(key, bytes));
        if (record.secret.has_value()) ++secrets;
        return visit(key, record.open, std::move(record.secret));
      }));
  // Every secret had its data key; so unequal numbers mean a data key without its secret.
  size_t data_keys = 0;
  KEYHOP_RETURN_IF_ERROR(store_.Scan(DataKeyKey(prefix), [&](absl::string_view, absl::string_view) {
    ++data_keys;
    return absl::OkStatus();
  }));
  if (data_keys == secrets) return absl::OkStatus();
  return store_.Scan(DataKeyKey(prefix),
                     [&](absl::string_view stored_key, absl::string_view) -> absl::Status {
                       const absl::string_view key = stored_key.substr(kKeyPrefix.size());
                       const absl::StatusOr<std::string> value = store_.Get(ValueKey(key));
                       if (value.ok() && (*value)[0] == kWithSecret) return absl::OkStatus();
                       return Damaged(key, "its secret is missing, its data key is there");
                     });
}

}  // namespace keyhop
