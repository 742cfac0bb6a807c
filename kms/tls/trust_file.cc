#include "kms/tls/trust_file.h"

#include <sys/stat.h>

#include <ctime>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {

TrustFile::TrustFile(std::string path, Seen seen, TrustStore store)
    : path_(std::move(path)),
      seen_(seen),
      store_(std::make_shared<const TrustStore>(std::move(store))) {}

TrustFile::Seen TrustFile::Look(const std::string& path) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0) return {};
  return {.inode = static_cast<int64_t>(found.st_ino),
          .size = found.st_size,
          .changed_ns = found.st_mtim.tv_sec * 1'000'000'000 + found.st_mtim.tv_nsec};
}

absl::StatusOr<TrustStore> TrustFile::Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    return absl::NotFoundError(absl::StrCat(path, ": expected a trust store: cannot be read"));
  }
  absl::StatusOr<TrustStore> store = TrustStore::Create(text.str());
  if (!store.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", store.status().message()));
  }
  return store;
}

absl::StatusOr<std::shared_ptr<TrustFile>> TrustFile::Open(const std::string& path) {
  const Seen seen = Look(path);  // First: a change meanwhile is seen as one later.
  KEYHOP_ASSIGN_OR_RETURN(TrustStore store, Read(path));
  return std::shared_ptr<TrustFile>(new TrustFile(path, seen, std::move(store)));
}

std::shared_ptr<const TrustStore> TrustFile::Current() {
  MutexLock lock(mu_);
  const Seen seen = Look(path_);
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
