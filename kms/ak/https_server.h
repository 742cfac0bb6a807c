#ifndef KEYHOP_KMS_AK_HTTPS_SERVER_H_
#define KEYHOP_KMS_AK_HTTPS_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/ak/admission.h"
#include "kms/ak/http.h"
#include "kms/base/instant.h"
#include "kms/tls/certificate.h"
#include "kms/tls/psk_context.h"

namespace keyhop {

// Says whose certificate (DER) this is, or why it names nobody.
using CertificateReader = std::function<absl::StatusOr<std::string>(const std::string& der)>;
// The same of a client that showed a pre-shared key instead.
using PskReader = std::function<absl::StatusOr<std::string>(const PskPeer& peer)>;

struct HttpsConfig {
  std::string listen = "127.0.0.1:0";        // IP:PORT or [IPv6]:PORT; port 0: any free one.
  PemFiles tls;                              // peer_ca: who vouches for clients, and nobody else.
  std::vector<std::string> tls_groups = {};  // As MakeServerContext takes them.
  CertificateReader read_certificate;        // Required.
  // Clients may come with a pre-shared key too, where both are there: as SetUpPsk does it.
  std::optional<PskSetUp> psk = {};
  PskReader read_psk = {};
  // Told, on a thread of the server, who failed in the handshake ("IP:PORT: why"), with the field
  // that was wrong. Anybody who can connect can cause it: the listener bounds what it writes.
  std::function<void(const std::string& text)> on_failed_handshake = {};
  // A connection's certificate is read again for a request that comes this long after it was read
  // last. 0: for each request.
  Duration identity_life = Duration::Seconds(1);
  int threads = 1;
  AdmissionLimits admission = {};  // Beyond them: 503.
  // Connections without a finished handshake; beyond it the oldest is dropped. Those that are told
  // of a limit count here too.
  size_t handshakes_max = 1024;
  size_t body_max_bytes = size_t{1} << 20;     // Beyond it: 413.
  size_t header_max_bytes = size_t{16} << 10;  // Beyond it: 431.
  Duration handshake_timeout = Duration::Seconds(10);
  Duration idle_timeout = Duration::Seconds(75);    // From the last answer to the first byte.
  Duration header_timeout = Duration::Seconds(10);  // From there to a whole header.
  Duration body_timeout = Duration::Seconds(30);
  Duration write_timeout = Duration::Seconds(30);
};

// What happened since the start; each only grows.
struct HttpsCounts {
  uint64_t accepted = 0;
  uint64_t refused_over_limit = 0;
  uint64_t failed_handshakes = 0;
  uint64_t dropped_handshakes = 0;
  uint64_t requests = 0;
  uint64_t requests_over_rate = 0;
  uint64_t timeouts = 0;
  std::map<int, uint64_t> answers = {};  // By status code, of those that were given.
};

// HTTP/1.1 and 1.0 over TLS 1.2 and 1.3 with a required client certificate (ETSI GS QKD 014
// V1.1.1 §5.1), or a pre-shared key where that is set up. Keep-alive, pipelining (answered in
// order, one at a time), chunked bodies, Expect: 100-continue. TLS sessions are never resumed: each
// connection shows its certificate. A client that is silent, slow or rude holds nobody up but
// itself: every phase has its time, and who has not shown a certificate yet shares a budget of its
// own.
//
// Connections are spread over `threads` threads of the server's own; the handler runs on them.
// Thread-safe.
class HttpsServer {
 public:
  // Listens before it returns. INVALID_ARGUMENT: bad address, or a file of `tls` that
  // cannot be used, and why; UNAVAILABLE: the address is taken.
  static absl::StatusOr<std::unique_ptr<HttpsServer>> Start(HttpsConfig config,
                                                            HttpHandler handler);
  ~HttpsServer();  // Stops.
  HttpsServer(const HttpsServer&) = delete;
  HttpsServer& operator=(const HttpsServer&) = delete;

  uint16_t port() const;
  HttpsCounts counts() const;

  // Reads the TLS files again, for connections to come; on an error the old ones stay in use.
  absl::Status ReloadTls();

  // Closes the listener and idle connections, lets requests under way be answered, and waits for
  // that: the handler must still be able to answer. A second call does nothing.
  void Stop();

 private:
  class Impl;
  explicit HttpsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_HTTPS_SERVER_H_
