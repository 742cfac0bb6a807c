#ifndef KEYHOP_SIM_LINKSIM_LINK_SIMULATOR_H_
#define KEYHOP_SIM_LINKSIM_LINK_SIMULATOR_H_

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/base/mutex.h"
#include "sim/linksim/event_log.h"
#include "sim/linksim/link_config.h"
#include "sim/linksim/run_counter.h"
#include "sim/linksim/simulated_link.h"

namespace keyhop {

// All links of one configuration and the thread that gives them time. Thread-safe.
class LinkSimulator {
 public:
  static constexpr Duration kTick = Duration::Millis(5);

  // Locks the state folder, begins a run of every link and starts the clock. `on_failure` is called
  // on the clock's thread, once, when a link cannot go on; then nothing is made any more.
  static absl::StatusOr<std::unique_ptr<LinkSimulator>> Start(
      const LinkSimConfig& config, Duration lock_patience,
      std::function<void(absl::Status)> on_failure);
  ~LinkSimulator();

  // In the order of the configuration.
  SimulatedLink& link(size_t index) { return *links_[index]; }

 private:
  LinkSimulator(StateDir state, std::function<void(absl::Status)> on_failure)
      : state_(std::move(state)), on_failure_(std::move(on_failure)) {}
  void RunClock();
  absl::Status TickAll();

  const StateDir state_;
  const std::function<void(absl::Status)> on_failure_;
  EventLog log_;
  std::vector<std::unique_ptr<SimulatedLink>> links_;
  Mutex mu_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread clock_;
};

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_LINK_SIMULATOR_H_
