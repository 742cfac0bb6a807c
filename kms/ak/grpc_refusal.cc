#include "kms/ak/grpc_refusal.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "keyhop/rpc/v1/error_details.pb.h"

namespace keyhop {
namespace {

namespace rpc = ::keyhop::rpc::v1;

struct KindText {
  grpc::StatusCode code;
  const char* name;    // In the trailer.
  const char* reason;  // In ErrorInfo.
};

KindText Tell(Refusal::Kind kind) {
  switch (kind) {
    case Refusal::Kind::kBadRequest:
      return {grpc::StatusCode::INVALID_ARGUMENT, "bad-request", "BAD_REQUEST"};
    case Refusal::Kind::kNotFound:
      return {grpc::StatusCode::NOT_FOUND, "not-found", "NOT_FOUND"};
    case Refusal::Kind::kUnauthorized:
      return {grpc::StatusCode::PERMISSION_DENIED, "unauthorized", "UNAUTHORIZED"};
    case Refusal::Kind::kOtherRequest:
      return {grpc::StatusCode::INVALID_ARGUMENT, "other-request", "OTHER_REQUEST"};
    case Refusal::Kind::kUnavailable:
      return {grpc::StatusCode::UNAVAILABLE, "unavailable", "UNAVAILABLE"};
    case Refusal::Kind::kExhausted:
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "exhausted", "EXHAUSTED"};
    case Refusal::Kind::kInternal:
      break;
  }
  return {grpc::StatusCode::INTERNAL, "internal", "INTERNAL"};
}

// The parameters that our messages about a request begin with.
constexpr absl::string_view kFields[] = {
    "size",        "number",        "slave_SAE_ID",        "additional_slave_SAE_IDs",
    "key_IDs",     "master_SAE_ID", "extension_mandatory", "extension_optional",
    "resume_token"};

std::string FieldOf(absl::string_view message) {
  for (const absl::string_view field : kFields) {
    if (absl::StartsWith(message, field)) return std::string(field);
  }
  return "";
}

template <typename Detail>
void Add(rpc::Status& status, const char* name, const Detail& detail) {
  google::protobuf::Any& any = *status.add_details();
  any.set_type_url(absl::StrCat("type.googleapis.com/google.rpc.", name));
  any.set_value(detail.SerializeAsString());
}

grpc::Status Build(grpc::StatusCode code, const char* reason, const std::string& message,
                   const Refusal& refusal) {
  rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("keyhop");
  info.mutable_metadata()->insert(refusal.details.begin(), refusal.details.end());
  Add(status, "ErrorInfo", info);
  if (refusal.retry_after) {
    const int64_t ns = std::max<int64_t>(0, refusal.retry_after->ns);
    rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(ns / 1'000'000'000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
    Add(status, "RetryInfo", retry);
  }
  if (code == grpc::StatusCode::INVALID_ARGUMENT) {
    rpc::BadRequest bad;
    rpc::BadRequest::FieldViolation& whole = *bad.add_field_violations();
    whole.set_field(FieldOf(message));
    whole.set_description(message);
    for (const auto& [name, text] : refusal.details) {
      rpc::BadRequest::FieldViolation& violation = *bad.add_field_violations();
      violation.set_field(FieldOf(name));
      violation.set_description(text);
    }
    Add(status, "BadRequest", bad);
  }
  return grpc::Status(code, message, status.SerializeAsString());
}

}  // namespace

grpc::Status GrpcStatusOf(const Refusal& refusal) {
  const KindText kind = Tell(refusal.kind);
  const bool unauthorized = refusal.kind == Refusal::Kind::kUnauthorized;
  return Build(kind.code, kind.reason, unauthorized ? "Unauthorized" : refusal.message, refusal);
}

grpc::Status Refused(grpc::CallbackServerContext& context, const Refusal& refusal) {
  context.AddTrailingMetadata("keyhop-refusal", Tell(refusal.kind).name);
  if (refusal.retry_after.has_value()) {
    // Who comes back then is not too early.
    const int64_t ms = (refusal.retry_after->ns + 999'999) / 1'000'000;
    context.AddTrailingMetadata("retry-after-ms", absl::StrCat(std::max<int64_t>(0, ms)));
  }
  return GrpcStatusOf(refusal);
}

grpc::Status RefusedUnauthenticated(grpc::CallbackServerContext& context) {
  context.AddTrailingMetadata("keyhop-refusal", "unauthorized");
  return Build(grpc::StatusCode::UNAUTHENTICATED, "UNAUTHORIZED", "Unauthorized", Refusal{});
}

}  // namespace keyhop
