#include "kms/client/failure.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

constexpr char kKindUrl[] = "keyhop/failure";
constexpr char kRetryUrl[] = "keyhop/retry-after-ms";
// Trailing metadata of a refusal (proto/keyhop/delivery/v1).
constexpr char kRefusalKey[] = "keyhop-refusal";
constexpr char kRetryKey[] = "retry-after-ms";

absl::Status WithKind(absl::Status status, FailureKind kind) {
  status.SetPayload(kKindUrl, absl::Cord(absl::StrCat(static_cast<int>(kind))));
  return status;
}

// What gRPC itself says when a call broke off, at either end; a too large answer is among them.
bool IsBrokenOff(grpc::StatusCode code) {
  return code == grpc::StatusCode::RESOURCE_EXHAUSTED || code == grpc::StatusCode::UNAVAILABLE ||
         code == grpc::StatusCode::DEADLINE_EXCEEDED || code == grpc::StatusCode::CANCELLED ||
         code == grpc::StatusCode::UNKNOWN || code == grpc::StatusCode::INTERNAL;
}

}  // namespace

absl::Status FailureFrom(const grpc::Status& status, const grpc::ClientContext& context) {
  const grpc::StatusCode code = status.error_code();
  absl::Status out(static_cast<absl::StatusCode>(code), status.error_message());
  const auto& trailer = context.GetServerTrailingMetadata();
  // Only the node itself writes this; without it UNAVAILABLE may be gRPC's own word.
  const bool node_spoke = trailer.find(kRefusalKey) != trailer.end();
  if (!node_spoke && IsBrokenOff(code)) return WithKind(std::move(out), FailureKind::kLost);
  if (const auto hint = trailer.find(kRetryKey); hint != trailer.end()) {
    out.SetPayload(kRetryUrl,
                   absl::Cord(absl::string_view(hint->second.data(), hint->second.size())));
  }
  const bool later =
      code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::RESOURCE_EXHAUSTED;
  return WithKind(std::move(out), later ? FailureKind::kUnavailable : FailureKind::kRefused);
}

absl::Status NoConnection(const std::string& text) {
  return WithKind(absl::UnavailableError(text), FailureKind::kNoConnection);
}

absl::Status Lost(const std::string& text) {
  return WithKind(absl::DeadlineExceededError(text), FailureKind::kLost);
}

FailureKind KindOf(const absl::Status& failure) {
  const auto kind = failure.GetPayload(kKindUrl);
  int value = 0;
  if (!kind.has_value() || !absl::SimpleAtoi(std::string(*kind), &value)) {
    return FailureKind::kRefused;
  }
  return static_cast<FailureKind>(value);
}

std::optional<Duration> RetryAfter(const absl::Status& failure) {
  const auto hint = failure.GetPayload(kRetryUrl);
  int64_t millis = 0;
  if (!hint.has_value() || !absl::SimpleAtoi(std::string(*hint), &millis) || millis < 0) {
    return std::nullopt;
  }
  return Duration::Millis(millis);
}

}  // namespace keyhop
