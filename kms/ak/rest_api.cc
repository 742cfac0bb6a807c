#include "kms/ak/rest_api.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
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

HttpAnswer BadRequest(const char* message) {
  return RefusalAnswer({.kind = Refusal::Kind::kBadRequest, .message = message});
}

constexpr char kStatusVerbs[] = "GET, HEAD, OPTIONS";
constexpr char kKeyVerbs[] = "GET, POST, OPTIONS";
constexpr char kAllVerbs[] = "GET, HEAD, POST, OPTIONS";

HttpAnswer Options(const char* allow) {
  return {.status = 204, .content_type = "", .headers = {{"Allow", allow}}};
}

HttpAnswer WrongVerb(const std::string& method, const char* allow) {
  if (method == "OPTIONS") return Options(allow);
  HttpAnswer answer = MessageAnswer(405, "this resource does not have that HTTP method");
  answer.headers.emplace_back("Allow", allow);
  return answer;
}

// Whether a body of this Content-Type may be JSON in UTF-8. The type of HTML forms counts as none:
// some clients say it of every body that they are not told more about.
bool MayBeJson(absl::string_view content_type) {
  const std::vector<absl::string_view> parts = absl::StrSplit(content_type, ';');
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::vector<absl::string_view> pair = absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
    if (pair.size() == 2 &&
        absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(pair[0]), "charset")) {
      absl::string_view charset = absl::StripAsciiWhitespace(pair[1]);
      if (charset.size() > 1 && charset.front() == '"' && charset.back() == '"') {
        charset = charset.substr(1, charset.size() - 2);
      }
      if (!absl::EqualsIgnoreCase(charset, "utf-8") && !absl::EqualsIgnoreCase(charset, "utf8") &&
          !absl::EqualsIgnoreCase(charset, "us-ascii")) {
        return false;
      }
    }
  }
  const std::string type = absl::AsciiStrToLower(absl::StripAsciiWhitespace(parts[0]));
  return type.empty() || type == "application/json" || type == "text/json" ||
         type == "application/x-www-form-urlencoded" ||
         (absl::StartsWith(type, "application/") && absl::EndsWith(type, "+json"));
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
  // RFC 9110 §15.5.2 wants it; there is no registered name for certificates.
  if (answer.status == 401) {
    answer.headers.emplace_back("WWW-Authenticate", "TLS-Client-Certificate realm=\"KME\"");
  }
  if (answer.status == 503) {
    // Who comes back then is not too early.
    const int64_t ns = refusal.retry_after.value_or(Duration::Seconds(1)).ns;
    answer.headers.emplace_back(
        "Retry-After", absl::StrCat(std::max<int64_t>(1, (ns + 999'999'999) / 1'000'000'000)));
  }
  return answer;
}

void RestApi::Handle(HttpRequest request, HttpDone done) {
  if (!request.caller.ok())
    return done(RefusalAnswer({.kind = Refusal::Kind::kUnauthorized, .message = ""}));
  if (request.method == "OPTIONS" && request.target == "*") return done(Options(kAllVerbs));
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
    if (!get && request.method != "HEAD") return done(WrongVerb(request.method, kStatusVerbs));
    return port_.Status({.caller = std::move(caller), .slave = std::move(target.sae)},
                        [done](Outcome<PairStatus> outcome) { done(StatusAnswer(outcome)); });
  }
  if (!get && !post) return done(WrongVerb(request.method, kKeyVerbs));
  if (get && !request.body.empty()) {
    return done(BadRequest("GET has no body; POST it"));
  }
  if (post) {
    if (const auto refusal = CheckPostQuery(parts.query)) return done(RefusalAnswer(*refusal));
    if (!request.body.empty() && !MayBeJson(request.content_type)) {
      return done(MessageAnswer(415, "the body shall be application/json in UTF-8"));
    }
  }
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
