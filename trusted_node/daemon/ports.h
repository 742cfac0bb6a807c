#ifndef KEYHOP_TRUSTED_NODE_DAEMON_PORTS_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_PORTS_H_

#include <string>

#include "absl/status/status.h"
#include "kms/base/instant.h"

namespace keyhop {

// Waits until nobody listens at `host_port` (HOST:PORT, IPv6 in brackets; names of hosts are looked
// up), for `window` at most: a process that was just killed may not be gone yet. UNAVAILABLE then,
// naming the process that holds the port if /proc tells; INVALID_ARGUMENT for an address that is
// not this machine's.
absl::Status WaitForPort(const std::string& host_port, Duration window);

// "process 123 (keyhopd)" that listens on this TCP port, or "another process".
std::string HolderOfPort(int port);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_PORTS_H_
