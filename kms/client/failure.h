#ifndef KEYHOP_KMS_CLIENT_FAILURE_H_
#define KEYHOP_KMS_CLIENT_FAILURE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "kms/base/instant.h"

namespace grpc {
class ClientContext;
class Status;
}  // namespace grpc

// Why a call to a node failed: an absl::Status with the node's code and text, and what a caller has
// to know before it asks again.

namespace keyhop {

enum class FailureKind {
  kRefused,       // The node said no; the same request is refused again.
  kUnavailable,   // The node said: not now. Nothing was drawn or fetched.
  kNoConnection,  // The request surely never reached the node.
  kLost,          // The connection broke, or time ran out: the node may have done what was asked.
};

// The status of a call that ended with an error over a connection that stood when it began, with
// its kind and the node's hint.
absl::Status FailureFrom(const grpc::Status& status, const grpc::ClientContext& context);
absl::Status NoConnection(const std::string& text);
// Time ran out.
absl::Status Lost(const std::string& text);

// Of a status of this library; kRefused for any other.
FailureKind KindOf(const absl::Status& failure);
// When the node expects the request to succeed, counted from its answer.
std::optional<Duration> RetryAfter(const absl::Status& failure);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CLIENT_FAILURE_H_
