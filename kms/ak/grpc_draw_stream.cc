#include "kms/ak/grpc_draw_stream.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/memory/memory.h"
#include "kms/ak/grpc_cancel.h"
#include "kms/ak/grpc_messages.h"
#include "kms/ak/grpc_refusal.h"
#include "kms/ak/request_reader.h"
#include "kms/base/mutex.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;

constexpr uint64_t kContainerKeys = 16;
constexpr uint64_t kCreditMax = std::numeric_limits<uint32_t>::max();

Refusal BadRequest(const char* message) {
  return {Refusal::Kind::kBadRequest, message, {}, std::nullopt};
}

// At any time a draw or a write is under way, or neither. The call is finished only when neither
// is, since both use this object.
class DrawStreamReactor final
    : public grpc::ServerBidiReactor<pb::DrawStreamRequest, pb::KeyContainer> {
 public:
  DrawStreamReactor(DeliveryPort& port, SaeId caller, grpc::CallbackServerContext& context)
      : caller_(std::move(caller)),
        context_(context),
        cancel_(std::make_shared<GrpcCancel>(port)) {}

  void Begin() { StartRead(&request_); }
  void RefuseCaller() {
    {
      MutexLock lock(mu_);
      finished_ = true;
    }
    Finish(RefusedUnauthenticated(context_));
  }

  void OnReadDone(bool ok) override {
    bool more = false;
    {
      MutexLock lock(mu_);
      if (!ok) {
        read_all_ = true;
      } else if (std::optional<Refusal> refusal = Take(request_)) {
        refusal_ = std::move(refusal);
      } else {
        more = !finished_;
      }
    }
    if (more) StartRead(&request_);
    GoOn();
  }

  void OnWriteDone(bool ok) override {
    CleanseKeys(container_);
    container_.Clear();
    if (!ok) cancel_->Ask();
    GoOn(/*was_busy=*/true);
  }

  void OnCancel() override {
    cancel_->Ask();
    GoOn();
  }

  void OnDone() override { delete this; }

 private:
  // One message of the client; a refusal ends the call.
  std::optional<Refusal> Take(const pb::DrawStreamRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (request.has_draw() == draw_.has_value()) {
      return BadRequest("draw shall be in the first message and only there");
    }
    if (!draw_) {
      draw_ = ReadDraw(request.draw(), caller_);
      if (!request.draw().has_number()) draw_->number = kContainerKeys;
      if (std::optional<Refusal> refusal = CheckDraw(*draw_)) return refusal;
      draw_->call = cancel_->call();
    }
    credit_ += request.credit();
    if (credit_ > kCreditMax) return BadRequest("credit: more than 2^32-1 keys are open");
    return std::nullopt;
  }

  // Begins what is to be done next, if nothing is under way. Once the call is finished, or is idle,
  // gRPC may end it: nothing here touches this object after the lock but what it begins.
  void GoOn(bool was_busy = false) {
    std::optional<DrawRequest> draw;
    std::optional<grpc::Status> end;
    {
      MutexLock lock(mu_);
      if (was_busy) busy_ = false;
      if (busy_ || finished_) return;
      if (refusal_ || cancel_->asked() || (read_all_ && credit_ == 0)) {
        finished_ = true;
        end = cancel_->asked() ? grpc::Status::CANCELLED
              : refusal_       ? Refused(context_, *refusal_)
                               : grpc::Status::OK;
      } else if (draw_ && credit_ > 0) {
        busy_ = true;
        draw = *draw_;
        draw->number = std::min(credit_, one_by_one_ ? 1 : draw_->number);
        draw->wait_max = PatienceOf(context_);
      }
    }
    if (end) return Finish(*end);
    if (!draw) return;
    const std::shared_ptr<GrpcCancel> cancel = cancel_;
    cancel->port().Draw(*std::move(draw),
                        [this](Outcome<KeyContainer> outcome) { OnDrawn(outcome); });
    cancel->Posted();
  }

  void OnDrawn(const Outcome<KeyContainer>& outcome) {
    const auto* keys = std::get_if<KeyContainer>(&outcome);
    if (keys != nullptr) Fill(*keys, container_);
    bool write = false;
    {
      MutexLock lock(mu_);
      if (keys != nullptr) {
        credit_ -= std::min<uint64_t>(credit_, keys->keys.size());
        one_by_one_ = false;
        write = !cancel_->asked();
      } else {
        const Refusal& refusal = std::get<Refusal>(outcome);
        const bool smaller = !one_by_one_ && std::min(credit_, draw_->number) > 1;
        if (smaller && (refusal.kind == Refusal::Kind::kUnavailable ||
                        refusal.kind == Refusal::Kind::kExhausted)) {
          // A container may be more than there is, or than a quota has left; one key is not.
          one_by_one_ = true;
        } else if (smaller && refusal.kind == Refusal::Kind::kBadRequest) {
          // It may be more than a quota ever gives at once.
          draw_->number = std::min(credit_, draw_->number) / 2;
        } else {
          refusal_ = refusal;
        }
      }
    }
    if (write) return StartWrite(&container_);
    CleanseKeys(container_);
    GoOn(/*was_busy=*/true);
  }

  const SaeId caller_;
  grpc::CallbackServerContext& context_;
  const std::shared_ptr<GrpcCancel> cancel_;
  pb::DrawStreamRequest request_;  // Of the read under way.
  pb::KeyContainer container_;     // Of the draw or write under way.

  Mutex mu_;
  std::optional<DrawRequest> draw_ ABSL_GUARDED_BY(mu_);
  uint64_t credit_ ABSL_GUARDED_BY(mu_) = 0;
  bool one_by_one_ ABSL_GUARDED_BY(mu_) = false;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;
  bool read_all_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<Refusal> refusal_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

grpc::ServerBidiReactor<pb::DrawStreamRequest, pb::KeyContainer>* StartDrawStream(
    DeliveryPort& port, absl::StatusOr<SaeId> caller, grpc::CallbackServerContext& context) {
  const bool known = caller.ok();
  auto reactor =
      absl::make_unique<DrawStreamReactor>(port, known ? *std::move(caller) : SaeId(), context);
  if (known) {
    reactor->Begin();
  } else {
    reactor->RefuseCaller();
  }
  return reactor.release();
}

}  // namespace keyhop
