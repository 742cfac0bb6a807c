#ifndef KEYHOP_TESTS_KMS_KS004_FAKE_KEYSTREAM_PORT_H_
#define KEYHOP_TESTS_KMS_KS004_FAKE_KEYSTREAM_PORT_H_

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "kms/base/mutex.h"
#include "kms/core/keystream/request.h"

namespace keyhop {

// A node that has every stream: a call is answered with success at once, GET_KEY with a chunk of
// kChunkBytes; but GET_KEY for kHeldIndex only after Release(). Thread-safe.
class FakeKeystreamPort final : public KeystreamPort {
 public:
  static constexpr size_t kChunkBytes = 4092;
  static constexpr uint32_t kHeldIndex = 77;

  void Keystream(KeystreamRequest request,
                 std::function<void(Outcome<KeystreamAnswer>)> done) override {
    const auto* get = std::get_if<KeystreamGet>(&request);
    {
      MutexLock lock(mu_);
      callers_.insert(std::visit([](const auto& r) { return r.caller.value; }, request));
      if (get != nullptr && get->index == kHeldIndex && !released_) {
        held_.push_back(std::move(done));
        wake_.SignalAll();
        return;
      }
    }
    done(Answer(get != nullptr));
  }

  // Waits until a call is held.
  void AwaitHeld() {
    MutexLock lock(mu_);
    while (held_.empty()) wake_.Wait(mu_);
  }
  // Answers what is held, on this thread, and holds nothing more.
  void Release() {
    std::vector<std::function<void(Outcome<KeystreamAnswer>)>> held;
    {
      MutexLock lock(mu_);
      released_ = true;
      held.swap(held_);
    }
    for (const auto& done : held) done(Answer(/*with_key=*/true));
  }
  // Who called so far.
  std::set<std::string> callers() {
    MutexLock lock(mu_);
    return callers_;
  }

 private:
  static KeystreamAnswer Answer(bool with_key) {
    KeystreamAnswer answer;
    if (with_key) answer.key = SecretBytes(kChunkBytes);
    return answer;
  }

  Mutex mu_;
  CondVar wake_;
  bool released_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::function<void(Outcome<KeystreamAnswer>)>> held_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> callers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_KS004_FAKE_KEYSTREAM_PORT_H_
