#include "kms/client/node_channel.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;

constexpr int kMessageMaxBytes = 64 << 20;
constexpr Duration kReconnectWait = Duration::Seconds(1);

Deadline In(Duration d) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<Deadline::duration>(std::chrono::nanoseconds(d.ns));
}

}  // namespace

NodeChannel::NodeChannel(ClientConfig config,
                         const std::shared_ptr<grpc::ChannelCredentials>& credentials)
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

absl::Status NodeChannel::Connect(Deadline deadline) {
  grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
  // A failure from before this call is no reason to give up: one more try is due. gRPC does not
  // tell when that fails as well.
  bool is_old = state == GRPC_CHANNEL_TRANSIENT_FAILURE;
  if (is_old) {
    grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
    deadline = std::min(deadline, In(kReconnectWait));
  }
  while (state != GRPC_CHANNEL_READY) {
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE && !std::exchange(is_old, false)) {
      return WhyNotConnected();
    }
    if (!channel_->WaitForStateChange(state, deadline)) {
      if (state == GRPC_CHANNEL_TRANSIENT_FAILURE) return WhyNotConnected();
      return NoConnection(absl::StrCat("no connection to ", config_.node, " in time"));
    }
    state = channel_->GetState(/*try_to_connect=*/true);
  }
  return absl::OkStatus();
}

// gRPC tells it only to a call: to one that does nothing.
absl::Status NodeChannel::WhyNotConnected() {
  grpc::ClientContext context;
  context.set_deadline(In(Duration::Seconds(1)));
  pb::Status answer;
  const grpc::Status status = stub_->GetStatus(&context, pb::GetStatusRequest(), &answer);
  const bool stands = channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  return NoConnection(absl::StrCat("no connection to ", config_.node, ": ",
                                   stands ? "it failed at first" : status.error_message()));
}

absl::Status NodeChannel::Try(Twice twice, const std::function<absl::Status(Deadline)>& attempt) {
  const Deadline deadline = In(config_.timeout);
  Duration wait = config_.retry.wait_min;
  for (int made = 1;; ++made) {
    absl::Status done = attempt(deadline);
    if (done.ok() || made >= config_.retry.attempts_max) return done;
    const FailureKind kind = KindOf(done);
    if (kind == FailureKind::kRefused) return done;
    if (kind == FailureKind::kLost && twice == Twice::kNever) return done;
    const Deadline next = In(std::max(RetryAfter(done).value_or(wait), config_.retry.wait_min));
    if (next >= deadline) return done;
    WaitUntil(next);
    wait = std::min(wait * 2, config_.retry.wait_max);
  }
}

void NodeChannel::WaitUntil(Deadline deadline) {
  MutexLock lock(mu_);
  while (std::chrono::system_clock::now() < deadline) never_.WaitUntil(mu_, deadline);
}

}  // namespace keyhop
