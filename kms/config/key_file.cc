#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "kms/config/config.h"

namespace keyhop {
namespace {

// -1 if `c` is no hex digit.
int HexDigit(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Reads up to the size of `into`; the count of bytes read, or -1.
ssize_t ReadAll(int fd, std::span<uint8_t> into) {
  size_t have = 0;
  while (have < into.size()) {
    const ssize_t n = read(fd, into.data() + have, into.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  return static_cast<ssize_t>(have);
}

}  // namespace

absl::StatusOr<SecretBytes> ReadKeyFile(const std::string& path, size_t size_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::NotFoundError(absl::StrCat(path, ": expected a key file: cannot be read"));
  }
  // Room for the digits, "\r\n", and one byte that tells of a longer file.
  SecretBytes text(2 * size_bytes + 3);
  const std::span<uint8_t> digits = text.ExposeMutable(SecretAccess::ForCrypto());
  const ssize_t got = ReadAll(fd, digits);
  close(fd);
  const absl::Status wrong =
      absl::InvalidArgumentError(absl::StrCat(path, ": expected ", 2 * size_bytes, " hex digits (",
                                              size_bytes, " bytes) and nothing else"));
  if (got < static_cast<ssize_t>(2 * size_bytes)) return wrong;
  const auto end = digits.subspan(2 * size_bytes, static_cast<size_t>(got) - 2 * size_bytes);
  const bool ends_well = end.empty() || (end.size() == 1 && end[0] == '\n') ||
                         (end.size() == 2 && end[0] == '\r' && end[1] == '\n');
  if (!ends_well) return wrong;
  SecretBytes key(size_bytes);
  const std::span<uint8_t> bytes = key.ExposeMutable(SecretAccess::ForCrypto());
  for (size_t i = 0; i < size_bytes; ++i) {
    const int high = HexDigit(digits[2 * i]);
    const int low = HexDigit(digits[2 * i + 1]);
    if (high < 0 || low < 0) return wrong;
    bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return key;
}

}  // namespace keyhop
