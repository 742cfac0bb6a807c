#ifndef KEYHOP_KMS_AK_REST_API_H_
#define KEYHOP_KMS_AK_REST_API_H_

#include "kms/ak/http.h"
#include "kms/core/delivery/request.h"

namespace keyhop {

// ETSI GS QKD 014 V1.1.1 §5 as a function of HTTP requests: paths, verbs, status codes, bodies.
// Where the standard is silent: 404 for another path, 405 with Allow for another verb, 415 for a
// body that says it is no JSON, 422 for an Idempotency-Key of another request, 503 always with
// Retry-After. HEAD of the status is served, OPTIONS tells the verbs. GET has no body, and POST
// says all in its body: what could be overlooked is refused.
//
// Thread-safe.
class RestApi {
 public:
  // `port` outlives this object and every request under way.
  explicit RestApi(DeliveryPort& port) : port_(port) {}

  void Handle(HttpRequest request, HttpDone done);

 private:
  DeliveryPort& port_;
};

// 400, 401, 422 or 503 with the error body and, with 503, Retry-After in whole seconds (at least
// 1).
HttpAnswer RefusalAnswer(const Refusal& refusal);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_REST_API_H_
