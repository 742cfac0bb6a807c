#include "trusted_node/kx/peer_stream.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "keyhop/kx/v1/kx.pb.h"
#include "trusted_node/wire/kx.h"

namespace keyhop {
namespace {

// About what a message takes in memory; exact only in what may be large.
size_t SizeOf(const KxMessage& message) {
  size_t bytes = sizeof(KxMessage);
  if (const RelayFrame* frame = std::get_if<RelayFrame>(&message)) {
    bytes += frame->ciphertext.size() + frame->pads.size() * sizeof(PadRange);
  } else if (const LinkState* state = std::get_if<LinkState>(&message)) {
    bytes += state->links.size() * sizeof(LinkAdvert) + state->saes.size() * sizeof(SaeAdvert);
  }
  return bytes;
}

using Traits = grpc::SerializationTraits<kx::v1::KxMessage>;

}  // namespace

void PeerStream::Send(KxMessage message) {
  const size_t bytes = SizeOf(message);
  MutexLock lock(mu_);
  if (closing_ || queue_.size() >= limits_.queue_messages_max ||
      queue_bytes_ + bytes > limits_.queue_bytes_max) {
    ++counts_.dropped_messages;
    return;
  }
  queue_.push_back({std::move(message), bytes});
  queue_bytes_ += bytes;
  MaybeWrite();
}

void PeerStream::MaybeWrite() {
  if (writing_ || closing_ || queue_.empty()) return;
  const Queued next = std::move(queue_.front());
  queue_.pop_front();
  queue_bytes_ -= next.bytes;
  outgoing_.Clear();
  bool own_buffer = false;
  const grpc::Status made = Traits::Serialize(ToProto(next.message), &outgoing_, &own_buffer);
  if (!made.ok()) {
    ++counts_.dropped_messages;
    return;
  }
  ++counts_.sent_messages;
  counts_.sent_bytes += outgoing_.Length();
  writing_ = true;
  grpc::WriteOptions options;
  // More is coming: gRPC may put several messages into one packet.
  if (!queue_.empty()) options.set_buffer_hint();
  StartWriteOp(&outgoing_, options);
}

void PeerStream::DidWrite(bool ok) {
  MutexLock lock(mu_);
  writing_ = false;
  if (!ok) BrokeLocked();
  MaybeWrite();
  MaybeEnd();
}

void PeerStream::BeginReading() {
  MutexLock lock(mu_);
  MaybeRead();
}

void PeerStream::MaybeRead() {
  if (reading_ || closing_ || unprocessed_ >= limits_.unprocessed_max) return;
  reading_ = true;
  incoming_.Clear();
  StartReadOp(&incoming_);
}

void PeerStream::DidRead(bool ok) {
  // Only one read is under way, so `incoming_` is ours until the next one.
  const size_t bytes = ok ? incoming_.Length() : 0;
  kx::v1::KxMessage proto;
  absl::StatusOr<KxMessage> message = absl::InvalidArgumentError("not a keyhop.kx.v1.KxMessage");
  if (ok && Traits::Deserialize(&incoming_, &proto).ok()) message = FromProto(proto);

  MutexLock lock(mu_);
  reading_ = false;
  if (closing_) {
    MaybeEnd();
    return;
  }
  if (!ok) {
    BrokeLocked();
    return;
  }
  if (!message.ok()) {
    ++counts_.refused_messages;
    CloseLocked(
        grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, std::string(message.status().message())),
        How::kAfterWrite);
    return;
  }
  ++counts_.received_messages;
  counts_.received_bytes += bytes;
  ++unprocessed_;
  // Under mu_: nothing of this stream comes after Close.
  node_.PeerSaid(peer_, *std::move(message), [self = shared_from_this()] { self->Processed(); });
  MaybeRead();
}

void PeerStream::Processed() {
  MutexLock lock(mu_);
  --unprocessed_;
  MaybeRead();
}

void PeerStream::Close(const grpc::Status& status, How how) {
  MutexLock lock(mu_);
  CloseLocked(status, how);
}

void PeerStream::Broke() {
  MutexLock lock(mu_);
  BrokeLocked();
}

void PeerStream::BrokeLocked() {
  broken_ = true;
  CloseLocked(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the stream broke"), How::kAfterWrite);
}

void PeerStream::CloseLocked(const grpc::Status& status, How how) {
  if (closing_) return;
  closing_ = true;
  status_ = status;
  counts_.dropped_messages += queue_.size();
  queue_.clear();
  queue_bytes_ = 0;
  if (how == How::kNow) Cancel();
  MaybeEnd();
}

void PeerStream::MaybeEnd() {
  if (!closing_ || writing_ || ended_) return;
  ended_ = true;
  End(status_, broken_);
}

}  // namespace keyhop
