#ifndef KEYHOP_KMS_SKIP_SKIP_SERVER_H_
#define KEYHOP_KMS_SKIP_SKIP_SERVER_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/ak/https_server.h"
#include "kms/core/delivery/request.h"
#include "kms/skip/skip_api.h"
#include "kms/skip/skip_peers.h"

namespace keyhop {

// SKIP over HTTPS, for encryptors that show a pre-shared key or a certificate. Thread-safe.
class SkipServer {
 public:
  // `config.read_certificate` gives SAE IDs, as for REST; `psk` the keys, whose identities `peers`
  // maps to SAEs. A key that left its file, or was replaced there, is refused on the next request
  // (401), also on an open connection. `random` may be null. `port` outlives the server, and
  // answers until `Stop()` has returned. Errors: as HttpsServer.
  static absl::StatusOr<std::unique_ptr<SkipServer>> Start(HttpsConfig config, PskSetUp psk,
                                                           SkipPeers peers, SkipOptions options,
                                                           std::unique_ptr<TrueRandom> random,
                                                           DeliveryPort& port);

  uint16_t port() const { return server_->port(); }
  HttpsCounts counts() const { return server_->counts(); }
  absl::Status ReloadTls() { return server_->ReloadTls(); }
  void Stop() { server_->Stop(); }

 private:
  SkipServer(SkipPeers peers, SkipOptions options, std::unique_ptr<TrueRandom> random,
             DeliveryPort& port);

  absl::StatusOr<std::string> SaeOf(const PskPeer& peer, PskFile& keys) const;

  const SkipPeers peers_;
  const std::unique_ptr<TrueRandom> random_;
  SkipApi api_;
  std::unique_ptr<HttpsServer> server_;  // Stops before the API goes.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_SKIP_SKIP_SERVER_H_
