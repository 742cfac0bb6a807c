#include "sim/linksim/event_log.h"

#include <spdlog/spdlog.h>

#include <chrono>

#include "absl/strings/str_cat.h"

namespace keyhop {

void EventLog::Write(Level level, Instant now, absl::string_view subject, absl::string_view event,
                     absl::string_view detail) {
  uint64_t left_out = 0;
  {
    MutexLock lock(mu_);
    Seen& seen =
        seen_.try_emplace(absl::StrCat(subject, "\n", event), Seen{now, 0, 0}).first->second;
    if (now - seen.window_start >= kWindow) {
      left_out = seen.left_out;
      seen = Seen{now, 0, 0};
    }
    if (seen.written >= kBurst) {
      ++seen.left_out;
      return;
    }
    ++seen.written;
  }
  std::string line = absl::StrCat(subject, ": ", event);
  if (!detail.empty()) absl::StrAppend(&line, ": ", detail);
  if (left_out != 0) absl::StrAppend(&line, " (and ", left_out, " times before)");
  switch (level) {
    case Level::kInfo:
      spdlog::info("{}", line);
      break;
    case Level::kWarning:
      spdlog::warn("{}", line);
      break;
    case Level::kError:
      spdlog::error("{}", line);
      break;
  }
}

Instant MonotonicNow() {
  return {std::chrono::duration_cast<std::chrono::nanoseconds>(
              std::chrono::steady_clock::now().time_since_epoch())
              .count()};
}

}  // namespace keyhop
