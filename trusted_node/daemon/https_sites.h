#ifndef KEYHOP_TRUSTED_NODE_DAEMON_HTTPS_SITES_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_HTTPS_SITES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "keyhop/config/v1/config.pb.h"
#include "kms/ak/https_server.h"
#include "kms/core/delivery/request.h"
#include "kms/skip/skip_server.h"

// HTTPS listeners as the configuration wants them.

namespace keyhop {

// How many threads serve SAEs over REST.
int RestThreads(const config::v1::Rest& rest);

// Certificates and limits of a listener at `address` for clients that `client_ca` vouches for.
HttpsConfig HttpsConfigOf(const config::v1::Config& config, const std::string& address,
                          const std::string& client_ca);

// Adds what happened at a listener as PREFIX_connections_over_limit and so on.
void AddHttpsCounts(const std::string& prefix, const HttpsCounts& counts,
                    std::map<std::string, uint64_t>& counters);

// SKIP for encryptors; null if skip.listen is empty. `https` as for REST, at skip.listen. `tell` is
// told of files that cannot be used any more; it lives as long as the server. Errors: as
// SkipServer, PskFile and EntropyDevice.
absl::StatusOr<std::unique_ptr<SkipServer>> StartSkip(
    const config::v1::Config& config, HttpsConfig https,
    const std::function<void(const std::string& text)>& tell, DeliveryPort& port);

// What would stop StartSkip: its files.
absl::Status CheckSkipFiles(const config::v1::Skip& skip);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_HTTPS_SITES_H_
