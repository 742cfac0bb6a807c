#include "trusted_node/daemon/etsi004.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

#include "kms/base/status_macros.h"
#include "trusted_node/daemon/checks.h"
#include "trusted_node/daemon/ports.h"

namespace keyhop {

absl::StatusOr<std::unique_ptr<KeystreamServer>> StartKeystreamServer(HttpsConfig https,
                                                                      Duration window,
                                                                      KeystreamPort& port) {
  if (https.listen.empty()) return nullptr;
  KEYHOP_RETURN_IF_ERROR(At("etsi004", WaitForPort(https.listen, window)));
  KeystreamServerConfig server;
  server.listen = std::move(https.listen);
  server.tls = std::move(https.tls);
  server.tls_groups = std::move(https.tls_groups);
  server.read_certificate = std::move(https.read_certificate);
  server.on_failed_handshake = std::move(https.on_failed_handshake);
  server.admission = https.admission;
  server.handshakes_max = https.handshakes_max;
  server.handshake_timeout = https.handshake_timeout;
  server.idle_timeout = https.idle_timeout;
  server.message_timeout = https.header_timeout;
  server.write_timeout = https.write_timeout;
  const std::string address = server.listen;
  auto started = KeystreamServer::Start(std::move(server), port);
  if (!started.ok()) return At("etsi004", started.status());
  spdlog::info("etsi004: listens at {}", address);
  return started;
}

void AddCounts(const KeystreamServer& server, NodeSnapshot& snapshot) {
  const KeystreamServerCounts counts = server.counts();
  snapshot.counters["etsi004_connections_over_limit"] += counts.refused_over_limit;
  snapshot.counters["etsi004_handshakes_failed"] += counts.failed_handshakes;
  snapshot.counters["etsi004_handshakes_dropped"] += counts.dropped_handshakes;
  snapshot.counters["etsi004_requests"] += counts.requests;
  snapshot.counters["etsi004_requests_malformed"] += counts.malformed;
  snapshot.counters["etsi004_timeouts"] += counts.timeouts;
}

}  // namespace keyhop
