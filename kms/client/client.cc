#include "kms/client/client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"
#include "kms/core/uuid.h"
#include "kms/crypto/os_entropy.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;
using Clock = std::chrono::system_clock;  // gRPC's deadlines are on it.

constexpr int kMessageMaxBytes = 64 << 20;
constexpr char kIdempotencyKey[] = "idempotency-key";

// Whether a call may be made again although its answer was lost.
enum class Repeat { kHarmless, kDoesItTwice };

std::chrono::nanoseconds ToChrono(Duration d) { return std::chrono::nanoseconds(d.ns); }

// Takes the keys out of `answer`, which is wiped.
absl::StatusOr<KeyContainer> TakeKeys(pb::KeyContainer& answer) {
  KeyContainer out;
  bool good = answer.keys_size() > 0;
  for (pb::Key& key : *answer.mutable_keys()) {
    const std::optional<KeyId> id = ParseUuid(key.key_id());
    good = good && id.has_value() && !key.key().empty();
    out.keys.push_back(
        {.id = id.value_or(KeyId{}),
         .key = SecretBytes::CopyOf(
             {reinterpret_cast<const uint8_t*>(key.key().data()), key.key().size()})});
    Cleanse(*key.mutable_key());
  }
  if (!good) return absl::InternalError("the node's answer is not a key container");
  return out;
}

PairStatus Read(const pb::Status& answer) {
  PairStatus out{.source_kme = NodeId(answer.source_kme_id()),
                 .target_kme = NodeId(answer.target_kme_id()),
                 .master = SaeId(answer.master_sae_id()),
                 .slave = SaeId(answer.slave_sae_id()),
                 .key_size_bits = answer.key_size(),
                 .stored_key_count = answer.stored_key_count(),
                 .max_key_count = answer.max_key_count(),
                 .max_key_per_request = answer.max_key_per_request(),
                 .max_key_size_bits = answer.max_key_size(),
                 .min_key_size_bits = answer.min_key_size(),
                 .max_sae_id_count = answer.max_sae_id_count()};
  out.extension.insert(answer.status_extension().begin(), answer.status_extension().end());
  return out;
}

}  // namespace

class Client::Impl {
 public:
  Impl(ClientConfig config, const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : config_(std::move(config)) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMessageMaxBytes);
    // Only the rules of this library decide what is sent again.
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
    channel_ = grpc::CreateCustomChannel(config_.node, credentials, arguments);
    stub_ = pb::KeyDelivery::NewStub(channel_);
  }

  template <typename Request, typename Answer>
  absl::Status Call(grpc::Status (pb::KeyDelivery::Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, Answer*),
                    const Request& request, Answer& answer, const CallOptions& options,
                    Repeat repeat) {
    const Clock::time_point deadline = Clock::now() + ToChrono(config_.timeout);
    Duration wait = config_.retry.wait_min;
    for (int attempt = 1;; ++attempt) {
      absl::Status failure = Try(method, request, answer, options, deadline);
      if (failure.ok()) return failure;
      if (attempt >= config_.retry.attempts_max || !MayRepeat(failure, options, repeat)) {
        return failure;
      }
      const Duration pause = std::max(RetryAfter(failure).value_or(wait), config_.retry.wait_min);
      if (Clock::now() + ToChrono(pause) >= deadline) return failure;
      Pause(Clock::now() + ToChrono(pause));
      wait = std::min(wait * 2, config_.retry.wait_max);
    }
  }

 private:
  static bool MayRepeat(const absl::Status& failure, const CallOptions& options, Repeat repeat) {
    switch (KindOf(failure)) {
      case FailureKind::kNoConnection:
      case FailureKind::kUnavailable:
        return true;
      case FailureKind::kLost:
        return repeat == Repeat::kHarmless || options.idempotency_key.has_value();
      case FailureKind::kRefused:
        break;
    }
    return false;
  }

  // Waits for a connection. What fails here has sent nothing of a request.
  bool Connected(Clock::time_point deadline) {
    grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
    bool failed_before = state == GRPC_CHANNEL_TRANSIENT_FAILURE;
    while (state != GRPC_CHANNEL_READY) {
      if (state == GRPC_CHANNEL_SHUTDOWN) return false;
      if (state == GRPC_CHANNEL_TRANSIENT_FAILURE && !std::exchange(failed_before, false)) {
        return false;
      }
      if (!channel_->WaitForStateChange(state, deadline)) return false;
      state = channel_->GetState(/*try_to_connect=*/true);
    }
    return true;
  }

  // Why there is no connection, in gRPC's words: those of a call that does nothing.
  absl::Status WhyNotConnected() {
    grpc::ClientContext context;
    context.set_deadline(Clock::now() + std::chrono::seconds(1));
    pb::Status answer;
    const grpc::Status status = stub_->GetStatus(&context, pb::GetStatusRequest(), &answer);
    return NoConnection(status.ok() ? "the connection came too late" : status.error_message());
  }

  template <typename Request, typename Answer>
  absl::Status Try(grpc::Status (pb::KeyDelivery::Stub::*method)(grpc::ClientContext*,
                                                                 const Request&, Answer*),
                   const Request& request, Answer& answer, const CallOptions& options,
                   Clock::time_point deadline) {
    if (!Connected(deadline)) return WhyNotConnected();
    grpc::ClientContext context;
    context.set_deadline(deadline);
    if (options.idempotency_key.has_value()) {
      context.AddMetadata(kIdempotencyKey, *options.idempotency_key);
    }
    const grpc::Status status = (stub_.get()->*method)(&context, request, &answer);
    if (status.ok()) return absl::OkStatus();
    return FailureFrom(status, context, /*connected=*/true);
  }

  void Pause(Clock::time_point until) {
    MutexLock lock(mu_);
    while (Clock::now() < until) never_.WaitUntil(mu_, until);
  }

  const ClientConfig config_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::KeyDelivery::Stub> stub_;
  Mutex mu_;
  CondVar never_;  // Nobody signals it.
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(ClientConfig config) {
  KEYHOP_ASSIGN_OR_RETURN(const GrpcTls tls, GrpcTls::Create(config.tls));
  auto impl = std::make_unique<Impl>(std::move(config), tls.ChannelToHost());
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

absl::StatusOr<PairStatus> Client::Status(const SaeId& slave) {
  pb::GetStatusRequest request;
  request.set_slave_sae_id(slave.value);
  pb::Status answer;
  KEYHOP_RETURN_IF_ERROR(impl_->Call(&pb::KeyDelivery::Stub::GetStatus, request, answer, {},
                                     Repeat::kHarmless));
  return Read(answer);
}

absl::StatusOr<KeyContainer> Client::Draw(const SaeId& slave, const DrawOptions& options) {
  pb::KeyRequest request;
  request.set_slave_sae_id(slave.value);
  request.set_number(options.number);
  if (options.size_bits.has_value()) request.set_size(*options.size_bits);
  for (const SaeId& sae : options.additional_slaves) {
    request.add_additional_slave_sae_ids(sae.value);
  }
  pb::KeyContainer answer;
  KEYHOP_RETURN_IF_ERROR(impl_->Call(&pb::KeyDelivery::Stub::GetKey, request, answer, options,
                                     Repeat::kDoesItTwice));
  return TakeKeys(answer);
}

absl::StatusOr<KeyContainer> Client::Fetch(const SaeId& master,
                                           const std::vector<std::string>& key_ids,
                                           const CallOptions& options) {
  pb::KeyIdsRequest request;
  request.set_master_sae_id(master.value);
  for (const std::string& id : key_ids) request.add_key_ids()->set_key_id(id);
  pb::KeyContainer answer;
  KEYHOP_RETURN_IF_ERROR(impl_->Call(&pb::KeyDelivery::Stub::GetKeyWithKeyIds, request, answer,
                                     options, Repeat::kDoesItTwice));
  return TakeKeys(answer);
}

std::string NewIdempotencyKey() {
  OsEntropy entropy;
  KeyId id = {};
  entropy.Fill(id);
  id[6] = static_cast<uint8_t>((id[6] & 0x0F) | 0x40);  // RFC 9562 §5.4.
  id[8] = static_cast<uint8_t>((id[8] & 0x3F) | 0x80);
  return FormatUuid(id);
}

}  // namespace keyhop
