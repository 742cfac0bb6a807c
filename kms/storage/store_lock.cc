#include "kms/storage/store_lock.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace keyhop {
namespace {

// A line of /proc/locks: "1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF"; one that waits has
// "->" behind its number.
std::optional<int> HolderOf(const struct stat& file) {
  const std::string wanted =
      absl::StrFormat("%02x:%02x:%d", major(file.st_dev), minor(file.st_dev), file.st_ino);
  // On some file systems (overlay, btrfs) the device differs from the one that stat tells.
  const std::string same_inode = absl::StrCat(":", file.st_ino);
  std::ifstream locks("/proc/locks");
  std::optional<int> likely;
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, mode, access, place;
    int pid = 0;
    if (!(words >> number >> kind >> mode >> access >> pid >> place) || pid <= 0) continue;
    if (place == wanted) return pid;
    if (absl::EndsWith(place, same_inode)) likely = pid;
  }
  return likely;
}

}  // namespace

std::string DescribeLockHolder(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) return "another process";
  const std::optional<int> pid = HolderOf(file);
  if (!pid.has_value()) return "another process";
  if (*pid == getpid()) return absl::StrCat("process ", *pid, " (this one)");
  std::ifstream comm(absl::StrCat("/proc/", *pid, "/comm"));
  std::string name;
  std::getline(comm, name);
  return name.empty() ? absl::StrCat("process ", *pid)
                      : absl::StrCat("process ", *pid, " (", name, ")");
}

}  // namespace keyhop
