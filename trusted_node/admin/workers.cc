#include "trusted_node/admin/workers.h"

#include <utility>

namespace keyhop {

Workers::Workers(size_t threads, size_t waiting_max) : waiting_max_(waiting_max) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

Workers::~Workers() {
  {
    MutexLock lock(mu_);
    ending_ = true;
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

bool Workers::Post(std::function<void()> call) {
  MutexLock lock(mu_);
  if (waiting_.size() >= waiting_max_) return false;
  waiting_.push_back(std::move(call));
  changed_.Signal();
  return true;
}

void Workers::Run() {
  while (true) {
    std::function<void()> call;
    {
      MutexLock lock(mu_);
      while (waiting_.empty() && !ending_) changed_.Wait(mu_);
      if (waiting_.empty()) return;
      call = std::move(waiting_.front());
      waiting_.pop_front();
    }
    call();
  }
}

}  // namespace keyhop
