#ifndef KEYHOP_KMS_CLI_CONNECTION_H_
#define KEYHOP_KMS_CLI_CONNECTION_H_

#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/status/statusor.h"
#include "kms/cli/options.h"

namespace keyhop::cli {

// A channel to one node with mutual TLS: the node's certificate must come from the CA and name
// the host (DNS or IP subject alternative name).
class Connection {
 public:
  // INVALID_ARGUMENT: a file that cannot be used, and why.
  static absl::StatusOr<Connection> Open(const Options& options);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  // Makes `context` end in time.
  void SetDeadline(grpc::ClientContext& context) const;

  // The exit code of a call that ended; says on standard error why it failed, with the details of a
  // refusal. With --json a refusal is also on standard output, where the result would be, as the
  // REST interface writes it.
  int Finish(const grpc::Status& status, const grpc::ClientContext& context) const;
  // The same on standard error alone: of a call whose results stand on standard output already.
  int Explain(const grpc::Status& status, const grpc::ClientContext& context) const;

 private:
  Connection(std::shared_ptr<grpc::Channel> channel, const Options& options)
      : channel_(std::move(channel)),
        node_(options.node),
        timeout_s_(options.timeout_s),
        json_(options.json) {}

  std::shared_ptr<grpc::Channel> channel_;
  std::string node_;
  double timeout_s_;
  bool json_;
};

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_CONNECTION_H_
