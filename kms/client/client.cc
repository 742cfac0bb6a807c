#include "kms/client/client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/client/key_stream.h"
#include "kms/client/messages.h"
#include "kms/client/node_channel.h"
#include "kms/core/uuid.h"
#include "kms/crypto/os_entropy.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop {

namespace pb = ::keyhop::delivery::v1;

class Client::Impl {
 public:
  Impl(ClientConfig config, const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : node_(std::make_shared<NodeChannel>(std::move(config), credentials)) {}

  const std::shared_ptr<NodeChannel>& node() const { return node_; }

  template <typename Request, typename Answer>
  absl::Status Call(grpc::Status (pb::KeyDelivery::Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, Answer*),
                    const Request& request, Answer& answer, const IdempotencyKey& key,
                    NodeChannel::Twice twice) {
    if (key.has_value()) twice = NodeChannel::Twice::kHarmless;
    return node_->Try(twice, [&](Deadline deadline) {
      KEYHOP_RETURN_IF_ERROR(node_->Connect(deadline));
      grpc::ClientContext context;
      context.set_deadline(deadline);
      if (key.has_value()) context.AddMetadata("idempotency-key", *key);
      const grpc::Status status = (node_->stub().*method)(&context, request, &answer);
      return status.ok() ? absl::OkStatus() : FailureFrom(status, context);
    });
  }

 private:
  const std::shared_ptr<NodeChannel> node_;
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Create(ClientConfig config) {
  if (config.node.empty()) {
    return absl::InvalidArgumentError("node: expected HOST:PORT of the node's gRPC; found nothing");
  }
  KEYHOP_ASSIGN_OR_RETURN(const GrpcTls tls, GrpcTls::Create(config.tls));
  auto impl = std::make_unique<Impl>(std::move(config), tls.ChannelToHost());
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

absl::StatusOr<PairStatus> Client::Status(const SaeId& slave) {
  pb::GetStatusRequest request;
  request.set_slave_sae_id(slave.value);
  pb::Status answer;
  KEYHOP_RETURN_IF_ERROR(impl_->Call(&pb::KeyDelivery::Stub::GetStatus, request, answer,
                                     std::nullopt, NodeChannel::Twice::kHarmless));
  return FromMessage(answer);
}

absl::StatusOr<KeyContainer> Client::Draw(const SaeId& slave, const DrawOptions& options) {
  pb::KeyContainer answer;
  KEYHOP_RETURN_IF_ERROR(impl_->Call(&pb::KeyDelivery::Stub::GetKey, ToMessage(slave, options),
                                     answer, options.idempotency_key, NodeChannel::Twice::kNever));
  return TakeKeys(answer);
}

absl::StatusOr<KeyContainer> Client::Fetch(const SaeId& master, const std::vector<KeyId>& key_ids,
                                           const FetchOptions& options) {
  pb::KeyIdsRequest request;
  request.set_master_sae_id(master.value);
  for (const KeyId& id : key_ids) request.add_key_ids()->set_key_id(FormatUuid(id));
  pb::KeyContainer answer;
  KEYHOP_RETURN_IF_ERROR(impl_->Call(&pb::KeyDelivery::Stub::GetKeyWithKeyIds, request, answer,
                                     options.idempotency_key, NodeChannel::Twice::kNever));
  return TakeKeys(answer);
}

std::unique_ptr<KeyStream> Client::Stream(const SaeId& slave, const StreamOptions& options) {
  return MakeKeyStream(impl_->node(), slave, options);
}

std::string NewIdempotencyKey() {
  OsEntropy entropy;
  return FormatUuid(RandomUuid(entropy));
}

}  // namespace keyhop
