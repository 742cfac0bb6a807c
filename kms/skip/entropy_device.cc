#include "kms/skip/entropy_device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

constexpr size_t kReadBytes = 256;
// After a read that brought nothing.
constexpr std::chrono::milliseconds kPause(100);
constexpr unsigned kKernelMemoryDevices = 1;  // /dev/zero, /dev/random and their like.

}  // namespace

bool EntropyHealth::Take(uint8_t byte) {
  repeats_ = byte == last_ ? repeats_ + 1 : 1;
  last_ = byte;
  if (taken_ == 0) {
    first_ = byte;
    count_ = 0;
  }
  if (byte == first_) ++count_;
  taken_ = (taken_ + 1) % kWindow;
  return repeats_ <= kRepeatsMax && count_ <= kProportionMax;
}

absl::Status CheckEntropyDevice(const std::string& path) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path, ": expected a random number generator"));
  }
  const bool kernel = S_ISCHR(found.st_mode) && major(found.st_rdev) == kKernelMemoryDevices;
  if (kernel || (!S_ISCHR(found.st_mode) && !S_ISFIFO(found.st_mode))) {
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        ": expected the character device of a hardware random number generator (like "
        "/dev/hwrng), or a named pipe that its driver writes to; the kernel's own devices are "
        "no true source"));
  }
  return absl::OkStatus();
}

EntropyDevice::EntropyDevice(std::string path, size_t pool_bytes, Problem on_problem)
    : path_(std::move(path)), on_problem_(std::move(on_problem)), pool_(pool_bytes) {}

absl::StatusOr<std::unique_ptr<EntropyDevice>> EntropyDevice::Open(const std::string& path,
                                                                   size_t pool_bytes,
                                                                   Problem on_problem) {
  KEYHOP_RETURN_IF_ERROR(CheckEntropyDevice(path));
  auto device = absl::WrapUnique(new EntropyDevice(path, pool_bytes, std::move(on_problem)));
  device->thread_ = std::thread([self = device.get()] { self->Run(); });
  return device;
}

EntropyDevice::~EntropyDevice() {
  {
    MutexLock lock(mu_);
    ending_ = true;
    wake_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
}

bool EntropyDevice::healthy() const {
  MutexLock lock(mu_);
  return healthy_;
}

std::optional<SecretBytes> EntropyDevice::Take(size_t bytes) {
  MutexLock lock(mu_);
  if (!healthy_ || bytes > filled_) return std::nullopt;
  filled_ -= bytes;
  SecretBytes taken = pool_.Slice(filled_, bytes);
  pool_.Erase(filled_, bytes);
  wake_.SignalAll();
  return taken;
}

bool EntropyDevice::ReadSome(int& fd, size_t room) {
  SecretBytes chunk(std::min(room, kReadBytes));
  const std::span<uint8_t> bytes = chunk.ExposeMutable(SecretAccess::ForCrypto());
  const ssize_t got = read(fd, bytes.data(), bytes.size());
  if (got < 0 && errno != EAGAIN && errno != EINTR) {
    close(fd);
    fd = -1;
  }
  if (got <= 0) return false;
  const std::span<const uint8_t> fresh = bytes.first(static_cast<size_t>(got));
  const bool good =
      std::all_of(fresh.begin(), fresh.end(), [this](uint8_t byte) { return health_.Take(byte); });
  MutexLock lock(mu_);
  if (!good) {
    healthy_ = false;
    filled_ = 0;
    pool_.Erase(0, pool_.size());
    return false;
  }
  // Only this thread adds: the room is still there.
  std::memcpy(pool_.ExposeMutable(SecretAccess::ForCrypto()).data() + filled_, fresh.data(),
              fresh.size());
  filled_ += fresh.size();
  return true;
}

void EntropyDevice::Run() {
  // A pipe without a writer and a generator that has nothing yet do not hold us up.
  int fd = -1;
  bool told = false;
  for (bool more = true;;) {
    size_t room = 0;
    {
      MutexLock lock(mu_);
      const auto resume = std::chrono::steady_clock::now() + kPause;
      while (!ending_ && filled_ == pool_.size()) wake_.Wait(mu_);
      while (!ending_ && healthy_ && !more && std::chrono::steady_clock::now() < resume) {
        wake_.WaitUntil(mu_, resume);
      }
      if (ending_ || !healthy_) break;
      room = pool_.size() - filled_;
    }
    if (fd < 0) {
      fd = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
      if (fd < 0 && !std::exchange(told, true)) {
        on_problem_(absl::StrCat(path_, ": cannot be read: ", std::strerror(errno)));
      }
    }
    more = fd >= 0 && ReadSome(fd, room);
  }
  if (fd >= 0) close(fd);
  if (!healthy()) {
    on_problem_(absl::StrCat(path_, ": its bytes repeat: it is not used any more"));
  }
}

}  // namespace keyhop
