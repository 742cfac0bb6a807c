#ifndef KEYHOP_TRUSTED_NODE_DAEMON_CORE_LOOP_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_CORE_LOOP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "kms/base/mutex.h"
#include "kms/core/delivery/request.h"
#include "kms/core/keystream/request.h"
#include "trusted_node/core/node/node.h"
#include "trusted_node/core/node/port.h"

namespace keyhop {

// The core that a loop drives: NodeCore in the daemon (NodeMachine in node_machine.h).
class CoreMachine {
 public:
  virtual ~CoreMachine() = default;
  virtual Effects Step(Instant now, Input input) = 0;
  virtual std::optional<Instant> NextDeadline() const = 0;
  virtual std::map<BookId, uint64_t> TakenTops(const LinkId& link) const = 0;
  virtual NodeSnapshot Snapshot(Instant now) const = 0;
};

// Makes a batch of records durable, all or nothing. Blocks; called by one thread at a time.
class RecordLog {
 public:
  virtual ~RecordLog() = default;
  virtual absl::Status Commit(const std::vector<Record>& batch) = 0;
};

struct CoreLoopOptions {
  // Requests of SAEs accepted and not answered yet; past it they are refused.
  size_t requests_pending_max = 4096;
  // Everything waiting for the core. A backstop: callers bound what they have under way.
  size_t queue_max = 65'536;
  // What a refused caller is told.
  Duration retry_after = Duration::Seconds(1);
  // A write or sync failed: what was said since then must not leave. The daemon ends the process
  // here; if it returns, the loop says nothing more.
  std::function<void(absl::Status)> on_storage_failure;
  std::function<void(const AlarmRaised&)> on_alarm;
};

// Steps a node's core and makes its records durable: the only place where the pure core meets clock
// and threads. One thread at a time has the core. A request of an SAE that finds it free is stepped
// by its caller, without a hand-over to another thread, and that caller then steps what came
// meanwhile; everything else, and what is due, is stepped by the loop's own thread. Outputs leave
// through NodeGate, so that what they depend on is durable first; one batch is in flight at a time,
// and what gathers meanwhile is the next one (group commit). A draw writes nothing: it passes
// without the disk.
//
// Thread-safe but for Start, Stop and the destructor, which one thread calls. Callers must be gone
// when Stop returns: what they ask later is not answered.
class CoreLoop final : public DeliveryPort, public NodePort, public KeystreamPort {
 public:
  // All must outlive the loop.
  CoreLoop(CoreMachine& machine, RecordLog& log, PeerPort& peers, CoreLoopOptions options);
  ~CoreLoop() override;

  // Begins with DeadlineReached, as a core asks for.
  void Start();
  // Steps what is queued, makes it durable, lets out what waited for that, refuses all that is
  // still open (UNAVAILABLE) and ends both threads. Callers are refused from the beginning of the
  // call.
  void Stop();

  // DeliveryPort.
  void Status(StatusRequest request, std::function<void(Outcome<PairStatus>)> done) override;
  void Draw(DrawRequest request, std::function<void(Outcome<KeyContainer>)> done) override;
  void Fetch(FetchRequest request, std::function<void(Outcome<KeyContainer>)> done) override;
  void Watch(WatchRequest request, std::function<void(Outcome<WatchAnswer>)> done) override;
  uint64_t NewCall() override { return ++last_call_; }
  void Cancel(uint64_t call) override;

  // KeystreamPort.
  void Keystream(KeystreamRequest request,
                 std::function<void(Outcome<KeystreamAnswer>)> done) override;

  // NodePort.
  void PeerUp(NodeId peer) override;
  void PeerDown(NodeId peer) override;
  void PeerSaid(NodeId peer, KxMessage message, std::function<void()> processed) override;
  void BlockArrived(LinkId link, BookId book, uint64_t block, SecretBytes bytes,
                    std::function<void(absl::Status)> taken) override;
  void ModuleChanged(ModuleStatusChanged status, std::function<void()> processed) override;
  void AskTakenTops(LinkId link, std::function<void(std::map<BookId, uint64_t>)> answer) override;
  void AskSnapshot(std::function<void(NodeSnapshot)> answer) override;

  // Takes a link out of use or back into it. `done` as of NodePort::BlockArrived: OK once that is
  // durable, NOT_FOUND for no such link here, UNAVAILABLE when overloaded or stopping.
  void SwitchLink(LinkId link, bool up, std::function<void(absl::Status)> done);
  // Suspends an SAE of this node or takes it back. `done`: likewise.
  void SwitchSae(SaeId sae, bool active, std::function<void(absl::Status)> done);
  // Sets an operator's quota, or has the configured one again. `done`: likewise, and
  // INVALID_ARGUMENT for what is no quota.
  void SetQuota(QuotaOf of, std::optional<Quota> quota, std::function<void(absl::Status)> done);

 private:
  using StatusDone = std::function<void(Outcome<PairStatus>)>;
  using KeysDone = std::function<void(Outcome<KeyContainer>)>;
  using KeystreamDone = std::function<void(Outcome<KeystreamAnswer>)>;
  using TakenDone = std::function<void(absl::Status)>;  // Of blocks, and of links switched.
  using Processed = std::function<void()>;
  using WatchDone = std::function<void(Outcome<WatchAnswer>)>;
  using Query = std::function<void(const CoreMachine&, Instant)>;
  using Callback = std::variant<std::monostate, StatusDone, KeysDone, KeystreamDone, TakenDone,
                                Processed, Query, WatchDone>;
  // What a caller wants: an input with the callback of its answer, or a query alone.
  struct Item {
    std::optional<Input> input;
    Callback callback;
  };

  // Requests of SAEs are counted and limited; the rest is bounded by who calls.
  void PostRequest(Item item);
  void Post(Item item);
  bool Enqueue(Item& item, bool may_drop) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Core thread.
  void RunCore();
  // Waits for something to do, and takes the core for it.
  void WaitForWork();

  // Whoever has the core.
  enum class Holder { kCoreThread, kCaller };
  // What waits for the core, taken out of the queues.
  struct Work {
    std::vector<Item> items = {};
    std::vector<Item> refused = {};
    bool durable = false;
    bool stopping = false;
  };
  // Steps what waits, what gathers meanwhile and what is due, then leaves the core; a caller leaves
  // it with work to the core's thread rather than serve others for long. False, for the core's
  // thread only, and the core is kept: a commit failed, or the loop stops and all is done.
  bool StepAll(Holder holder);
  enum class Next { kWork, kLeft, kEnd };
  Next TakeWork(Work& work, Holder holder, bool may_go_on);
  void DoWork(Work& work);
  void DoWhatIsDue(bool stopping);
  void Handle(Item item);
  void StepWith(Instant now, Input input);
  void Drain();
  void Dispatch(Output output);
  void StartCommit();
  Callback TakePending(uint64_t token);
  void RefuseAllPending();

  // Storage thread.
  void RunStorage();

  // Answers that the request cannot be taken now.
  void Refuse(Callback callback, Refusal::Kind kind, const char* text);

  CoreMachine& machine_;
  RecordLog& log_;
  PeerPort& peers_;
  const CoreLoopOptions options_;

  std::atomic<uint64_t> last_call_ = 0;

  Mutex mu_;
  CondVar core_wakes_;
  CondVar storage_wakes_;
  // Somebody has the core. The loop's own thread has it from the beginning, for the first step.
  bool busy_ ABSL_GUARDED_BY(mu_) = true;
  std::vector<Item> queue_ ABSL_GUARDED_BY(mu_);
  // Over a limit: refused by whoever has the core, because these callbacks never run inside the
  // call.
  std::vector<Item> refused_ ABSL_GUARDED_BY(mu_);
  size_t requests_pending_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t requests_refused_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t peer_messages_dropped_ ABSL_GUARDED_BY(mu_) = 0;
  // When the core is to be stepped next, and until when the core's thread sleeps if nobody wakes
  // it; nullopt: for ever.
  std::optional<Instant> deadline_ ABSL_GUARDED_BY(mu_);
  std::optional<Instant> sleeps_until_ ABSL_GUARDED_BY(mu_);
  std::optional<std::vector<Record>> batch_ ABSL_GUARDED_BY(mu_);
  bool durable_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool storage_ends_ ABSL_GUARDED_BY(mu_) = false;
  bool failed_ ABSL_GUARDED_BY(mu_) = false;

  // Of whoever has the core.
  NodeGate gate_;
  bool in_flight_ = false;
  uint64_t next_token_ = 1;
  size_t answered_ = 0;  // Requests, since the last look at mu_.
  absl::flat_hash_map<uint64_t, Callback> pending_;

  std::thread core_;
  std::thread storage_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_CORE_LOOP_H_
