#ifndef KEYHOP_KMS_AK_HTTP_H_
#define KEYHOP_KMS_AK_HTTP_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kms/crypto/base64.h"

// HTTP requests and answers without their transport: what handlers see.

namespace keyhop {

struct HttpRequest {
  std::string method;  // "GET", as sent.
  std::string target;  // Path and query, still URL-encoded.
  std::string body;
  // Who the client's certificate says it is; the error if no rule finds an ID in it.
  absl::StatusOr<std::string> caller;
};

struct HttpAnswer {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};  // Beyond the usual ones.
  std::string body = {};
  SecretText secret_body = {};  // Instead of `body`; wiped once it is sent.
};

// Calls `done` exactly once, inside the call or later from any thread; must not block.
using HttpDone = std::function<void(HttpAnswer)>;
using HttpHandler = std::function<void(HttpRequest, HttpDone done)>;

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_HTTP_H_
