#include "kms/ak/rest_server.h"

#include <utility>

#include "absl/memory/memory.h"
#include "kms/ak/target.h"
#include "kms/base/status_macros.h"

namespace keyhop {

absl::StatusOr<std::unique_ptr<RestServer>> RestServer::Start(HttpsConfig config,
                                                              DeliveryPort& port) {
  auto rest = absl::WrapUnique(new RestServer(port));
  RestApi* api = &rest->api_;
  KEYHOP_ASSIGN_OR_RETURN(
      rest->server_,
      HttpsServer::Start(std::move(config), [api](HttpRequest request, HttpDone done) {
        api->Handle(std::move(request), std::move(done));
      }));
  return rest;
}

absl::StatusOr<std::unique_ptr<HttpsSite>> HttpsSite::Start(HttpsConfig config, Pages pages) {
  const auto handle = [pages = std::move(pages)](HttpRequest request, const HttpDone& done) {
    HttpAnswer answer = {.content_type = "text/plain; charset=utf-8"};
    if (!request.caller.ok()) {
      answer.status = 403;
      answer.body = "this certificate is not an operator's\n";
    } else if (request.method != "GET" && request.method != "HEAD") {
      answer.status = 405;
      answer.headers.emplace_back("Allow", "GET, HEAD");
    } else {
      Page page = pages(std::string(SplitTarget(request.target).path));
      answer.status = page.status;
      answer.content_type = std::move(page.content_type);
      answer.body = std::move(page.text);
    }
    done(std::move(answer));
  };
  KEYHOP_ASSIGN_OR_RETURN(std::unique_ptr<HttpsServer> server,
                          HttpsServer::Start(std::move(config), handle));
  return absl::WrapUnique(new HttpsSite(std::move(server)));
}

}  // namespace keyhop
