#ifndef KEYHOP_KMS_STORAGE_SECRET_FILE_H_
#define KEYHOP_KMS_STORAGE_SECRET_FILE_H_

#include <string>

#include "absl/status/status.h"

namespace keyhop {

// OK if the file is an ordinary one, ours or root's, and closed to group and others (mode 0600 or
// 0400); else PERMISSION_DENIED with the remedy. For key-encryption keys, pre-shared keys and
// private keys, before they are read.
absl::Status CheckSecretFile(const std::string& path);

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_SECRET_FILE_H_
