#include "kms/ak/grpc_watch.h"

#include <memory>
#include <utility>
#include <variant>

#include "absl/memory/memory.h"
#include "kms/ak/grpc_cancel.h"
#include "kms/ak/grpc_refusal.h"
#include "kms/core/uuid.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;

// A token: a byte for its form, life and number, big-endian.
constexpr char kTokenForm = 1;
constexpr size_t kTokenBytes = 17;

void Append(uint64_t value, std::string& out) {
  for (int i = 7; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t ReadU64(absl::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes.substr(0, 8)) value = (value << 8) | static_cast<uint8_t>(c);
  return value;
}

void Fill(const WatchAnswer& answer, pb::KeysAnnounced& out) {
  for (const WatchEntry& entry : answer.entries) {
    pb::KeyAnnouncement& put = *out.add_announcements();
    if (entry.gap_at) {
      put.mutable_gap()->set_source_kme_id(entry.gap_at->value);
      continue;
    }
    put.mutable_drawn()->set_key_id(FormatUuid(entry.key_id));
    put.mutable_drawn()->set_master_sae_id(entry.master.value);
    put.mutable_drawn()->set_size(entry.size_bits);
  }
  out.set_resume_token(TokenOf(answer.seen));
}

// At any time it waits for news or writes them. The call is finished only in between, since both
// use this object.
class WatchReactor final : public grpc::ServerWriteReactor<pb::KeysAnnounced> {
 public:
  WatchReactor(DeliveryPort& port, WatchRequest request, grpc::CallbackServerContext& context)
      : context_(context),
        cancel_(std::make_shared<GrpcCancel>(port)),
        request_(std::move(request)) {
    request_.call = cancel_->call();
  }

  void Begin() { GoOn(); }
  void OnWriteDone(bool ok) override {
    news_.Clear();
    if (!ok) cancel_->Ask();
    GoOn();
  }
  void OnCancel() override { cancel_->Ask(); }
  void OnDone() override { delete this; }

 private:
  // Called when neither a wait nor a write is under way: nothing here touches this object after it
  // began one of them or finished the call.
  void GoOn() {
    if (cancel_->asked()) return Finish(grpc::Status::CANCELLED);
    const std::shared_ptr<GrpcCancel> cancel = cancel_;
    cancel->port().Watch(request_, [this](Outcome<WatchAnswer> outcome) { OnNews(outcome); });
    cancel->Posted();
  }

  void OnNews(const Outcome<WatchAnswer>& outcome) {
    if (cancel_->asked()) return Finish(grpc::Status::CANCELLED);
    const auto* answer = std::get_if<WatchAnswer>(&outcome);
    if (answer == nullptr) return Finish(Refused(context_, std::get<Refusal>(outcome)));
    Fill(*answer, news_);
    request_.seen = answer->seen;
    StartWrite(&news_);
  }

  grpc::CallbackServerContext& context_;
  const std::shared_ptr<GrpcCancel> cancel_;
  WatchRequest request_;
  pb::KeysAnnounced news_;
};

}  // namespace

std::string TokenOf(const WatchRequest::Place& place) {
  std::string token(1, kTokenForm);
  Append(place.life, token);
  Append(place.number, token);
  return token;
}

std::optional<WatchRequest::Place> ParseToken(absl::string_view token) {
  if (token.size() != kTokenBytes || token[0] != kTokenForm) return std::nullopt;
  return WatchRequest::Place{ReadU64(token.substr(1)), ReadU64(token.substr(9))};
}

grpc::ServerWriteReactor<pb::KeysAnnounced>* StartWatch(DeliveryPort& port,
                                                        absl::StatusOr<SaeId> caller,
                                                        const pb::WatchKeysRequest& request,
                                                        grpc::CallbackServerContext& context) {
  WatchRequest watch;
  if (caller.ok()) watch.caller = *caller;
  if (!request.resume_token().empty()) watch.seen = ParseToken(request.resume_token());
  const bool bad_token = !request.resume_token().empty() && !watch.seen;
  auto reactor = absl::make_unique<WatchReactor>(port, std::move(watch), context);
  if (!caller.ok()) {
    reactor->Finish(RefusedUnauthenticated(context));
  } else if (bad_token) {
    reactor->Finish(Refused(context, Refusal{Refusal::Kind::kBadRequest,
                                             "resume_token was not given by this method",
                                             {},
                                             std::nullopt}));
  } else {
    reactor->Begin();
  }
  return reactor.release();
}

}  // namespace keyhop
