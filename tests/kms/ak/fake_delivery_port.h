#ifndef KEYHOP_TESTS_KMS_AK_FAKE_DELIVERY_PORT_H_
#define KEYHOP_TESTS_KMS_AK_FAKE_DELIVERY_PORT_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kms/base/mutex.h"
#include "kms/core/delivery/request.h"

namespace keyhop {

// A node in memory, answering on a thread of its own. Slaves with a meaning: "down" (unavailable),
// "full" (exhausted), "thrifty" (at most 3 keys a request), "broken" (internal), "slow" (answered
// after Release()). The idempotency key "another's" is refused. Thread-safe.
class FakeDeliveryPort final : public DeliveryPort {
 public:
  FakeDeliveryPort() : thread_([this] { Work(); }) {}
  ~FakeDeliveryPort() override {
    {
      MutexLock lock(mu_);
      ending_ = true;
      wake_.SignalAll();
    }
    thread_.join();
  }

  void Status(StatusRequest request, std::function<void(Outcome<PairStatus>)> done) override {
    Post([this, request = std::move(request), done = std::move(done)] { done(DoStatus(request)); });
  }
  void Draw(DrawRequest request, std::function<void(Outcome<KeyContainer>)> done) override {
    Post([this, request = std::move(request), done = std::move(done)] {
      {
        MutexLock lock(mu_);
        last_wait_max_ = request.wait_max;
        last_call_ = request.call;
      }
      if (request.slave == SaeId("slow")) AwaitRelease();
      done(DoDraw(request));
    });
  }
  void Fetch(FetchRequest request, std::function<void(Outcome<KeyContainer>)> done) override {
    Post([this, request = std::move(request), done = std::move(done)] { done(DoFetch(request)); });
  }

  // Answers with what Announce was given, one at a time: the place is how many were given before.
  void Watch(WatchRequest request, std::function<void(Outcome<WatchAnswer>)> done) override {
    MutexLock lock(mu_);
    last_call_ = request.call;
    watchers_.push_back({std::move(request), std::move(done)});
    ServeWatchers();
    wake_.SignalAll();
  }
  void Announce(WatchEntry entry) {
    MutexLock lock(mu_);
    announced_.push_back(std::move(entry));
    ServeWatchers();
  }
  void AwaitWatcher() {
    MutexLock lock(mu_);
    while (watchers_.empty()) wake_.Wait(mu_);
  }

  uint64_t NewCall() override {
    MutexLock lock(mu_);
    return ++calls_;
  }
  void Cancel(uint64_t call) override {
    MutexLock lock(mu_);
    cancelled_.insert(call);
    for (Watcher& watcher : std::exchange(watchers_, {})) {
      if (watcher.request.call != call) {
        watchers_.push_back(std::move(watcher));
        continue;
      }
      queue_.push_back([done = std::move(watcher.done)] {
        done(Refuse(Refusal::Kind::kUnavailable, "cancelled"));
      });
    }
    wake_.SignalAll();
  }
  // Waits until a call was cancelled.
  uint64_t AwaitCancel() {
    MutexLock lock(mu_);
    while (cancelled_.empty()) wake_.Wait(mu_);
    return *cancelled_.begin();
  }
  // What the last draw said of itself.
  std::optional<Duration> last_wait_max() {
    MutexLock lock(mu_);
    return last_wait_max_;
  }
  uint64_t last_call() {
    MutexLock lock(mu_);
    return last_call_;
  }

  void Deregister(const std::string& sae) {
    MutexLock lock(mu_);
    saes_.erase(SaeId(sae));
  }
  // Waits until a draw for "slow" is under way.
  void AwaitSlow() {
    MutexLock lock(mu_);
    while (!slow_) wake_.Wait(mu_);
  }
  void Release() {
    MutexLock lock(mu_);
    released_ = true;
    wake_.SignalAll();
  }
  // Of the draw or fetch answered last.
  std::optional<std::string> idempotency_key() {
    MutexLock lock(mu_);
    return idempotency_key_;
  }
  uint64_t keys_drawn() {
    MutexLock lock(mu_);
    return drawn_;
  }
  uint64_t keys_at_hand() {
    MutexLock lock(mu_);
    return keys_.size();
  }

 private:
  struct Watcher {
    WatchRequest request;
    std::function<void(Outcome<WatchAnswer>)> done;
  };
  void ServeWatchers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    for (Watcher& watcher : std::exchange(watchers_, {})) {
      const uint64_t at = watcher.request.seen ? watcher.request.seen->number : 0;
      if (at >= announced_.size()) {
        watchers_.push_back(std::move(watcher));
        continue;
      }
      queue_.push_back([done = std::move(watcher.done), entry = announced_[at], at] {
        done(WatchAnswer{{entry}, {.life = 77, .number = at + 1}});
      });
      wake_.SignalAll();
    }
  }
  struct Kept {
    SaeId master;
    std::set<SaeId> slaves;
    SecretBytes key;
  };

  static Refusal Refuse(Refusal::Kind kind, std::string message,
                        std::map<std::string, std::string> details = {},
                        std::optional<Duration> retry_after = {}) {
    return {.kind = kind,
            .message = std::move(message),
            .details = std::move(details),
            .retry_after = retry_after};
  }

  void Post(std::function<void()> work) {
    MutexLock lock(mu_);
    queue_.push_back(std::move(work));
    wake_.SignalAll();
  }
  void Work() {
    while (true) {
      std::function<void()> work;
      {
        MutexLock lock(mu_);
        while (queue_.empty() && !ending_) wake_.Wait(mu_);
        if (queue_.empty()) return;
        work = std::move(queue_.front());
        queue_.pop_front();
      }
      work();
    }
  }
  void AwaitRelease() {
    MutexLock lock(mu_);
    slow_ = true;
    wake_.SignalAll();
    while (!released_ && !ending_) wake_.Wait(mu_);
  }

  std::optional<Refusal> Common(const SaeId& caller, const SaeId& other)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!saes_.contains(caller)) return Refuse(Refusal::Kind::kUnauthorized, "not registered");
    if (!saes_.contains(other)) return Refuse(Refusal::Kind::kBadRequest, "unknown SAE");
    return std::nullopt;
  }

  Outcome<PairStatus> DoStatus(const StatusRequest& request) {
    MutexLock lock(mu_);
    if (auto refusal = Common(request.caller, request.slave)) return *refusal;
    return PairStatus{.source_kme = NodeId("kme-a"),
                      .target_kme = NodeId("kme-b"),
                      .master = request.caller,
                      .slave = request.slave,
                      .key_size_bits = 256,
                      .stored_key_count = 200,
                      .max_key_count = 1000,
                      .max_key_per_request = 128,
                      .max_key_size_bits = 16384,
                      .min_key_size_bits = 32,
                      .max_sae_id_count = 2};
  }

  Outcome<KeyContainer> DoDraw(const DrawRequest& request) {
    MutexLock lock(mu_);
    idempotency_key_ = request.idempotency_key;
    if (idempotency_key_ == "another's") {
      return Refuse(Refusal::Kind::kOtherRequest, "used for another request");
    }
    if (auto refusal = Common(request.caller, request.slave)) return *refusal;
    const uint64_t size_bits = request.size_bits.value_or(256);
    if (!request.extension_mandatory.empty()) {
      return Refuse(Refusal::Kind::kBadRequest, kExtensionUnsupported,
                    {{"extension_mandatory_unsupported",
                      request.extension_mandatory.front().name + " is not supported"}});
    }
    if (size_bits % 8 != 0) return Refuse(Refusal::Kind::kBadRequest, kSizeNotMultipleOf8);
    if (size_bits < 32 || size_bits > 16384 || request.number == 0 || request.number > 128) {
      return Refuse(Refusal::Kind::kBadRequest, "outside the limits of status");
    }
    for (const SaeId& sae : request.additional_slaves) {
      if (!saes_.contains(sae)) return Refuse(Refusal::Kind::kBadRequest, "unknown SAE");
    }
    if (request.slave == SaeId("down")) {
      return Refuse(Refusal::Kind::kUnavailable, "not enough key now",
                    {{"bits_asked", std::to_string(request.number * size_bits)}},
                    Duration::Millis(1500));
    }
    if (request.slave == SaeId("full")) {
      return Refuse(Refusal::Kind::kExhausted, "quota used up", {}, Duration{199'000'001});
    }
    if (request.slave == SaeId("thrifty") && request.number > 3) {
      return Refuse(Refusal::Kind::kBadRequest, "more than a quota ever gives at once");
    }
    if (request.slave == SaeId("broken")) return Refuse(Refusal::Kind::kInternal, "internal error");
    KeyContainer container;
    for (uint64_t i = 0; i < request.number; ++i) {
      KeyId id = {};
      ++drawn_;
      for (int b = 0; b < 8; ++b) id[15 - b] = static_cast<uint8_t>(drawn_ >> (8 * b));
      SecretBytes key(size_bits / 8);
      for (uint8_t& byte : key.ExposeMutable(SecretAccess::ForTest())) {
        byte = static_cast<uint8_t>(drawn_ * 37 + 11);
      }
      Kept& kept = keys_[id];
      kept.master = request.caller;
      kept.slaves = {request.additional_slaves.begin(), request.additional_slaves.end()};
      kept.slaves.insert(request.slave);
      kept.key = key.Duplicate(SecretAccess::ForTest());
      container.keys.push_back({.id = id, .key = std::move(key)});
    }
    return container;
  }

  Outcome<KeyContainer> DoFetch(const FetchRequest& request) {
    MutexLock lock(mu_);
    idempotency_key_ = request.idempotency_key;
    if (auto refusal = Common(request.caller, request.master)) return *refusal;
    for (const KeyId& id : request.key_ids) {
      const auto it = keys_.find(id);
      if (it == keys_.end() || it->second.master != request.master) {
        return Refuse(Refusal::Kind::kNotFound, kKeysNotFound);
      }
      if (!it->second.slaves.contains(request.caller)) {
        return Refuse(Refusal::Kind::kUnauthorized, "another SAE's key");
      }
    }
    KeyContainer container;
    for (const KeyId& id : request.key_ids) {
      Kept& kept = keys_[id];
      kept.slaves.erase(request.caller);
      container.keys.push_back({.id = id, .key = kept.key.Duplicate(SecretAccess::ForTest())});
      if (kept.slaves.empty()) keys_.erase(id);
    }
    return container;
  }

  Mutex mu_;
  CondVar wake_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  std::set<SaeId> saes_ ABSL_GUARDED_BY(mu_) = {
      SaeId("alice"), SaeId("bob"),    SaeId("carol"),     SaeId("down"),
      SaeId("full"),  SaeId("broken"), SaeId("slow"),      SaeId("a b"),
      SaeId("x/y"),   SaeId("50%41"),  SaeId("caf\u00e9"), SaeId("thrifty")};
  std::map<KeyId, Kept> keys_ ABSL_GUARDED_BY(mu_);
  uint64_t drawn_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Watcher> watchers_ ABSL_GUARDED_BY(mu_);
  std::vector<WatchEntry> announced_ ABSL_GUARDED_BY(mu_);
  std::set<uint64_t> cancelled_ ABSL_GUARDED_BY(mu_);
  std::optional<Duration> last_wait_max_ ABSL_GUARDED_BY(mu_);
  uint64_t last_call_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<std::string> idempotency_key_ ABSL_GUARDED_BY(mu_);
  bool slow_ ABSL_GUARDED_BY(mu_) = false;
  bool released_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_AK_FAKE_DELIVERY_PORT_H_
