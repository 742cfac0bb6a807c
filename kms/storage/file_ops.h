#ifndef KEYHOP_KMS_STORAGE_FILE_OPS_H_
#define KEYHOP_KMS_STORAGE_FILE_OPS_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyhop {

// An open file of the operating system, closed at the end.
class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd();
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  const int fd_;
};

// The few things that are done to small files, each one step of its own, so that tests can stop
// between any two. Errors name the file.
class FileOps {
 public:
  virtual ~FileOps() = default;
  // nullopt: there is no such file. At most 1 MiB.
  virtual absl::StatusOr<std::optional<std::string>> Read(const std::string& path) = 0;
  // Makes or replaces the file, mode 0600, and syncs its contents. Not atomic; the name is durable
  // only after Sync.
  virtual absl::Status WriteSynced(const std::string& path, absl::string_view contents) = 0;
  // Makes the file's contents and its name, or its absence, durable.
  virtual absl::Status Sync(const std::string& path) = 0;
  // Writes zeros over the file's contents and syncs. OK if there is no such file. What a journal,
  // a snapshot or a flash translation layer keeps is beyond its reach.
  virtual absl::Status Overwrite(const std::string& path) = 0;
  // OK if there is no such file.
  virtual absl::Status Unlink(const std::string& path) = 0;
};

// On the file system. Thread-safe as far as the files differ.
class DiskFileOps final : public FileOps {
 public:
  absl::StatusOr<std::optional<std::string>> Read(const std::string& path) override;
  absl::Status WriteSynced(const std::string& path, absl::string_view contents) override;
  absl::Status Sync(const std::string& path) override;
  absl::Status Overwrite(const std::string& path) override;
  absl::Status Unlink(const std::string& path) override;
  // Mode 0700; OK if it is there.
  absl::Status MakeFolder(const std::string& path);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_FILE_OPS_H_
