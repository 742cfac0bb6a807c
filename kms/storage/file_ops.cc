#include "kms/storage/file_ops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;

absl::Status Errno(absl::string_view doing, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", doing, " ", path));
}

absl::Status WriteAll(const OwnedFd& fd, absl::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t n = write(fd.get(), contents.data(), contents.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno("write", path);
    contents.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(fd.get()) != 0) return Errno("sync", path);
  return absl::OkStatus();
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::optional<std::string>> DiskFileOps::Read(const std::string& path) {
  const OwnedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok() && errno == ENOENT) return std::optional<std::string>();
  if (!fd.ok()) return Errno("open", path);
  std::string contents;
  char buffer[4096];
  while (true) {
    const ssize_t n = read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno("read", path);
    if (n == 0) return std::optional<std::string>(std::move(contents));
    contents.append(buffer, static_cast<size_t>(n));
    if (contents.size() > kMaxFileBytes) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is larger than 1 MiB"));
    }
  }
}

absl::Status DiskFileOps::WriteSynced(const std::string& path, absl::string_view contents) {
  const OwnedFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return Errno("create", path);
  return WriteAll(fd, contents, path);
}

absl::Status DiskFileOps::Sync(const std::string& path) {
  const OwnedFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok() && errno != ENOENT) return Errno("open", path);
  if (file.ok() && fsync(file.get()) != 0) return Errno("sync", path);
  const size_t slash = path.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const OwnedFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok() || fsync(fd.get()) != 0) return Errno("sync the folder", folder);
  return absl::OkStatus();
}

absl::Status DiskFileOps::Overwrite(const std::string& path) {
  const OwnedFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.ok() && errno == ENOENT) return absl::OkStatus();
  if (!fd.ok()) return Errno("open", path);
  struct stat file;
  if (fstat(fd.get(), &file) != 0) return Errno("stat", path);
  if (static_cast<size_t>(file.st_size) > kMaxFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is larger than 1 MiB"));
  }
  return WriteAll(fd, std::string(static_cast<size_t>(file.st_size), '\0'), path);
}

absl::Status DiskFileOps::Unlink(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Errno("unlink", path);
  return absl::OkStatus();
}

absl::Status DiskFileOps::MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Errno("make the folder", path);
  return absl::OkStatus();
}

}  // namespace keyhop
