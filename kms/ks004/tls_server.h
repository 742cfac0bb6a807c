#ifndef KEYHOP_KMS_KS004_TLS_SERVER_H_
#define KEYHOP_KMS_KS004_TLS_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kms/ak/admission.h"
#include "kms/ak/https_server.h"
#include "kms/base/instant.h"
#include "kms/core/keystream/request.h"
#include "kms/tls/asio_context.h"

namespace keyhop {

struct KeystreamServerConfig {
  std::string listen = "127.0.0.1:0";  // As of HttpsConfig, like all that has its name there.
  PemFiles tls;
  std::vector<std::string> tls_groups = {};
  CertificateReader read_certificate;  // Required.
  std::function<void(const std::string& text)> on_failed_handshake = {};
  AdmissionLimits admission = {};  // Beyond them: the connection is closed after the handshake.
  size_t handshakes_max = 1024;
  Duration handshake_timeout = Duration::Seconds(10);
  Duration idle_timeout = Duration::Seconds(75);
  Duration message_timeout = Duration::Seconds(10);  // From its first byte to its last.
  Duration write_timeout = Duration::Seconds(30);
};

// What happened since the start; each only grows.
struct KeystreamServerCounts {
  uint64_t accepted = 0;
  uint64_t refused_over_limit = 0;
  uint64_t failed_handshakes = 0;
  uint64_t dropped_handshakes = 0;
  uint64_t requests = 0;
  uint64_t malformed = 0;
  uint64_t timeouts = 0;
};

// ETSI GS QKD 004 in the two binary forms of codec.h over TLS 1.2 and 1.3 with a required client
// certificate. Requests of one connection are answered one after the other, in order; each in its
// own dialect. What cannot be read gets an error message and ends the connection. A client that is
// silent, slow or rude holds nobody up but itself, as of HttpsServer.
//
// One thread of the server's own. Thread-safe.
class KeystreamServer {
 public:
  // Listens before it returns. Errors as of HttpsServer::Start.
  static absl::StatusOr<std::unique_ptr<KeystreamServer>> Start(KeystreamServerConfig config,
                                                                KeystreamPort& port);
  ~KeystreamServer();  // Stops.
  KeystreamServer(const KeystreamServer&) = delete;
  KeystreamServer& operator=(const KeystreamServer&) = delete;

  uint16_t port() const;
  KeystreamServerCounts counts() const;
  // Reads the TLS files again, for connections to come; on an error the old ones stay in use.
  absl::Status ReloadTls();
  // Closes the listener and idle connections, lets calls under way be answered, and waits for that.
  void Stop();

 private:
  class Impl;
  explicit KeystreamServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_KS004_TLS_SERVER_H_
