#ifndef KEYHOP_KMS_AK_HTTP_H_
#define KEYHOP_KMS_AK_HTTP_H_

#include <cstdint>
#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/crypto/base64.h"

// HTTP requests and answers without their transport: what handlers see.

namespace keyhop {

struct HttpRequest {
  std::string method;             // "GET", as sent.
  std::string target;             // Path and query, still URL-encoded.
  std::string content_type = {};  // As sent; empty where it was not.
  std::string body;
  std::optional<std::string> idempotency_key = {};  // The header of that name, as sent.
  // Who the client's certificate says it is; the error if no rule finds an ID in it.
  absl::StatusOr<std::string> caller;
};

struct HttpAnswer {
  int status = 200;
  std::string content_type = "application/json";                  // Empty: there is none to tell.
  std::vector<std::pair<std::string, std::string>> headers = {};  // Beyond the usual ones.
  std::string body = {};
  SecretText secret_body = {};  // Instead of `body`; wiped once it is sent.
};

// Calls `done` exactly once, inside the call or later from any thread; must not block.
using HttpDone = std::function<void(HttpAnswer)>;
using HttpHandler = std::function<void(HttpRequest, HttpDone done)>;

// --- Text for the transport -------------------------------------------------------------------

// "Tue, 24 Nov 2026 01:47:49 GMT" (RFC 9110 §5.6.7).
std::string HttpDate(std::time_t now);

struct HeadFacts {
  std::string reason;
  std::string date;
  size_t body_bytes = 0;
  bool keep_alive = false;
  bool http_1_0 = false;  // The client must be told that the connection stays.
};
// Status line and headers, with the empty line that ends them.
std::string WriteHead(const HttpAnswer& answer, const HeadFacts& facts);

// IP:PORT or [IPv6]:PORT; whether `ip` is one is for the caller to find out.
struct ListenAddress {
  std::string ip;
  uint16_t port = 0;
};
absl::StatusOr<ListenAddress> ReadListenAddress(absl::string_view listen);
absl::Status BadListenAddress(absl::string_view listen);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_HTTP_H_
