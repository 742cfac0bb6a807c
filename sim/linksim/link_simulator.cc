#include "sim/linksim/link_simulator.h"

#include <chrono>
#include <utility>

#include "kms/base/status_macros.h"

namespace keyhop {

absl::StatusOr<std::unique_ptr<LinkSimulator>> LinkSimulator::Start(
    const LinkSimConfig& config, Duration lock_patience,
    std::function<void(absl::Status)> on_failure) {
  KEYHOP_RETURN_IF_ERROR(CheckTlsFiles(config.tls));
  KEYHOP_ASSIGN_OR_RETURN(StateDir state, StateDir::Open(config.state_dir, lock_patience));
  std::unique_ptr<LinkSimulator> simulator(
      new LinkSimulator(std::move(state), std::move(on_failure)));
  for (const LinkConfig& link : config.links) {
    simulator->links_.push_back(
        std::make_unique<SimulatedLink>(link, config.tls, simulator->state_, simulator->log_));
  }
  KEYHOP_RETURN_IF_ERROR(simulator->TickAll());
  simulator->clock_ = std::thread([raw = simulator.get()] { raw->RunClock(); });
  return simulator;
}

LinkSimulator::~LinkSimulator() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wake_.SignalAll();
  }
  if (clock_.joinable()) clock_.join();
  for (const auto& link : links_) link->Stop();
}

absl::Status LinkSimulator::TickAll() {
  for (const auto& link : links_) KEYHOP_RETURN_IF_ERROR(link->Tick(MonotonicNow()));
  return absl::OkStatus();
}

void LinkSimulator::RunClock() {
  while (true) {
    {
      MutexLock lock(mu_);
      const auto next = std::chrono::steady_clock::now() + std::chrono::nanoseconds(kTick.ns);
      while (!stopping_ && std::chrono::steady_clock::now() < next) wake_.WaitUntil(mu_, next);
      if (stopping_) return;
    }
    if (absl::Status status = TickAll(); !status.ok()) {
      on_failure_(std::move(status));
      return;
    }
  }
}

}  // namespace keyhop
