#ifndef KEYHOP_KMS_CRYPTO_BASE64_H_
#define KEYHOP_KMS_CRYPTO_BASE64_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/string_view.h"
#include "kms/base/secret_bytes.h"

namespace keyhop {

// A growing text that holds secrets, such as a JSON answer with keys in it. Move-only; its memory
// is wiped when it grows, moves or ends. Not thread-safe.
class SecretText {
 public:
  SecretText() = default;
  // Room for `capacity_bytes` without a copy.
  explicit SecretText(size_t capacity_bytes) : buffer_(capacity_bytes) {}
  SecretText(SecretText&& other) noexcept
      : buffer_(std::move(other.buffer_)), size_(std::exchange(other.size_, 0)) {}
  SecretText& operator=(SecretText&& other) noexcept {
    buffer_ = std::move(other.buffer_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  void Append(absl::string_view text);
  // Base64 with padding (RFC 4648 §4), from the secret straight into this buffer.
  void AppendBase64(const SecretBytes& secret);
  // Two lower-case hex digits a byte, likewise.
  void AppendHex(const SecretBytes& secret);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // Valid until the next change.
  absl::string_view Expose(SecretAccess access) const {
    return {reinterpret_cast<const char*>(buffer_.Expose(access).data()), size_};
  }

 private:
  // At least `more` bytes behind the text.
  uint8_t* Room(size_t more);

  SecretBytes buffer_;
  size_t size_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CRYPTO_BASE64_H_
