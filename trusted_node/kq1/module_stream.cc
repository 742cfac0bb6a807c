#include "trusted_node/kq1/module_stream.h"

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/support/time.h"
#include "grpcpp/impl/codegen/proto_utils.h"

namespace keyhop {
namespace {

namespace pb = kq1::v1;

grpc::StatusCode CodeOf(pb::Refused::Reason reason) {
  switch (reason) {
    case pb::Refused::REASON_UNKNOWN_LINK:
      return grpc::StatusCode::NOT_FOUND;
    case pb::Refused::REASON_NOT_AUTHORISED:
      return grpc::StatusCode::PERMISSION_DENIED;
    case pb::Refused::REASON_ALREADY_ATTACHED:
      return grpc::StatusCode::ALREADY_EXISTS;
    case pb::Refused::REASON_OLD_RUN:
    case pb::Refused::REASON_BLOCK_GAP:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case pb::Refused::REASON_WINDOW_EXCEEDED:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case pb::Refused::REASON_SHUTTING_DOWN:
      return grpc::StatusCode::UNAVAILABLE;
    default:
      return grpc::StatusCode::INVALID_ARGUMENT;
  }
}

}  // namespace

void ModuleStream::Begin(std::shared_ptr<ModuleStream> self) {
  self_ = std::move(self);
  MutexLock lock(mu_);
  Read();
}

void ModuleStream::Read() {
  if (closing_) return;
  incoming_.Clear();
  StartRead(&incoming_);
}

void ModuleStream::OnReadDone(bool ok) {
  pb::ModuleMessage message;
  const bool parsed =
      ok && grpc::SerializationTraits<pb::ModuleMessage>::Deserialize(&incoming_, &message).ok();
  if (parsed && message.has_attach()) {
    // Without mu_: the server has to be asked, and it calls streams under its own lock.
    OnAttach(message.attach());
    return;
  }
  MutexLock lock(mu_);
  if (closing_) return;
  if (!ok) {
    // gRPC does not tell a message that was cut off from the end of the module's half. A module
    // never ends its half; where the connection broke nobody hears this.
    closing_ = true;
    status_ = grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                           "the stream ended, or a keyhop.kq1.v1.ModuleMessage was cut off");
    MaybeFinish();
    return;
  }
  if (!parsed || message.body_case() == pb::ModuleMessage::BODY_NOT_SET) {
    return Refuse(pb::Refused::REASON_MALFORMED, "not a keyhop.kq1.v1.ModuleMessage");
  }
  if (!attached_) return Refuse(pb::Refused::REASON_MALFORMED, "the first message is Attach");
  if (message.has_key_block()) {
    OnBlock(*message.mutable_key_block());
    Cleanse(*message.mutable_key_block()->mutable_key());
    return Read();
  }
  host_.StatusOf(attach_, message.link_status(), [self = self_] {
    MutexLock inner(self->mu_);
    self->Read();
  });
}

void ModuleStream::OnAttach(const pb::Attach& attach) {
  {
    MutexLock lock(mu_);
    if (closing_) return;
    if (admitted_) return Refuse(pb::Refused::REASON_MALFORMED, "a second Attach");
  }
  ModuleHost::Admission admission;
  const std::optional<pb::Refused> refused = host_.Admit(module_, attach, self_, admission);
  MutexLock lock(mu_);
  if (refused.has_value()) return Refuse(*refused);
  admitted_ = true;
  attach_ = attach;
  window_blocks_ = admission.window_blocks;
  if (!say_enable_.has_value()) say_enable_ = admission.enabled;
  node_.AskTakenTops(
      LinkId(attach.link_id()),
      [self = self_](const std::map<BookId, uint64_t>& tops) { self->OnTakenTops(tops); });
}

void ModuleStream::OnTakenTops(const std::map<BookId, uint64_t>& tops) {
  MutexLock lock(mu_);
  if (closing_) return;
  pb::Attached attached;
  attached.set_window(window_blocks_);
  for (const auto& [book, next_block] : tops) {
    if (book.module_pair != attach_.module_pair()) continue;
    pb::TakenRun* taken = attached.add_taken();
    taken->set_run(book.run);
    taken->set_next_block(next_block);
    if (book.run == attach_.run()) next_block_ = next_block;
  }
  attached_ = true;
  say_attached_ = std::move(attached);
  MaybeWrite();
  Read();
}

void ModuleStream::OnBlock(pb::KeyBlock& block) {
  if (block.run() != attach_.run()) {
    return Refuse(pb::Refused::REASON_MALFORMED, "a block of another run than Attach said");
  }
  if (block.key().size() != attach_.block_bytes()) {
    return Refuse(pb::Refused::REASON_MALFORMED,
                  absl::StrCat("a block of ", block.key().size(), " bytes, Attach said ",
                               attach_.block_bytes()));
  }
  if (block.block() < next_block_) {
    // Durable before, or in `waiting_`: its acknowledgement is on its way or comes again here.
    const uint64_t durable = waiting_.empty() ? next_block_ : waiting_.front().block;
    if (block.block() < durable) say_ack_ = durable - 1;
    return MaybeWrite();
  }
  if (block.block() > next_block_) {
    return Refuse(pb::Refused::REASON_BLOCK_GAP,
                  absl::StrCat("block ", block.block(), " came where ", next_block_, " is due"));
  }
  if (waiting_.size() >= window_blocks_) {
    return Refuse(pb::Refused::REASON_WINDOW_EXCEEDED,
                  absl::StrCat("more than ", window_blocks_, " unacknowledged blocks"));
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(block.key().data());
  waiting_.push_back({block.block(), SecretBytes::CopyOf({bytes, block.key().size()})});
  ++next_block_;
  Offer();
}

void ModuleStream::Offer() {
  if (retry_alarm_ != nullptr) return;  // The first one waits; those behind it too.
  for (Waiting& waiting : waiting_) {
    if (waiting.offered || closing_) continue;
    waiting.offered = true;
    node_.BlockArrived(LinkId(attach_.link_id()), BookId{attach_.module_pair(), attach_.run()},
                       waiting.block, waiting.bytes.Duplicate(SecretAccess::ForWire()),
                       [self = self_, number = waiting.block](const absl::Status& status) {
                         self->OnTaken(number, status);
                       });
  }
}

void ModuleStream::OnTaken(uint64_t block, const absl::Status& status) {
  MutexLock lock(mu_);
  if (closing_ || waiting_.empty() || block < waiting_.front().block) return;
  Waiting& waiting = waiting_[block - waiting_.front().block];
  switch (status.code()) {
    case absl::StatusCode::kOk:
      waiting.taken = true;
      waiting.bytes = SecretBytes();
      host_.BlockTaken(attach_);
      break;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      waiting.offered = false;
      if (retry_alarm_ == nullptr) {
        retry_alarm_ = std::make_unique<grpc::Alarm>();
        retry_alarm_->Set(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                       gpr_time_from_nanos(retry_.ns, GPR_TIMESPAN)),
                          [self = self_](bool) {
                            MutexLock inner(self->mu_);
                            self->retry_alarm_ = nullptr;
                            self->Offer();
                          });
      }
      return;
    case absl::StatusCode::kFailedPrecondition:
      return Refuse(pb::Refused::REASON_OLD_RUN, status.message());
    default:
      return Refuse(pb::Refused::REASON_MALFORMED, status.message());
  }
  while (!waiting_.empty() && waiting_.front().taken) {
    say_ack_ = waiting_.front().block;
    waiting_.pop_front();
  }
  MaybeWrite();
}

void ModuleStream::Command(bool enable) {
  MutexLock lock(mu_);
  say_enable_ = enable;
  MaybeWrite();
}

void ModuleStream::Refuse(pb::Refused::Reason reason, absl::string_view detail) {
  pb::Refused refused;
  refused.set_reason(reason);
  refused.set_detail(std::string(detail));
  Refuse(refused);
}

void ModuleStream::Refuse(const pb::Refused& refused) {
  if (closing_) return;
  closing_ = true;
  status_ = grpc::Status(CodeOf(refused.reason()), refused.detail());
  say_refused_ = refused;
  host_.Refused(module_, refused);
  MaybeWrite();
}

void ModuleStream::Close() {
  MutexLock lock(mu_);
  if (done_) return;  // gRPC's call is gone.
  if (!closing_) {
    closing_ = true;
    status_ = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the KM shuts down; attach again");
  }
  context_->TryCancel();
  MaybeFinish();
}

void ModuleStream::MaybeWrite() {
  if (writing_ || finished_) return;
  pb::ManagerMessage message;
  if (say_refused_.has_value()) {
    *message.mutable_refused() = *std::exchange(say_refused_, std::nullopt);
  } else if (closing_ || (!attached_)) {
    return MaybeFinish();
  } else if (say_attached_.has_value()) {
    *message.mutable_attached() = *std::exchange(say_attached_, std::nullopt);
  } else if (say_enable_.has_value()) {
    message.mutable_module_command()->set_action(*std::exchange(say_enable_, std::nullopt)
                                                     ? pb::ModuleCommand::ACTION_ENABLE
                                                     : pb::ModuleCommand::ACTION_DISABLE);
  } else if (say_ack_.has_value()) {
    message.mutable_block_ack()->set_run(attach_.run());
    message.mutable_block_ack()->set_block(*std::exchange(say_ack_, std::nullopt));
  } else {
    return;
  }
  bool own_buffer = false;
  outgoing_.Clear();
  if (!grpc::SerializationTraits<pb::ManagerMessage>::Serialize(message, &outgoing_, &own_buffer)
           .ok()) {
    return;
  }
  writing_ = true;
  StartWrite(&outgoing_);
}

void ModuleStream::OnWriteDone(bool ok) {
  MutexLock lock(mu_);
  writing_ = false;
  if (!ok) {
    closing_ = true;
    say_refused_.reset();
  }
  MaybeWrite();
}

void ModuleStream::MaybeFinish() {
  if (!closing_ || writing_ || finished_ || say_refused_.has_value()) return;
  finished_ = true;
  waiting_.clear();
  Finish(status_);
}

void ModuleStream::OnCancel() {
  MutexLock lock(mu_);
  closing_ = true;
  say_refused_.reset();
  MaybeFinish();
}

void ModuleStream::OnDone() {
  bool admitted = false;
  std::unique_ptr<grpc::Alarm> alarm;
  {
    MutexLock lock(mu_);
    closing_ = true;
    done_ = true;
    waiting_.clear();
    admitted = admitted_;
    alarm = std::move(retry_alarm_);  // Its end cancels it, without mu_.
  }
  alarm.reset();
  const std::shared_ptr<ModuleStream> self = std::move(self_);
  host_.Gone(self, admitted ? &attach_ : nullptr);
}

}  // namespace keyhop
