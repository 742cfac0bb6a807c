#ifndef KEYHOP_TRUSTED_NODE_ADMIN_WORKERS_H_
#define KEYHOP_TRUSTED_NODE_ADMIN_WORKERS_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "kms/base/mutex.h"

namespace keyhop {

// Threads for calls that block, and a bounded line before them. Thread-safe.
class Workers {
 public:
  Workers(size_t threads, size_t waiting_max);
  ~Workers();  // Does what waits, then returns.
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // False: too many wait, and `call` will not run.
  [[nodiscard]] bool Post(std::function<void()> call);

 private:
  void Run();

  const size_t waiting_max_;
  Mutex mu_;
  CondVar changed_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_ADMIN_WORKERS_H_
