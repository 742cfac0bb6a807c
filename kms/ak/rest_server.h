#ifndef KEYHOP_KMS_AK_REST_SERVER_H_
#define KEYHOP_KMS_AK_REST_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kms/ak/https_server.h"
#include "kms/ak/rest_api.h"
#include "kms/core/delivery/request.h"

namespace keyhop {

// ETSI GS QKD 014 V1.1.1 over HTTPS. Thread-safe.
class RestServer {
 public:
  // `config.read_certificate` gives SAE IDs, `config.tls.peer_ca` is the SAEs' trust store.
  // `port` outlives the server, and answers until `Stop()` has returned. Errors: as HttpsServer.
  static absl::StatusOr<std::unique_ptr<RestServer>> Start(HttpsConfig config, DeliveryPort& port);

  uint16_t port() const { return server_->port(); }
  HttpsCounts counts() const { return server_->counts(); }
  absl::Status ReloadTls() { return server_->ReloadTls(); }
  void Stop() { server_->Stop(); }

 private:
  explicit RestServer(DeliveryPort& port) : api_(port) {}

  RestApi api_;
  std::unique_ptr<HttpsServer> server_;  // Stops before the API goes.
};

// A few pages of plain text, such as /metrics and /health, for operators. Thread-safe.
class HttpsSite {
 public:
  struct Page {
    int status = 200;
    std::string content_type = "text/plain; version=0.0.4; charset=utf-8";
    std::string text;
  };
  // The page at `path` (without query), 404 as status where there is none. Runs on the server's
  // threads.
  using Pages = std::function<Page(const std::string& path)>;

  // GET only. A client whose certificate `config.read_certificate` refuses gets 403.
  static absl::StatusOr<std::unique_ptr<HttpsSite>> Start(HttpsConfig config, Pages pages);

  uint16_t port() const { return server_->port(); }
  absl::Status ReloadTls() { return server_->ReloadTls(); }
  void Stop() { server_->Stop(); }

 private:
  explicit HttpsSite(std::unique_ptr<HttpsServer> server) : server_(std::move(server)) {}
  std::unique_ptr<HttpsServer> server_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_REST_SERVER_H_
