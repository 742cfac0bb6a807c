#ifndef KEYHOP_TESTS_KMS_CLIENT_SCRIPTED_NODE_H_
#define KEYHOP_TESTS_KMS_CLIENT_SCRIPTED_NODE_H_

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/base/mutex.h"

namespace keyhop {

// How the scripted node ends a call.
enum class End {
  kAnswer,
  kNotNow,     // The node's own word, with a hint.
  kQuota,      // The same, of a quota.
  kRefuse,     // The node's own word.
  kBreak,      // As a broken connection looks: UNAVAILABLE, and nothing of the node.
  kBreakLate,  // As a deadline that ran out.
  kSilent,     // Of a stream: nothing comes until the client leaves.
};

// A node that counts what it drew and ends calls as it is told; kAnswer when nothing is left of the
// script. A stream gives one key before it ends by its script, or the keys of its first credit and
// all later ones with kAnswer. Thread-safe.
class ScriptedNode final : public delivery::v1::KeyDelivery::Service {
 public:
  explicit ScriptedNode(std::deque<End> script) : script_(std::move(script)) {}

  grpc::Status GetStatus(grpc::ServerContext* context, const delivery::v1::GetStatusRequest*,
                         delivery::v1::Status* answer) override {
    answer->set_key_size(256);
    return Finish(*context, Begin());
  }
  grpc::Status GetKey(grpc::ServerContext* context, const delivery::v1::KeyRequest* request,
                      delivery::v1::KeyContainer* answer) override {
    {
      MutexLock lock(mu_);
      last_draw_ = *request;
    }
    return Give(*context, *answer);
  }
  grpc::Status GetKeyWithKeyIds(grpc::ServerContext* context, const delivery::v1::KeyIdsRequest*,
                                delivery::v1::KeyContainer* answer) override {
    return Give(*context, *answer);
  }
  grpc::Status DrawStream(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<delivery::v1::KeyContainer, delivery::v1::DrawStreamRequest>* stream)
      override {
    const End end = Begin();
    delivery::v1::DrawStreamRequest request;
    while (stream->Read(&request)) {
      if (end == End::kNotNow || end == End::kRefuse) return Finish(*context, end);
      if (end == End::kSilent) continue;
      const uint32_t keys = end == End::kAnswer ? request.credit() : 1;
      for (uint32_t i = 0; i < keys; ++i) {
        delivery::v1::KeyContainer container;
        Make(container);
        stream->Write(container);
      }
      if (end != End::kAnswer) return Finish(*context, end);
    }
    return grpc::Status::OK;
  }

  int calls() {
    MutexLock lock(mu_);
    return calls_;
  }
  int drawn() {
    MutexLock lock(mu_);
    return drawn_;
  }
  std::vector<std::string> idempotency_keys() {
    MutexLock lock(mu_);
    return keys_;
  }
  delivery::v1::KeyRequest last_draw() {
    MutexLock lock(mu_);
    return last_draw_;
  }

 private:
  End Begin() {
    MutexLock lock(mu_);
    ++calls_;
    if (script_.empty()) return End::kAnswer;
    const End end = script_.front();
    script_.pop_front();
    return end;
  }
  void Make(delivery::v1::KeyContainer& container) {
    {
      MutexLock lock(mu_);
      ++drawn_;
    }
    delivery::v1::Key& made = *container.add_keys();
    made.set_key_id("0f52ae4e-3c1c-4d4b-9a53-6a3b8a3e54d1");
    made.set_key(std::string(32, 'k'));
  }
  grpc::Status Give(grpc::ServerContext& context, delivery::v1::KeyContainer& answer) {
    const auto key = context.client_metadata().find("idempotency-key");
    if (key != context.client_metadata().end()) {
      MutexLock lock(mu_);
      keys_.emplace_back(key->second.data(), key->second.size());
    }
    const End end = Begin();
    // Done, whether or not the answer arrives.
    if (end == End::kAnswer || end == End::kBreak || end == End::kBreakLate) Make(answer);
    return Finish(context, end);
  }
  static grpc::Status Finish(grpc::ServerContext& context, End end) {
    switch (end) {
      case End::kAnswer:
      case End::kSilent:
        return grpc::Status::OK;
      case End::kNotNow:
        return Say(context, "unavailable", {grpc::StatusCode::UNAVAILABLE, "not enough key now"});
      case End::kQuota:
        return Say(context, "exhausted", {grpc::StatusCode::RESOURCE_EXHAUSTED, "quota"});
      case End::kRefuse:
        context.AddTrailingMetadata("keyhop-refusal", "bad-request");
        return {grpc::StatusCode::INVALID_ARGUMENT, "never"};
      case End::kBreak:
        return {grpc::StatusCode::UNAVAILABLE, "Socket closed"};
      case End::kBreakLate:
        break;
    }
    return {grpc::StatusCode::DEADLINE_EXCEEDED, "too late"};
  }
  static grpc::Status Say(grpc::ServerContext& context, const char* kind, grpc::Status status) {
    context.AddTrailingMetadata("keyhop-refusal", kind);
    context.AddTrailingMetadata("retry-after-ms", "20");
    return status;
  }

  Mutex mu_;
  std::deque<End> script_ ABSL_GUARDED_BY(mu_);
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
  int drawn_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::string> keys_ ABSL_GUARDED_BY(mu_);
  delivery::v1::KeyRequest last_draw_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_CLIENT_SCRIPTED_NODE_H_
