#ifndef KEYHOP_KMS_TLS_FILE_STAMP_H_
#define KEYHOP_KMS_TLS_FILE_STAMP_H_

#include <cstdint>
#include <string>

namespace keyhop {

// By what a file is seen to have changed.
struct FileStamp {
  int64_t inode = 0;
  int64_t size = 0;
  int64_t changed_ns = 0;
  uint32_t mode = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;

  // Of the file now; all zero if there is none.
  static FileStamp Of(const std::string& path);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_FILE_STAMP_H_
