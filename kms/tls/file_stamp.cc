#include "kms/tls/file_stamp.h"

#include <sys/stat.h>

namespace keyhop {

FileStamp FileStamp::Of(const std::string& path) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0) return {};
  return {.inode = static_cast<int64_t>(found.st_ino),
          .size = found.st_size,
          .changed_ns = found.st_mtim.tv_sec * 1'000'000'000 + found.st_mtim.tv_nsec,
          .mode = found.st_mode};
}

}  // namespace keyhop
