#include "trusted_node/daemon/core_loop.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "kms/base/check.h"
#include "kms/base/overload.h"

namespace keyhop {
namespace {

constexpr char kOverloaded[] = "too many requests are under way, try again later";
constexpr char kStopping[] = "this KME is shutting down, try again later";

// Rounds of others' work that a caller who has the core does before it goes back to its own.
constexpr int kTurnsOfACaller = 4;

Instant Now() {
  return {std::chrono::duration_cast<std::chrono::nanoseconds>(
              std::chrono::steady_clock::now().time_since_epoch())
              .count()};
}

std::chrono::steady_clock::time_point ToTimePoint(Instant at) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(at.ns));
}

}  // namespace

CoreLoop::CoreLoop(CoreMachine& machine, RecordLog& log, PeerPort& peers, CoreLoopOptions options)
    : machine_(machine), log_(log), peers_(peers), options_(std::move(options)) {}

CoreLoop::~CoreLoop() { Stop(); }

void CoreLoop::Start() {
  core_ = std::thread([this] { RunCore(); });
  storage_ = std::thread([this] { RunStorage(); });
}

void CoreLoop::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    core_wakes_.SignalAll();
  }
  if (core_.joinable()) core_.join();
  {
    MutexLock lock(mu_);
    storage_ends_ = true;
    storage_wakes_.SignalAll();
  }
  if (storage_.joinable()) storage_.join();
  RefuseAllPending();  // What was asked while the core's thread ended.
}

// ---- Callers.

void CoreLoop::Status(StatusRequest request, StatusDone done) {
  PostRequest({StatusAsked{0, std::move(request)}, std::move(done)});
}
void CoreLoop::Draw(DrawRequest request, KeysDone done) {
  PostRequest({DrawAsked{0, std::move(request)}, std::move(done)});
}
void CoreLoop::Fetch(FetchRequest request, KeysDone done) {
  PostRequest({FetchAsked{0, std::move(request)}, std::move(done)});
}

void CoreLoop::Keystream(KeystreamRequest request, KeystreamDone done) {
  PostRequest({KeystreamAsked{0, std::move(request)}, std::move(done)});
}

// Waits for as long as there is no news: the core bounds how many do, not this queue.
void CoreLoop::Watch(WatchRequest request, WatchDone done) {
  Post({WatchAsked{0, std::move(request)}, std::move(done)});
}

void CoreLoop::Cancel(uint64_t call) {
  {
    MutexLock lock(mu_);
    const auto item = std::find_if(queue_.begin(), queue_.end(), [call](const Item& queued) {
      const auto* draw = queued.input ? std::get_if<DrawAsked>(&*queued.input) : nullptr;
      return draw != nullptr && draw->request.call == call;
    });
    if (item != queue_.end()) {
      --requests_pending_;
      refused_.push_back(std::move(*item));
      queue_.erase(item);
      return;  // Who queued it woke the core.
    }
  }
  Post({CallCancelled{call}, {}});
}

void CoreLoop::PeerUp(NodeId peer) { Post({PeerConnected{std::move(peer)}, {}}); }
void CoreLoop::PeerDown(NodeId peer) { Post({PeerDisconnected{std::move(peer)}, {}}); }
void CoreLoop::PeerSaid(NodeId peer, KxMessage message, Processed processed) {
  Post({PeerMessage{std::move(peer), std::move(message)}, std::move(processed)});
}
void CoreLoop::BlockArrived(LinkId link, BookId book, uint64_t block, SecretBytes bytes,
                            TakenDone taken) {
  Post({PadBlockArrived{0, std::move(link), book, block, std::move(bytes)}, std::move(taken)});
}
void CoreLoop::SwitchLink(LinkId link, bool up, TakenDone done) {
  Post({LinkSwitched{0, std::move(link), up}, std::move(done)});
}
void CoreLoop::SwitchSae(SaeId sae, bool active, TakenDone done) {
  Post({SaeSwitched{0, std::move(sae), active}, std::move(done)});
}
void CoreLoop::SetQuota(QuotaOf of, std::optional<Quota> quota, TakenDone done) {
  Post({QuotaSet{0, std::move(of), std::move(quota)}, std::move(done)});
}
void CoreLoop::ModuleChanged(ModuleStatusChanged status, Processed processed) {
  Post({std::move(status), std::move(processed)});
}
void CoreLoop::AskTakenTops(LinkId link, std::function<void(std::map<BookId, uint64_t>)> answer) {
  Post({std::nullopt,
        Query([link = std::move(link), answer = std::move(answer)](
                  const CoreMachine& machine, Instant) { answer(machine.TakenTops(link)); })});
}
void CoreLoop::AskSnapshot(std::function<void(NodeSnapshot)> answer) {
  Post({std::nullopt,
        Query([this, answer = std::move(answer)](const CoreMachine& machine, Instant now) {
          NodeSnapshot snapshot = machine.Snapshot(now);
          {
            MutexLock lock(mu_);
            snapshot.counters["requests_refused_overload"] = requests_refused_;
            snapshot.counters["peer_messages_dropped_overload"] = peer_messages_dropped_;
          }
          answer(std::move(snapshot));
        })});
}

bool CoreLoop::Enqueue(Item& item, bool may_drop) {
  if (stopping_ || failed_ || (may_drop && queue_.size() >= options_.queue_max)) return false;
  queue_.push_back(std::move(item));
  return true;
}

void CoreLoop::PostRequest(Item item) {
  bool ends = false;
  bool full = false;
  {
    MutexLock lock(mu_);
    ends = stopping_ || failed_;
    full =
        requests_pending_ >= options_.requests_pending_max || queue_.size() >= options_.queue_max;
    if (ends || full) {
      ++requests_refused_;
    } else {
      ++requests_pending_;
      // Whoever has the core looks at the queue before leaving it. A core that is free although
      // something waits is the core thread's, which was woken for that.
      if (busy_ || !queue_.empty()) return queue_.push_back(std::move(item));
      busy_ = true;
    }
  }
  if (ends) return Refuse(std::move(item.callback), Refusal::Kind::kUnavailable, kStopping);
  if (full) return Refuse(std::move(item.callback), Refusal::Kind::kExhausted, kOverloaded);
  Handle(std::move(item));
  StartCommit();
  StepAll(Holder::kCaller);
}

void CoreLoop::Post(Item item) {
  bool wake = false;
  {
    MutexLock lock(mu_);
    const bool is_message =
        item.input.has_value() && std::holds_alternative<PeerMessage>(*item.input);
    const bool may_drop = is_message || std::holds_alternative<TakenDone>(item.callback) ||
                          std::holds_alternative<WatchDone>(item.callback);
    wake = !busy_ && queue_.empty() && refused_.empty();
    if (!Enqueue(item, may_drop)) {
      if (is_message) ++peer_messages_dropped_;
      refused_.push_back(std::move(item));
    }
  }
  if (wake) core_wakes_.Signal();
}

void CoreLoop::Refuse(Callback callback, Refusal::Kind kind, const char* text) {
  const auto refusal = [&] { return Refusal{kind, text, {}, options_.retry_after}; };
  std::visit(Overload{
                 [](std::monostate) {},
                 [&](StatusDone& done) { done(refusal()); },
                 [&](KeysDone& done) { done(refusal()); },
                 [&](KeystreamDone& done) { done(refusal()); },
                 [&](WatchDone& done) { done(refusal()); },
                 [&](TakenDone& done) { done(absl::UnavailableError(text)); },
                 [](Processed& done) { done(); },
                 [](Query&) {},
             },
             callback);
}

// ---- Core thread.

void CoreLoop::RunCore() {
  StepWith(Now(), DeadlineReached{});
  Drain();
  StartCommit();
  while (StepAll(Holder::kCoreThread)) WaitForWork();
  RefuseAllPending();
}

void CoreLoop::WaitForWork() {
  MutexLock lock(mu_);
  while (true) {
    const bool due = deadline_.has_value() && *deadline_ <= Now();
    if (!busy_ &&
        (due || stopping_ || failed_ || durable_ || !queue_.empty() || !refused_.empty())) {
      break;
    }
    // Who has the core does what is due, and says so when it leaves.
    sleeps_until_ = busy_ ? std::nullopt : deadline_;
    if (sleeps_until_.has_value()) {
      core_wakes_.WaitUntil(mu_, ToTimePoint(*sleeps_until_));
    } else {
      core_wakes_.Wait(mu_);
    }
  }
  busy_ = true;
}

// ---- Whoever has the core.

bool CoreLoop::StepAll(Holder holder) {
  Work work;
  for (int turn = 0;; ++turn) {
    const bool may_go_on = holder == Holder::kCoreThread || turn < kTurnsOfACaller;
    switch (TakeWork(work, holder, may_go_on)) {
      case Next::kWork:
        DoWork(work);
        break;
      case Next::kLeft:
        return true;
      case Next::kEnd:
        return false;
    }
  }
}

CoreLoop::Next CoreLoop::TakeWork(Work& work, Holder holder, bool may_go_on) {
  const std::optional<Instant> deadline = machine_.NextDeadline();
  bool wake = false;
  {
    MutexLock lock(mu_);
    requests_pending_ -= std::exchange(answered_, 0);
    const bool waits = durable_ || !queue_.empty() || !refused_.empty();
    const bool due = !stopping_ && deadline.has_value() && *deadline <= Now();
    const bool end = failed_ || (stopping_ && !in_flight_ && !waits);
    if ((waits || due) && !failed_ && may_go_on) {
      work.items.swap(queue_);
      work.refused.swap(refused_);
      work.durable = std::exchange(durable_, false);
      work.stopping = stopping_;
      return Next::kWork;
    }
    // A loop that ends is not left any more: what comes now is refused.
    if (end && holder == Holder::kCoreThread) return Next::kEnd;
    busy_ = false;
    deadline_ = stopping_ ? std::nullopt : deadline;
    wake = waits || due || end ||
           (deadline_.has_value() && (!sleeps_until_.has_value() || *deadline_ < *sleeps_until_));
  }
  if (wake) core_wakes_.Signal();
  return Next::kLeft;
}

void CoreLoop::DoWork(Work& work) {
  if (work.durable) {
    in_flight_ = false;
    gate_.OnDurable();
    StartCommit();  // The disk works while the answers leave.
    Drain();
  }
  for (Item& item : work.refused) {
    Refuse(std::move(item.callback), Refusal::Kind::kExhausted, kOverloaded);
  }
  work.refused.clear();
  for (Item& item : work.items) Handle(std::move(item));
  work.items.clear();
  DoWhatIsDue(work.stopping);
  StartCommit();
}

void CoreLoop::DoWhatIsDue(bool stopping) {
  // A core that is asked to stop does not begin anything new.
  if (stopping) return;
  const Instant now = Now();
  const std::optional<Instant> deadline = machine_.NextDeadline();
  if (!deadline.has_value() || now < *deadline) return;
  StepWith(now, DeadlineReached{});
  Drain();
}

void CoreLoop::Handle(Item item) {
  const Instant now = Now();
  if (Query* query = std::get_if<Query>(&item.callback)) {
    (*query)(machine_, now);
    return;
  }
  Processed processed;
  if (Processed* given = std::get_if<Processed>(&item.callback)) processed = std::move(*given);
  const bool is_request = std::holds_alternative<StatusDone>(item.callback) ||
                          std::holds_alternative<KeysDone>(item.callback) ||
                          std::holds_alternative<KeystreamDone>(item.callback);
  const bool may_drop = std::holds_alternative<PeerMessage>(*item.input) ||
                        std::holds_alternative<TakenDone>(item.callback) ||
                        std::holds_alternative<WatchDone>(item.callback) || is_request;
  if (may_drop && gate_.full()) {
    if (std::holds_alternative<PeerMessage>(*item.input)) {
      MutexLock lock(mu_);
      ++peer_messages_dropped_;
    }
    if (is_request) ++answered_;
    Refuse(std::move(item.callback), Refusal::Kind::kExhausted, kOverloaded);
  } else {
    if (is_request || std::holds_alternative<TakenDone>(item.callback) ||
        std::holds_alternative<WatchDone>(item.callback)) {
      const uint64_t token = next_token_++;
      std::visit(
          [token](auto& input) {
            if constexpr (requires { input.token; }) input.token = token;
          },
          *item.input);
      pending_.emplace(token, std::move(item.callback));
    }
    StepWith(now, *std::move(item.input));
    Drain();
  }
  if (processed) processed();
}

void CoreLoop::StepWith(Instant now, Input input) {
  gate_.Push(machine_.Step(now, std::move(input)));
}

void CoreLoop::Drain() {
  while (std::optional<Output> output = gate_.Pop()) Dispatch(*std::move(output));
}

CoreLoop::Callback CoreLoop::TakePending(uint64_t token) {
  auto node = pending_.extract(token);
  KEYHOP_CHECK(!node.empty(), "the core answers each input once");
  return std::move(node.mapped());
}

void CoreLoop::Dispatch(Output output) {
  std::visit(
      Overload{
          [&](SendToPeer& m) { peers_.Send(m.peer, std::move(m.message)); },
          [&](PadBlockTaken& m) { std::get<TakenDone>(TakePending(m.token))(std::move(m.status)); },
          [&](SwitchDone& m) { std::get<TakenDone>(TakePending(m.token))(std::move(m.status)); },
          [&](StatusAnswered& m) {
            ++answered_;
            std::get<StatusDone>(TakePending(m.token))(std::move(m.outcome));
          },
          [&](KeysAnswered& m) {
            ++answered_;
            std::get<KeysDone>(TakePending(m.token))(std::move(m.outcome));
          },
          [&](KeystreamAnswered& m) {
            ++answered_;
            std::get<KeystreamDone>(TakePending(m.token))(std::move(m.outcome));
          },
          [&](WatchAnswered& m) {
            std::get<WatchDone>(TakePending(m.token))(std::move(m.outcome));
          },
          [&](AlarmRaised& m) {
            if (options_.on_alarm) options_.on_alarm(m);
          },
      },
      output);
}

void CoreLoop::StartCommit() {
  std::vector<Record> batch = gate_.TakeBatch();
  if (batch.empty()) return;
  in_flight_ = true;
  MutexLock lock(mu_);
  batch_ = std::move(batch);
  storage_wakes_.Signal();
}

void CoreLoop::RefuseAllPending() {
  std::vector<Item> waiting;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    waiting.swap(queue_);
    for (Item& item : refused_) waiting.push_back(std::move(item));
    refused_.clear();
  }
  for (Item& item : waiting) {
    Refuse(std::move(item.callback), Refusal::Kind::kUnavailable, kStopping);
  }
  auto pending = std::move(pending_);
  for (auto& [token, callback] : pending) {
    Refuse(std::move(callback), Refusal::Kind::kUnavailable, kStopping);
  }
}

// ---- Storage thread.

void CoreLoop::RunStorage() {
  while (true) {
    std::vector<Record> batch;
    {
      MutexLock lock(mu_);
      while (!batch_.has_value() && !storage_ends_) storage_wakes_.Wait(mu_);
      if (!batch_.has_value()) return;
      batch = *std::exchange(batch_, std::nullopt);
    }
    const absl::Status status = log_.Commit(batch);
    if (!status.ok()) {
      // Memory is ahead of the disk now: nothing may leave any more.
      if (options_.on_storage_failure) options_.on_storage_failure(status);
      MutexLock lock(mu_);
      failed_ = true;
      core_wakes_.SignalAll();
      return;
    }
    MutexLock lock(mu_);
    durable_ = true;
    if (!busy_) core_wakes_.Signal();  // Who has the core looks before it leaves.
  }
}

}  // namespace keyhop
