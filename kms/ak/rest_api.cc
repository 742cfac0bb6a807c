#include "kms/ak/rest_api.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "kms/ak/answer_writer.h"
#include "kms/ak/request_reader.h"
#include "kms/ak/target.h"
#include "kms/base/overload.h"

namespace keyhop {
namespace {

int StatusCode(Refusal::Kind kind) {
  switch (kind) {
    case Refusal::Kind::kBadRequest:
    case Refusal::Kind::kNotFound:
      return 400;
    case Refusal::Kind::kUnauthorized:
      return 401;
    case Refusal::Kind::kOtherRequest:
      return 422;
    case Refusal::Kind::kUnavailable:
    case Refusal::Kind::kExhausted:
    case Refusal::Kind::kInternal:
      break;
  }
  return 503;
}

HttpAnswer MessageAnswer(int status, const char* message) {
  return {.status = status, .body = WriteRefusal({.message = message})};
}

HttpAnswer WrongVerb(const char* allow) {
  HttpAnswer answer = MessageAnswer(405, "this resource does not have that HTTP method");
  answer.headers.emplace_back("Allow", allow);
  return answer;
}

HttpAnswer StatusAnswer(const Outcome<PairStatus>& outcome) {
  if (const auto* refusal = std::get_if<Refusal>(&outcome)) return RefusalAnswer(*refusal);
  return {.body = WritePairStatus(std::get<PairStatus>(outcome))};
}

HttpAnswer KeyAnswer(const Outcome<KeyContainer>& outcome) {
  if (const auto* refusal = std::get_if<Refusal>(&outcome)) return RefusalAnswer(*refusal);
  return {.secret_body = WriteKeyContainer(std::get<KeyContainer>(outcome))};
}

}  // namespace

HttpAnswer RefusalAnswer(const Refusal& refusal) {
  HttpAnswer answer = {.status = StatusCode(refusal.kind), .body = WriteRefusal(refusal)};
  if (answer.status == 503) {
    const int64_t millis = refusal.retry_after.value_or(Duration::Seconds(1)).millis();
    answer.headers.emplace_back("Retry-After",
                                absl::StrCat(std::max<int64_t>(1, (millis + 999) / 1000)));
  }
  return answer;
}

void RestApi::Handle(HttpRequest request, HttpDone done) {
  if (!request.caller.ok())
    return done(RefusalAnswer({.kind = Refusal::Kind::kUnauthorized, .message = ""}));
  const TargetParts parts = SplitTarget(request.target);
  std::variant<KeysTarget, NoSuchPath, Refusal> read = ReadKeysPath(parts.path);
  if (std::holds_alternative<NoSuchPath>(read)) {
    return done(MessageAnswer(404,
                              "no such path; paths are /api/v1/keys/{SAE ID}/status, "
                              "/enc_keys and /dec_keys"));
  }
  if (const auto* refusal = std::get_if<Refusal>(&read)) return done(RefusalAnswer(*refusal));
  KeysTarget target = std::get<KeysTarget>(std::move(read));
  SaeId caller(*std::move(request.caller));
  const bool get = request.method == "GET";
  const bool post = request.method == "POST";

  if (target.method == KeysTarget::Method::kStatus) {
    if (!get) return done(WrongVerb("GET"));
    return port_.Status({.caller = std::move(caller), .slave = std::move(target.sae)},
                        [done](Outcome<PairStatus> outcome) { done(StatusAnswer(outcome)); });
  }
  if (!get && !post) return done(WrongVerb("GET, POST"));
  const auto on_keys = [done](Outcome<KeyContainer> outcome) { done(KeyAnswer(outcome)); };
  if (target.method == KeysTarget::Method::kEncKeys) {
    Outcome<DrawRequest> draw =
        get ? ReadDrawQuery(parts.query, std::move(caller), std::move(target.sae))
            : ReadDrawBody(request.body, std::move(caller), std::move(target.sae));
    if (const auto* refusal = std::get_if<Refusal>(&draw)) return done(RefusalAnswer(*refusal));
    std::get<DrawRequest>(draw).idempotency_key = std::move(request.idempotency_key);
    return port_.Draw(std::get<DrawRequest>(std::move(draw)), on_keys);
  }
  Outcome<FetchRequest> fetch =
      get ? ReadFetchQuery(parts.query, std::move(caller), std::move(target.sae))
          : ReadFetchBody(request.body, std::move(caller), std::move(target.sae));
  if (const auto* refusal = std::get_if<Refusal>(&fetch)) return done(RefusalAnswer(*refusal));
  std::get<FetchRequest>(fetch).idempotency_key = std::move(request.idempotency_key);
  port_.Fetch(std::get<FetchRequest>(std::move(fetch)), on_keys);
}

}  // namespace keyhop
