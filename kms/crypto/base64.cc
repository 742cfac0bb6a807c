#include "kms/crypto/base64.h"

#include <openssl/evp.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "kms/base/check.h"

namespace keyhop {

uint8_t* SecretText::Room(size_t more) {
  if (buffer_.size() - size_ < more) {
    SecretBytes larger(std::max<size_t>({256, 2 * buffer_.size(), size_ + more}));
    if (size_ != 0) {
      std::memcpy(larger.ExposeMutable(SecretAccess::ForCrypto()).data(),
                  buffer_.Expose(SecretAccess::ForCrypto()).data(), size_);
    }
    buffer_ = std::move(larger);
  }
  return buffer_.ExposeMutable(SecretAccess::ForCrypto()).data() + size_;
}

void SecretText::Append(absl::string_view text) {
  if (text.empty()) return;
  std::memcpy(Room(text.size()), text.data(), text.size());
  size_ += text.size();
}

void SecretText::AppendBase64(const SecretBytes& secret) {
  if (secret.empty()) return;
  KEYHOP_CHECK(secret.size() < INT_MAX / 2, "too long for base64");
  const size_t length = (secret.size() + 2) / 3 * 4;
  // OpenSSL ends its output with a NUL, which is not part of the text.
  const int written =
      EVP_EncodeBlock(Room(length + 1), secret.Expose(SecretAccess::ForCrypto()).data(),
                      static_cast<int>(secret.size()));
  KEYHOP_CHECK(written >= 0 && static_cast<size_t>(written) == length, "base64 failed");
  size_ += length;
}

void SecretText::AppendHex(const SecretBytes& secret) {
  static constexpr char kDigits[] = "0123456789abcdef";
  uint8_t* out = Room(2 * secret.size());
  for (const uint8_t byte : secret.Expose(SecretAccess::ForCrypto())) {
    *out++ = static_cast<uint8_t>(kDigits[byte >> 4]);
    *out++ = static_cast<uint8_t>(kDigits[byte & 15]);
  }
  size_ += 2 * secret.size();
}

}  // namespace keyhop
