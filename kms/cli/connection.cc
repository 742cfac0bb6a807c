#include "kms/cli/connection.h"

#include <chrono>
#include <cstdio>

#include "kms/ak/answer_writer.h"
#include "kms/base/status_macros.h"
#include "kms/cli/exit_code.h"
#include "kms/cli/output.h"
#include "kms/cli/refusal.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop::cli {
namespace {

constexpr int kMessageMaxBytes = 64 << 20;

void Tell(const char* how, const Refusal& refusal) {
  std::fprintf(stderr, "keyhop: %s: %s\n", how, Printable(refusal.message).c_str());
  for (const auto& [name, text] : refusal.details) {
    std::fprintf(stderr, "  %s: %s\n", Printable(name).c_str(), Printable(text).c_str());
  }
}

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
  const int exit_code = Explain(status, context);
  // Where our own time ran out the node said nothing.
  const bool refused = exit_code == kRefused || exit_code == kUnavailable;
  if (json_ && refused && status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
    std::printf("%s\n", WriteRefusal(RefusalOf(status)).c_str());
  }
  return exit_code;
}

int Connection::Explain(const grpc::Status& status, const grpc::ClientContext& context) const {
  if (status.ok()) return kDone;
  const auto& trailer = context.GetServerTrailingMetadata();
  // The node itself spoke if it says so, or if the connection to it stands.
  const bool answered = trailer.contains("keyhop-refusal") ||
                        channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  const grpc::StatusCode code = status.error_code();
  const Refusal refusal = RefusalOf(status);
  const bool may_be_connection =
      code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::DEADLINE_EXCEEDED;
  if (may_be_connection && !answered) {
    std::fprintf(stderr,
                 "keyhop: no connection to %s: %s\n"
                 "Check the address, that the node's certificate comes from --ca and names this "
                 "host,\nand that the node trusts the issuer of --cert.\n",
                 node_.c_str(), Printable(refusal.message).c_str());
    return kNoConnection;
  }
  if (may_be_connection || code == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    Tell("unavailable for now", refusal);
    if (const auto hint = trailer.find("retry-after-ms"); hint != trailer.end()) {
      std::fprintf(stderr, "Try again in %.*s ms.\n", static_cast<int>(hint->second.size()),
                   hint->second.data());
    }
    return kUnavailable;
  }
  Tell("refused", refusal);
  return kRefused;
}

}  // namespace keyhop::cli
