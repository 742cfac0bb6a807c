#ifndef KEYHOP_KMS_TLS_TRUST_FILE_H_
#define KEYHOP_KMS_TLS_TRUST_FILE_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/base/mutex.h"
#include "kms/crypto/trust_store.h"
#include "kms/tls/file_stamp.h"

namespace keyhop {

// A trust store (PEM: certificates of CAs, and their revocation lists) that is read again when its
// file changes; one that cannot be read then leaves the last good one in use. Thread-safe.
class TrustFile {
 public:
  // NOT_FOUND or INVALID_ARGUMENT name the file.
  static absl::StatusOr<std::shared_ptr<TrustFile>> Open(const std::string& path);

  // As TrustStore::VerifyPem, of a TLS client and now; the message says which file did not vouch.
  absl::Status VerifyClient(absl::string_view leaf_pem, absl::string_view others_pem);

 private:
  TrustFile(std::string path, FileStamp seen, TrustStore store);

  std::shared_ptr<const TrustStore> Current();
  static absl::StatusOr<TrustStore> Read(const std::string& path);

  const std::string path_;
  Mutex mu_;
  FileStamp seen_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const TrustStore> store_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_TRUST_FILE_H_
