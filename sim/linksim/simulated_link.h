#ifndef KEYHOP_SIM_LINKSIM_SIMULATED_LINK_H_
#define KEYHOP_SIM_LINKSIM_SIMULATED_LINK_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "kms/base/instant.h"
#include "kms/base/mutex.h"
#include "sim/linksim/block_backlog.h"
#include "sim/linksim/block_source.h"
#include "sim/linksim/event_log.h"
#include "sim/linksim/link_config.h"
#include "sim/linksim/module_session.h"
#include "sim/linksim/run_counter.h"

namespace keyhop {

// A module pair of a QKD link: makes key blocks at the link's rate and hands the same numbered
// blocks to the KMs at both ends over Kq-1. What not both KMs have acknowledged stays in memory, up
// to a limit; then no key is made. A KM that is away is tried again with growing pauses of at most
// a second, and gets what it lacks when it is back; meanwhile the other end goes on up to the
// limit. A new run begins at each start, and when a KM's account does not fit this pair's.
//
// Time comes in by Tick only. Thread-safe.
class SimulatedLink final : public SessionListener {
 public:
  static constexpr Duration kBackoffMin = Duration::Millis(50);
  static constexpr Duration kBackoffMax = Duration::Seconds(1);
  static constexpr Duration kAnswerWait = Duration::Seconds(10);
  static constexpr Duration kStatusInterval = Duration::Seconds(10);

  // `state` and `log` must outlive the link.
  SimulatedLink(LinkConfig config, const TlsFiles& tls, const StateDir& state, EventLog& log);
  ~SimulatedLink() override;

  // Does what is due: begins runs, attaches modules, makes and sends blocks. An error, of writing
  // the run number, means that the pair cannot go on; no block has been made under that number.
  absl::Status Tick(Instant now);

  // Ends both streams and waits until gRPC has let go of them. No Tick may follow.
  void Stop();

  struct Counters {
    uint64_t run = 0;                               // 0: none yet
    uint64_t blocks_made = 0;                       // In this run.
    size_t backlog_blocks = 0;                      // In memory now.
    std::array<uint64_t, kEnds> acknowledged = {};  // In this run.
    bool enabled = true;                            // Both KMs want key.
  };
  Counters counters() const;

 private:
  // One module: the end of the pair that feeds one KM.
  struct Module {
    std::unique_ptr<kq1::v1::KeyManagerQ::Stub> stub;
    std::unique_ptr<ModuleSession> session;  // Null: not attached, next attempt at `retry_at`.
    bool attached = false;                   // `Attached` was heard on this stream.
    bool writing = false;
    bool closing = false;
    bool ended = false;
    Instant started_at;
    Instant retry_at;
    Duration backoff = kBackoffMin;
    bool enabled = true;  // The KM's last command.
    bool status_due = false;
    Instant status_sent_at;
    uint64_t next_to_send = 0;  // On this stream.
    uint64_t sent_below = 0;    // In this run, on any stream.
    uint64_t window = 0;
  };

  void OnMessage(int end, const kq1::v1::ManagerMessage& message) override;
  void OnWritten(int end) override;
  void OnClosing(int end) override;
  void OnEnded(int end, const grpc::Status& status) override;

  Module& At(int end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return modules_[static_cast<size_t>(end)];
  }
  bool Enabled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Reap(int end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status BeginRunIfDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AttachIfDue(int end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MakeBlocks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Pump(int end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnAttached(int end, const kq1::v1::Attached& attached) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnBlockAck(int end, const kq1::v1::BlockAck& ack) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnCommand(int end, const kq1::v1::ModuleCommand& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The KM broke the protocol: this stream ends, and is tried again later.
  void Breach(int end, absl::string_view what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A run above `floor` is needed; both streams end first.
  void RequestRun(int end, uint64_t floor, absl::string_view why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Log(EventLog::Level level, int end, absl::string_view event, absl::string_view detail)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const LinkConfig config_;
  const StateDir& state_;
  EventLog& log_;
  const BlockSource source_;

  mutable Mutex mu_;
  CondVar ended_;
  Instant now_ ABSL_GUARDED_BY(mu_);  // Of the last Tick.
  std::array<Module, kEnds> modules_ ABSL_GUARDED_BY(mu_);
  std::optional<BlockBacklog> backlog_ ABSL_GUARDED_BY(mu_);  // Of the run under way.
  BlockPace pace_ ABSL_GUARDED_BY(mu_);
  std::optional<uint64_t> run_floor_ ABSL_GUARDED_BY(mu_) = 0;  // Set: a new run is due.
  bool paused_ ABSL_GUARDED_BY(mu_) = false;  // The backlog has been full since `paused_since_`.
  Instant paused_since_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool pause_told_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_SIMULATED_LINK_H_
