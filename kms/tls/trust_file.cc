#include "kms/tls/trust_file.h"

#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/tls/x509_read.h"

namespace keyhop {

TrustFile::TrustFile(std::string path, FileStamp seen, TrustStore store)
    : path_(std::move(path)),
      seen_(seen),
      store_(std::make_shared<const TrustStore>(std::move(store))) {}

absl::StatusOr<TrustStore> TrustFile::Read(const std::string& path) {
  KEYHOP_ASSIGN_OR_RETURN(const std::string text, tls::ReadFile(path, "a trust store"));
  absl::StatusOr<TrustStore> store = TrustStore::Create(text);
  if (!store.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", store.status().message()));
  }
  return store;
}

absl::StatusOr<std::shared_ptr<TrustFile>> TrustFile::Open(const std::string& path) {
  const FileStamp seen = FileStamp::Of(path);  // First: a change meanwhile is seen as one later.
  KEYHOP_ASSIGN_OR_RETURN(TrustStore store, Read(path));
  return std::shared_ptr<TrustFile>(new TrustFile(path, seen, std::move(store)));
}

std::shared_ptr<const TrustStore> TrustFile::Current() {
  MutexLock lock(mu_);
  const FileStamp seen = FileStamp::Of(path_);
  if (seen != seen_) {
    absl::StatusOr<TrustStore> store = Read(path_);
    if (store.ok()) {
      store_ = std::make_shared<const TrustStore>(*std::move(store));
      seen_ = seen;
    }
  }
  return store_;
}

absl::Status TrustFile::VerifyClient(absl::string_view leaf_pem, absl::string_view others_pem) {
  const absl::Status vouched = Current()->VerifyPem(leaf_pem, others_pem, std::time(nullptr),
                                                    TrustStore::Purpose::kTlsClient);
  if (vouched.ok()) return vouched;
  return absl::UnauthenticatedError(
      absl::StrCat(vouched.message(), ": expected one that ", path_, " vouches for"));
}

}  // namespace keyhop
