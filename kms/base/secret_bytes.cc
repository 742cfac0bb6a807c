#include "kms/base/secret_bytes.h"

#include <openssl/crypto.h>

#include <atomic>
#include <cstdint>
#include <cstring>

#include "kms/base/check.h"

namespace keyhop {
namespace {

std::atomic<size_t> secure_heap_share = SIZE_MAX;

}  // namespace

void SetSecureHeapShare(size_t bytes) { secure_heap_share = bytes; }

uint8_t* SecretBytes::Allocate(size_t size) {
  // The ordinary heap until the program initialised the secure one, and beside it when our share
  // is full: exhaustion of locked memory must not end the process (bounded by the core's limits).
  const size_t share = secure_heap_share.load(std::memory_order_relaxed);
  // OpenSSL cannot say what is used of a heap that was never set up: it has no lock yet.
  const bool room = CRYPTO_secure_malloc_initialized() == 1 && CRYPTO_secure_used() + size <= share;
  void* p = room ? OPENSSL_secure_zalloc(size) : nullptr;
  if (p == nullptr) p = OPENSSL_zalloc(size);
  KEYHOP_CHECK(p != nullptr, "out of memory for secrets");
  return static_cast<uint8_t*>(p);
}

void SecretBytes::Wipe() {
  if (data_ != nullptr) OPENSSL_secure_clear_free(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

SecretBytes SecretBytes::CopyOf(std::span<const uint8_t> bytes) {
  SecretBytes out(bytes.size());
  if (!bytes.empty()) std::memcpy(out.data_, bytes.data(), bytes.size());
  return out;
}

SecretBytes SecretBytes::Concat(const SecretBytes& a, const SecretBytes& b) {
  SecretBytes out(a.size_ + b.size_);
  if (a.size_ != 0) std::memcpy(out.data_, a.data_, a.size_);
  if (b.size_ != 0) std::memcpy(out.data_ + a.size_, b.data_, b.size_);
  return out;
}

SecretBytes SecretBytes::Slice(size_t offset, size_t length) const {
  KEYHOP_CHECK(offset <= size_ && length <= size_ - offset, "slice outside the secret");
  return CopyOf({data_ + offset, length});
}

void SecretBytes::Erase(size_t offset, size_t length) {
  KEYHOP_CHECK(offset <= size_ && length <= size_ - offset, "erase outside the secret");
  if (length != 0) OPENSSL_cleanse(data_ + offset, length);
}

bool SecretBytes::EqualsConstantTime(const SecretBytes& other) const {
  return EqualConstantTime({data_, size_}, {other.data_, other.size_});
}

bool EqualConstantTime(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

void Cleanse(std::string& text) {
  text.resize(text.capacity());  // What a longer value left behind the end goes too.
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace keyhop
