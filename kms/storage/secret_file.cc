#include "kms/storage/secret_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace keyhop {

absl::Status CheckSecretFile(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  }
  if (!S_ISREG(file.st_mode)) {
    return absl::PermissionDeniedError(absl::StrCat(path, " is not an ordinary file"));
  }
  if (file.st_uid != geteuid() && file.st_uid != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, " belongs to user ", file.st_uid, "; a secret must be ours or root's"));
  }
  if ((file.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "%s has mode %04o and is open to others: chmod 600 it", path, file.st_mode & 07777));
  }
  return absl::OkStatus();
}

}  // namespace keyhop
