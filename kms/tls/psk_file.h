#ifndef KEYHOP_KMS_TLS_PSK_FILE_H_
#define KEYHOP_KMS_TLS_PSK_FILE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/base/mutex.h"
#include "kms/base/secret_bytes.h"
#include "kms/tls/file_stamp.h"

namespace keyhop {

// Of a pre-shared key: 256 bits or more (draft-cisco-skip-02), and what a line may hold.
inline constexpr size_t kPskBytesMin = 32;
inline constexpr size_t kPskBytesMax = 256;
// Of an identity: what OpenSSL takes in TLS 1.2.
inline constexpr size_t kPskIdentityBytesMax = 256;

// Pre-shared keys by identity, as of one reading of a file. Constant once made; thread-safe.
class PskTable {
 public:
  struct Entry {
    std::string identity;
    SecretBytes key;
    // The same for as long as neither the identity nor its key changes; never used again.
    uint64_t serial = 0;
  };

  // Lines of IDENTITY:HEX; the last colon ends the identity. Empty lines and lines that begin with
  // '#' are skipped. INVALID_ARGUMENT names `name` and the line, and never repeats a key.
  static absl::StatusOr<PskTable> Parse(std::span<const uint8_t> text, const std::string& name);

  // The entry of that identity; null if there is none. Takes the same time whichever it is.
  const Entry* Find(absl::string_view identity) const;
  size_t size() const { return entries_.size(); }

  // Numbers the entries: those that `before` has too as there, the others from `next` upwards.
  void Number(const PskTable& before, uint64_t& next);

 private:
  using Digest = std::array<uint8_t, 32>;
  absl::Status AddLine(std::span<const uint8_t> line, const std::string& where);

  std::vector<Entry> entries_;
  std::vector<Digest> digests_;  // Of the identities, in the same order.
};

// A file of pre-shared keys that is read again when it changes. One that cannot be used then, or is
// open to others, leaves the last good one in use, and `on_problem` is told once. Thread-safe.
class PskFile {
 public:
  using Problem = std::function<void(const std::string& text)>;

  // PERMISSION_DENIED: it is open to others (mode 0600 is wanted); NOT_FOUND or INVALID_ARGUMENT:
  // it cannot be read, is longer than `bytes_max`, or a line is wrong. Errors name the file.
  static absl::StatusOr<std::shared_ptr<PskFile>> Open(const std::string& path, size_t bytes_max,
                                                       Problem on_problem);

  std::shared_ptr<const PskTable> Current();
  // Whether the entry of that number is still there: what it authenticated may go on.
  bool Holds(const std::string& identity, uint64_t serial);
  const std::string& path() const { return path_; }
  // A key that nobody has: handshakes of unknown identities fail as those with a wrong key do.
  const SecretBytes& decoy() const { return decoy_; }

 private:
  PskFile(std::string path, size_t bytes_max, Problem on_problem);

  absl::StatusOr<PskTable> Read() const;

  const std::string path_;
  const size_t bytes_max_;
  const Problem on_problem_;
  SecretBytes decoy_;
  Mutex mu_;
  FileStamp seen_ ABSL_GUARDED_BY(mu_);
  FileStamp told_ ABSL_GUARDED_BY(mu_);
  uint64_t next_serial_ ABSL_GUARDED_BY(mu_) = 1;
  std::shared_ptr<const PskTable> table_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_PSK_FILE_H_
