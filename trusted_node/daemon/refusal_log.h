#ifndef KEYHOP_TRUSTED_NODE_DAEMON_REFUSAL_LOG_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_REFUSAL_LOG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "kms/base/instant.h"
#include "kms/base/line_limit.h"
#include "kms/base/mutex.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop {

// Logs who was refused for its certificate or failed in the handshake, and why: at most `lines_max`
// lines in 10 s, since any stranger can cause them; counts all. Thread-safe.
class RefusalLog {
 public:
  RefusalLog(int lines_max, std::function<Instant()> now)
      : limit_(lines_max, Duration::Seconds(10)), now_(std::move(now)) {}

  // For the listener `what`, a name that outlives this object. The result must not outlive it.
  RefusalListener For(const char* what);
  // Of each listener since the start, whether logged or not.
  std::map<std::string, uint64_t> counts() const;

 private:
  LineLimit limit_;
  const std::function<Instant()> now_;
  mutable Mutex mu_;
  std::map<std::string, uint64_t> counts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_REFUSAL_LOG_H_
