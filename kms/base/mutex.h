#ifndef KEYHOP_KMS_BASE_MUTEX_H_
#define KEYHOP_KMS_BASE_MUTEX_H_

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"

namespace keyhop {

// The one mutex of this code base: std::mutex, which ThreadSanitizer understands, with clang's
// thread-safety annotations.
class ABSL_LOCKABLE Mutex {
 public:
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  void unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_.lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

class CondVar {
 public:
  // Releases `mu` while waiting; spurious wake-ups happen: call in a loop.
  void Wait(Mutex& mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) { cv_.wait(mu.mu_); }
  template <typename TimePoint>
  void WaitUntil(Mutex& mu, TimePoint deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    cv_.wait_until(mu.mu_, deadline);
  }
  void Signal() { cv_.notify_one(); }
  void SignalAll() { cv_.notify_all(); }

 private:
  std::condition_variable_any cv_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_MUTEX_H_
