#ifndef KEYHOP_KMS_STORAGE_STORE_LOCK_H_
#define KEYHOP_KMS_STORAGE_STORE_LOCK_H_

#include <string>

namespace keyhop {

// Who holds a lock (fcntl) on this file, in words: "process 123 (keyhopd)". Asks /proc, and never
// opens the file: closing it would drop this process's own lock on it.
std::string DescribeLockHolder(const std::string& path);

}  // namespace keyhop

#endif  // KEYHOP_KMS_STORAGE_STORE_LOCK_H_
