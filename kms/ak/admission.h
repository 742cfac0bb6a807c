#ifndef KEYHOP_KMS_AK_ADMISSION_H_
#define KEYHOP_KMS_AK_ADMISSION_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "kms/base/instant.h"
#include "kms/base/mutex.h"

namespace keyhop {

struct AdmissionLimits {
  size_t connections_max = 4096;          // In all.
  size_t address_connections_max = 4096;  // From one IP address.
  size_t caller_connections_max = 1024;   // Of one certificate's ID.
  uint32_t requests_per_second = 0;       // Of one certificate's ID; 0: no limit.
  uint32_t requests_burst = 1000;         // That many at once.
};

// Who of those that have shown their certificate may have how many connections, and send how many
// requests. One caller's excess is refused to that caller alone. Bounded: callers are counted while
// they are connected, and for as long as their allowance of requests is not full.
//
// Thread-safe.
class Admission {
 public:
  explicit Admission(const AdmissionLimits& limits) : limits_(limits) {}

  // Counts a connection in, to be told to Leave(); or says which limit is reached.
  std::optional<std::string> Enter(const std::string& address, const std::string& caller);
  void Leave(Instant now, const std::string& address, const std::string& caller);

  // Counts a request of a caller that is connected; or says after what time it may come again.
  std::optional<Duration> Request(Instant now, const std::string& caller);

 private:
  struct Caller {
    size_t connections = 0;
    // When all allowances would be back; each request moves it on by its share of a second.
    Instant full_at = {};
  };

  const AdmissionLimits limits_;
  Mutex mu_;
  size_t connections_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, size_t> addresses_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Caller> callers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_ADMISSION_H_
