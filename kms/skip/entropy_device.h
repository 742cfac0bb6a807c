#ifndef KEYHOP_KMS_SKIP_ENTROPY_DEVICE_H_
#define KEYHOP_KMS_SKIP_ENTROPY_DEVICE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "kms/base/mutex.h"
#include "kms/base/secret_bytes.h"
#include "kms/skip/skip_api.h"

namespace keyhop {

// The continuous tests of NIST SP 800-90B §4.4 for bytes that claim full entropy: repetition count
// and adaptive proportion. A good source fails them once in 2^40 bytes or less often. Not
// thread-safe.
class EntropyHealth {
 public:
  // False: the source is broken.
  bool Take(uint8_t byte);

 private:
  static constexpr int kRepeatsMax = 5;  // In a row.
  static constexpr int kWindow = 512;    // Bytes; the first of each is counted in it.
  static constexpr int kProportionMax = 22;

  int last_ = -1;
  int repeats_ = 0;
  int first_ = -1;
  int taken_ = 0;
  int count_ = 0;
};

// Random bytes of a hardware generator, read by a thread of its own into a bounded pool. One that
// fails a test gives nothing any more, until the next start. Thread-safe.
class EntropyDevice final : public TrueRandom {
 public:
  using Problem = std::function<void(const std::string& text)>;

  // `path`: a character device of the generator, or a named pipe that its driver writes to.
  // INVALID_ARGUMENT: it is none, or one of the kernel's own devices (/dev/urandom, /dev/zero):
  // they stretch what they were given, and are no true source.
  static absl::StatusOr<std::unique_ptr<EntropyDevice>> Open(const std::string& path,
                                                             size_t pool_bytes, Problem on_problem);
  ~EntropyDevice() override;
  EntropyDevice(const EntropyDevice&) = delete;
  EntropyDevice& operator=(const EntropyDevice&) = delete;

  bool healthy() const override;
  size_t bytes_max() const override { return pool_.size(); }
  std::optional<SecretBytes> Take(size_t bytes) override;

 private:
  EntropyDevice(std::string path, size_t pool_bytes, Problem on_problem);
  void Run();
  // Reads up to `room` bytes into the pool; false: nothing came. Closes what is broken.
  bool ReadSome(int& fd, size_t room);

  const std::string path_;
  const Problem on_problem_;
  mutable Mutex mu_;
  CondVar wake_;
  SecretBytes pool_;  // Its bytes are guarded by mu_; its size is constant.
  size_t filled_ ABSL_GUARDED_BY(mu_) = 0;
  bool healthy_ ABSL_GUARDED_BY(mu_) = true;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  EntropyHealth health_;  // Of the thread.
  std::thread thread_;
};

// What is wrong with a path, before anything is opened.
absl::Status CheckEntropyDevice(const std::string& path);

}  // namespace keyhop

#endif  // KEYHOP_KMS_SKIP_ENTROPY_DEVICE_H_
