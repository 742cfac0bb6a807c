#include "kms/ak/tls_loop.h"

#include "kms/ak/http.h"

namespace keyhop {
namespace {

constexpr std::chrono::milliseconds kSweepEvery(200);

}  // namespace

void Loop::Add(LoopMember* connection, LoopShared& shared) {
  connections_.insert(connection);
  strangers_.push_back(connection);
  if (strangers_.size() > shared.strangers_max) DropOldestStranger(shared);
}

void Loop::Remove(LoopMember* connection, LoopShared& shared) {
  NotStrange(connection);
  connections_.erase(connection);
  if (shared.stopping) sweep_.cancel();
}

void Loop::DropOldestStranger(LoopShared& shared) {
  if (strangers_.empty()) return;
  ++shared.loop_counters.dropped_handshakes;
  strangers_.front()->Close();
  strangers_.pop_front();
}

void Loop::Sweep(LoopShared& shared) {
  const Clock::time_point now = Clock::now();
  for (LoopMember* connection : connections_) {
    if (!connection->Overdue(now)) continue;
    ++shared.loop_counters.timeouts;
    connection->Close();
  }
  if (shared.stopping && connections_.empty()) return;
  sweep_.expires_after(kSweepEvery);
  sweep_.async_wait([this, &shared](error_code) { Sweep(shared); });
}

void Loop::End() {
  for (LoopMember* connection : connections_) {
    if (connection->idle()) connection->Close();
  }
  work_.reset();
  sweep_.cancel();
}

const std::string& Loop::Date() {
  const std::time_t now = std::time(nullptr);
  if (now != date_second_) date_ = HttpDate(now);
  date_second_ = now;
  return date_;
}

}  // namespace keyhop
