#ifndef KEYHOP_SIM_LINKSIM_EVENT_LOG_H_
#define KEYHOP_SIM_LINKSIM_EVENT_LOG_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "kms/base/instant.h"
#include "kms/base/mutex.h"

namespace keyhop {

// One line per event to standard error. The same event of the same subject is written at most
// `kBurst` times in `kWindow`; the next line after that says how many were left out. Subjects and
// events come from the configuration and from literals, so that the table is bounded. Never given
// key bytes. Thread-safe.
class EventLog {
 public:
  static constexpr Duration kWindow = Duration::Seconds(10);
  static constexpr int kBurst = 3;

  enum class Level { kInfo, kWarning, kError };

  // "<subject>: <event>: <detail>". `event` is a literal.
  void Write(Level level, Instant now, absl::string_view subject, absl::string_view event,
             absl::string_view detail);

 private:
  struct Seen {
    Instant window_start;
    int written = 0;
    uint64_t left_out = 0;
  };

  Mutex mu_;
  std::map<std::string, Seen> seen_ ABSL_GUARDED_BY(mu_);
};

// The monotonic clock: the one place where this program reads it.
Instant MonotonicNow();

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_EVENT_LOG_H_
