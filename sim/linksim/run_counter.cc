#include "sim/linksim/run_counter.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

constexpr size_t kFileBytesMax = 64;

absl::Status SystemError(absl::string_view what, absl::string_view path) {
  return absl::UnavailableError(absl::StrCat(what, " ", path, ": ", std::strerror(errno)));
}

// File names from IDs: everything but letters, digits, '.', '_' and '-' as %XX.
std::string FileName(absl::string_view link_id, uint32_t module_pair) {
  std::string name = "run-";
  for (const char c : link_id) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-') {
      name.push_back(c);
    } else {
      absl::StrAppend(&name, "%", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    }
  }
  return absl::StrCat(name, "-", module_pair);
}

// The text of a small file; empty if there is none.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return std::string();
    return SystemError("cannot open", path);
  }
  char text[kFileBytesMax];
  const ssize_t size = read(fd, text, sizeof(text));
  const int error = errno;
  close(fd);
  errno = error;
  if (size < 0) return SystemError("cannot read", path);
  return std::string(text, static_cast<size_t>(size));
}

absl::Status SyncAndClose(int fd, bool written, const std::string& path) {
  const bool synced = written && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  errno = error;
  return synced ? absl::OkStatus() : SystemError("cannot write", path);
}

// Replaces `folder`/`name` as a whole, durably.
absl::Status WriteDurably(const std::string& folder, const std::string& name,
                          const std::string& text) {
  const std::string path = absl::StrCat(folder, "/", name);
  const std::string fresh = absl::StrCat(path, ".new");
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return SystemError("cannot create", fresh);
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  KEYHOP_RETURN_IF_ERROR(SyncAndClose(fd, written, fresh));
  if (rename(fresh.c_str(), path.c_str()) != 0) return SystemError("cannot replace", path);
  const int folder_fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd < 0) return SystemError("cannot open", folder);
  return SyncAndClose(folder_fd, true, folder);
}

}  // namespace

absl::StatusOr<StateDir> StateDir::Open(const std::string& path, Duration patience) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot make ", path, ": ", error.message()));
  }
  const std::string lock = absl::StrCat(path, "/LOCK");
  const int fd = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return SystemError("cannot open", lock);
  StateDir dir(path, fd);
  // The lock of a process that was just killed goes when the kernel has buried it.
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience.ns);
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return SystemError("cannot lock", lock);
    if (std::chrono::steady_clock::now() >= give_up) {
      auto holder = ReadSmallFile(lock);
      return absl::AlreadyExistsError(
          absl::StrCat("another simulator uses ", path, ": process ",
                       holder.ok() ? absl::StripAsciiWhitespace(*holder) : "unknown"));
    }
    // A file lock of another process wakes nobody: this polls.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // NOLINT(keyhop): see above
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(fd, 0) != 0 ||
      pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return SystemError("cannot write", lock);
  }
  return dir;
}

StateDir::StateDir(StateDir&& other) noexcept
    : path_(std::move(other.path_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}

StateDir::~StateDir() {
  if (lock_fd_ >= 0) close(lock_fd_);
}

absl::StatusOr<uint64_t> StateDir::NextRun(absl::string_view link_id, uint32_t module_pair,
                                           uint64_t floor) const {
  const std::string name = FileName(link_id, module_pair);
  const std::string path = absl::StrCat(path_, "/", name);
  KEYHOP_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  uint64_t last = 0;
  if (!text.empty() && !absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &last)) {
    return absl::DataLossError(
        absl::StrCat(path,
                     ": expected the number of the last run, decimal. If the file is lost, "
                     "write a number above every run that the KMs have seen"));
  }
  last = std::max(last, floor);
  if (last == std::numeric_limits<uint64_t>::max()) {
    return absl::DataLossError(absl::StrCat(path, ": no run number is left"));
  }
  KEYHOP_RETURN_IF_ERROR(WriteDurably(path_, name, absl::StrCat(last + 1, "\n")));
  return last + 1;
}

}  // namespace keyhop
