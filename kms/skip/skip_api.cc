#include "kms/skip/skip_api.h"

#include <functional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/ak/answer_writer.h"
#include "kms/ak/rest_api.h"
#include "kms/ak/target.h"
#include "kms/skip/skip_target.h"

namespace keyhop {
namespace {

constexpr char kNotFound[] = "there is no key of that keyId for this encryptor";

HttpAnswer MessageAnswer(int status, std::string message) {
  return {.status = status, .body = WriteRefusal({.message = std::move(message)})};
}

Refusal BadRequest(std::string message) {
  return {.kind = Refusal::Kind::kBadRequest, .message = std::move(message)};
}

// {"keyId":"HEX","key":"HEX"}
HttpAnswer KeyAnswer(const DeliveredKey& key) {
  constexpr absl::string_view kHead = R"({"keyId":")";
  constexpr absl::string_view kKey = R"(","key":")";
  constexpr absl::string_view kEnd = R"("})";
  // The exact size, so that the buffer never grows: a growth would copy secrets.
  SecretText out(kHead.size() + kSkipKeyIdTextSize + kKey.size() + 2 * key.key.size() +
                 kEnd.size());
  out.Append(kHead);
  out.Append(FormatSkipKeyId(key.id));
  out.Append(kKey);
  out.AppendHex(key.key);
  out.Append(kEnd);
  return {.secret_body = std::move(out)};
}

}  // namespace

HttpAnswer SkipApi::Refused(const Refusal& refusal) const {
  HttpAnswer answer = RefusalAnswer(refusal);
  if (refusal.kind == Refusal::Kind::kInternal) {
    answer.status = 500;
  } else if (answer.status == 503) {
    answer.status = options_.unavailable_status;
  }
  return answer;
}

HttpAnswer SkipApi::Capabilities(const SkipEncryptor& encryptor) const {
  const bool entropy = options_.random != nullptr && options_.random->healthy();
  std::string body =
      absl::StrCat("{\"entropy\":", entropy ? "true" : "false", ",\"key\":true,\"algorithm\":");
  AppendJsonString(body, options_.algorithm);
  body += ",\"localSystemID\":";
  AppendJsonString(body, encryptor.local_system_id);
  body += ",\"remoteSystemID\":";
  char before = '[';
  for (const std::string& id : peers_.AdvertisedTo(encryptor.sae)) {
    body.push_back(std::exchange(before, ','));
    AppendJsonString(body, id);
  }
  body += "]}";
  return {.body = std::move(body)};
}

HttpAnswer SkipApi::Entropy(uint64_t bits) const {
  TrueRandom* random = options_.random;
  if (random == nullptr) {
    return RefusalAnswer({.kind = Refusal::Kind::kUnavailable,
                          .message = "this key provider has no true random source"});
  }
  if (bits > random->bytes_max() * 8) {
    return MessageAnswer(
        400, absl::StrCat("minentropy shall be at most ", random->bytes_max() * 8, " bits"));
  }
  const size_t bytes = static_cast<size_t>((bits + 7) / 8);
  const std::optional<SecretBytes> taken = random->Take(bytes);
  if (!taken.has_value()) {
    return RefusalAnswer(
        {.kind = Refusal::Kind::kUnavailable, .message = "not enough entropy at hand; retry"});
  }
  constexpr absl::string_view kHead = R"({"randomStr":")";
  const std::string end = absl::StrCat("\",\"minentropy\":", bytes * 8, "}");
  SecretText out(kHead.size() + 2 * bytes + end.size());
  out.Append(kHead);
  out.AppendHex(*taken);
  out.Append(end);
  return {.secret_body = std::move(out)};
}

void SkipApi::IfServed(const SaeId& sae, std::function<HttpAnswer()> make, HttpDone done) {
  const std::vector<SaeId> partners = peers_.PartnersOf(sae);
  if (partners.empty()) return done(make());
  port_.Status({.caller = sae, .slave = partners.front()},
               [this, make = std::move(make), done](const Outcome<PairStatus>& outcome) {
                 const auto* refusal = std::get_if<Refusal>(&outcome);
                 // A partner that is not known yet is no matter here.
                 const bool served =
                     refusal == nullptr || refusal->kind == Refusal::Kind::kBadRequest;
                 done(served ? make() : Refused(*refusal));
               });
}

void SkipApi::Draw(const SkipEncryptor& encryptor, absl::string_view query, HttpDone done) {
  Outcome<SkipKeyQuery> read = ReadSkipKeyQuery(query, SkipTarget::Method::kKey);
  if (const auto* refusal = std::get_if<Refusal>(&read)) return done(Refused(*refusal));
  const auto& wanted = std::get<SkipKeyQuery>(read);
  const std::optional<SaeId> slave = peers_.Resolve(encryptor.sae, wanted.remote_system_id);
  if (!slave.has_value()) {
    return done(Refused(BadRequest("remoteSystemID is not one of this encryptor's")));
  }
  port_.Draw({.caller = encryptor.sae, .slave = *slave, .number = 1, .size_bits = wanted.size_bits},
             [this, done](const Outcome<KeyContainer>& outcome) {
               if (const auto* refusal = std::get_if<Refusal>(&outcome))
                 return done(Refused(*refusal));
               done(KeyAnswer(std::get<KeyContainer>(outcome).keys.front()));
             });
}

void SkipApi::Fetch(const SkipEncryptor& encryptor, const std::string& key_id,
                    absl::string_view query, HttpDone done) {
  Outcome<SkipKeyQuery> read = ReadSkipKeyQuery(query, SkipTarget::Method::kKeyById);
  if (const auto* refusal = std::get_if<Refusal>(&read)) return done(Refused(*refusal));
  const Outcome<std::optional<KeyId>> id = ReadSkipKeyId(key_id);
  if (const auto* refusal = std::get_if<Refusal>(&id)) return done(Refused(*refusal));
  const std::optional<SaeId> master =
      peers_.Resolve(encryptor.sae, std::get<SkipKeyQuery>(read).remote_system_id);
  if (!master.has_value()) {
    return done(Refused(BadRequest("remoteSystemID is not one of this encryptor's")));
  }
  if (!std::get<std::optional<KeyId>>(id).has_value()) return done(Refused(BadRequest(kNotFound)));
  port_.Fetch({.caller = encryptor.sae,
               .master = *master,
               .key_ids = {*std::get<std::optional<KeyId>>(id)}},
              [this, done](const Outcome<KeyContainer>& outcome) {
                const auto* refusal = std::get_if<Refusal>(&outcome);
                if (refusal == nullptr) {
                  return done(KeyAnswer(std::get<KeyContainer>(outcome).keys.front()));
                }
                // Unknown, used, another encryptor's: all look alike.
                const bool not_found = refusal->kind == Refusal::Kind::kNotFound ||
                                       refusal->kind == Refusal::Kind::kUnauthorized;
                done(Refused(not_found ? BadRequest(kNotFound) : *refusal));
              });
}

void SkipApi::Handle(HttpRequest request, HttpDone done) {
  const TargetParts parts = SplitTarget(request.target);
  const std::variant<SkipTarget, NoSuchPath> read = ReadSkipPath(parts.path);
  const SkipEncryptor* encryptor =
      request.caller.ok() ? peers_.Find(SaeId(*request.caller)) : nullptr;
  if (encryptor == nullptr) {
    return done(RefusalAnswer({.kind = Refusal::Kind::kUnauthorized, .message = ""}));
  }
  const auto* target = std::get_if<SkipTarget>(&read);
  if (target == nullptr) {
    return done(MessageAnswer(
        404, "no such path; paths are /capabilities, /key, /key/{keyId} and /entropy"));
  }
  if (request.method != "GET") {
    HttpAnswer answer = MessageAnswer(405, "there is only GET");
    answer.headers.emplace_back("Allow", "GET");
    return done(std::move(answer));
  }
  if (!request.body.empty()) return done(MessageAnswer(400, "GET has no body"));
  switch (target->method) {
    case SkipTarget::Method::kCapabilities:
      return IfServed(
          encryptor->sae, [this, encryptor] { return Capabilities(*encryptor); }, done);
    case SkipTarget::Method::kEntropy: {
      const Outcome<uint64_t> bits = ReadSkipEntropyQuery(parts.query);
      if (const auto* refusal = std::get_if<Refusal>(&bits)) return done(Refused(*refusal));
      const uint64_t wanted = std::get<uint64_t>(bits);
      return IfServed(
          encryptor->sae, [this, wanted] { return Entropy(wanted); }, done);
    }
    case SkipTarget::Method::kKey:
      return Draw(*encryptor, parts.query, std::move(done));
    case SkipTarget::Method::kKeyById:
      return Fetch(*encryptor, target->key_id, parts.query, std::move(done));
  }
}

}  // namespace keyhop
