#include "kms/client/key_stream.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kms/base/status_macros.h"
#include "kms/client/messages.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;

// One call of DrawStream. One operation is under way at a time, each awaited by its beginner.
class StreamCall {
 public:
  StreamCall(pb::KeyDelivery::Stub& stub, Deadline deadline)
      : stream_(stub.AsyncDrawStream(&context_, &queue_, nullptr)) {
    Await(deadline);
  }
  ~StreamCall() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  StreamCall(const StreamCall&) = delete;
  StreamCall& operator=(const StreamCall&) = delete;

  // A write that fails is told by the read that follows.
  void Write(const pb::DrawStreamRequest& message, Deadline deadline) {
    stream_->Write(message, nullptr);
    Await(deadline);
  }
  bool Read(pb::KeyContainer& answer, Deadline deadline) {
    stream_->Read(&answer, nullptr);
    return Await(deadline);
  }
  // Why a read gave nothing.
  absl::Status End() {
    grpc::Status status;
    stream_->Finish(&status, nullptr);
    Await(Deadline::max());
    if (late_) return Lost("no key came in time");
    // The node ends a stream with OK only when the client ended its half, which this one never
    // does.
    if (status.ok()) return Lost("the node ended the stream");
    return FailureFrom(status, context_);
  }

 private:
  // What is under way at the deadline is cancelled; an answer that came just then is still good.
  bool Await(Deadline deadline) {
    void* tag = nullptr;
    bool ok = false;
    if (queue_.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::TIMEOUT) {
      late_ = true;
      context_.TryCancel();
      queue_.Next(&tag, &ok);
    }
    return ok;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  bool late_ = false;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<pb::DrawStreamRequest, pb::KeyContainer>> stream_;
};

class DrawStream final : public KeyStream {
 public:
  DrawStream(std::shared_ptr<NodeChannel> node, pb::KeyRequest draw, uint32_t ahead_keys)
      : node_(std::move(node)), draw_(std::move(draw)), ahead_keys_(std::max(1u, ahead_keys)) {}

  absl::StatusOr<KeyContainer> Next() override {
    if (!over_.ok()) return over_;
    absl::StatusOr<KeyContainer> keys;
    over_ = node_->Try(NodeChannel::Twice::kNever, [&](Deadline deadline) {
      keys = NextOfCall(deadline);
      if (!keys.ok()) call_.reset();
      return keys.status();
    });
    return keys;
  }

 private:
  absl::StatusOr<KeyContainer> NextOfCall(Deadline deadline) {
    if (!call_) {
      KEYHOP_RETURN_IF_ERROR(node_->Connect(deadline));
      call_.emplace(node_->stub(), deadline);
      pb::DrawStreamRequest first;
      *first.mutable_draw() = draw_;
      first.set_credit(ahead_keys_);
      call_->Write(first, deadline);
    }
    pb::KeyContainer answer;
    if (!call_->Read(answer, deadline)) return call_->End();
    absl::StatusOr<KeyContainer> keys = TakeKeys(answer);
    if (!keys.ok()) return keys;
    pb::DrawStreamRequest more;
    more.set_credit(static_cast<uint32_t>(keys->keys.size()));
    call_->Write(more, deadline);
    return keys;
  }

  const std::shared_ptr<NodeChannel> node_;
  const pb::KeyRequest draw_;
  const uint32_t ahead_keys_;
  std::optional<StreamCall> call_;
  absl::Status over_;  // Not OK: the end.
};

}  // namespace

std::unique_ptr<KeyStream> MakeKeyStream(std::shared_ptr<NodeChannel> node, const SaeId& slave,
                                         const StreamOptions& options) {
  return std::make_unique<DrawStream>(
      std::move(node),
      ToMessage(slave, {.number = options.container_keys, .size_bits = options.size_bits}),
      options.ahead_keys);
}

}  // namespace keyhop
