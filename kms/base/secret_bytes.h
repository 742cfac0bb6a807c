#ifndef KEYHOP_KMS_BASE_SECRET_BYTES_H_
#define KEYHOP_KMS_BASE_SECRET_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <utility>

namespace keyhop {

// Capability to read secret bytes. Only `SecretAccess::For…()` makes one, so that
// `grep -rn 'SecretAccess::For'` lists every place that sees key bytes.
class SecretAccess {
 public:
  static SecretAccess ForCrypto() { return SecretAccess(); }
  static SecretAccess ForWire() { return SecretAccess(); }
  static SecretAccess ForRelay() { return SecretAccess(); }
  static SecretAccess ForStorage() { return SecretAccess(); }
  static SecretAccess ForDelivery() { return SecretAccess(); }
  static SecretAccess ForSimulation() { return SecretAccess(); }
  static SecretAccess ForTest() { return SecretAccess(); }

 private:
  SecretAccess() = default;
};

// SecretBytes owns key material. It cannot be copied, printed, hashed, ordered or compared with
// `==`; it is wiped when destroyed, moved from or assigned to. Sizes are in bytes. Memory comes
// from the locked secure heap where the program set one up (kms/crypto/secure_heap.h), up to
// `SetSecureHeapShare`, and beyond that from the ordinary one.
//
// Not thread-safe.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(size_t size) : data_(size == 0 ? nullptr : Allocate(size)), size_(size) {}

  static SecretBytes CopyOf(std::span<const uint8_t> bytes);
  // Takes both parts, in order.
  static SecretBytes Concat(const SecretBytes& a, const SecretBytes& b);

  SecretBytes(SecretBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  // Frees the old value first; a swap would keep it alive in `other`.
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      Wipe();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { Wipe(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<const uint8_t> Expose(SecretAccess) const { return {data_, size_}; }
  std::span<uint8_t> ExposeMutable(SecretAccess) { return {data_, size_}; }
  // A second copy of a secret is a decision; these make it visible in the code.
  SecretBytes Duplicate(SecretAccess access) const { return CopyOf(Expose(access)); }
  // Bytes [offset, offset + length); the range must lie inside.
  SecretBytes Slice(size_t offset, size_t length) const;
  // Overwrites bytes [offset, offset + length) with zeros.
  void Erase(size_t offset, size_t length);

  bool EqualsConstantTime(const SecretBytes& other) const;

  bool operator==(const SecretBytes&) const = delete;
  friend std::ostream& operator<<(std::ostream&, const SecretBytes&) = delete;
  template <typename H>
  friend H AbslHashValue(H, const SecretBytes&) = delete;

 private:
  static uint8_t* Allocate(size_t size);
  void Wipe();

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// How many bytes of the secure heap may be in use before a SecretBytes goes beside it. OpenSSL
// keeps the private keys of TLS there too, and fails a handshake or a start that finds no room.
// Thread-safe.
void SetSecureHeapShare(size_t bytes);

// Equality of public tags without early exit. Sizes must be equal for the answer to be true.
bool EqualConstantTime(std::span<const uint8_t> a, std::span<const uint8_t> b);

// Overwrites and empties a string that had to hold key bytes for a moment: a `bytes` field of a
// protobuf, in its handler. Its capacity stays, so that it can be filled again in place.
void Cleanse(std::string& text);

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_SECRET_BYTES_H_
