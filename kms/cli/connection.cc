#include "kms/cli/connection.h"

#include <chrono>
#include <cstdio>

#include "kms/base/status_macros.h"
#include "kms/cli/exit_code.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop::cli {
namespace {

constexpr int kMessageMaxBytes = 64 << 20;

}  // namespace

absl::StatusOr<Connection> Connection::Open(const Options& options) {
  KEYHOP_ASSIGN_OR_RETURN(
      const GrpcTls tls,
      GrpcTls::Create({.cert = options.cert, .key = options.key, .peer_ca = options.ca}));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageMaxBytes);
  return Connection(grpc::CreateCustomChannel(options.node, tls.ChannelToHost(), arguments),
                    options);
}

void Connection::SetDeadline(grpc::ClientContext& context) const {
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(static_cast<int64_t>(timeout_s_ * 1000)));
}

int Connection::Finish(const grpc::Status& status, const grpc::ClientContext& context) const {
  if (status.ok()) return kDone;
  const auto& trailer = context.GetServerTrailingMetadata();
  // The node itself spoke if it says so, or if the connection to it stands.
  const bool answered = trailer.contains("keyhop-refusal") ||
                        channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  const grpc::StatusCode code = status.error_code();
  const bool may_be_connection =
      code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::DEADLINE_EXCEEDED;
  if (may_be_connection && !answered) {
    std::fprintf(stderr,
                 "keyhop: no connection to %s: %s\n"
                 "Check the address, that the node's certificate comes from --ca and names this "
                 "host,\nand that the node trusts the issuer of --cert.\n",
                 node_.c_str(), status.error_message().c_str());
    return kNoConnection;
  }
  if (may_be_connection || code == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    std::fprintf(stderr, "keyhop: unavailable for now: %s\n", status.error_message().c_str());
    if (const auto hint = trailer.find("retry-after-ms"); hint != trailer.end()) {
      std::fprintf(stderr, "Try again in %.*s ms.\n", static_cast<int>(hint->second.size()),
                   hint->second.data());
    }
    return kUnavailable;
  }
  std::fprintf(stderr, "keyhop: refused: %s\n", status.error_message().c_str());
  return kRefused;
}

}  // namespace keyhop::cli
