#ifndef KEYHOP_KMS_AK_GRPC_WIPING_ALLOCATOR_H_
#define KEYHOP_KMS_AK_GRPC_WIPING_ALLOCATOR_H_

#include <grpcpp/support/message_allocator.h>

namespace keyhop {

// Holds the messages of one call; calls `Wipe` on the answer, which has keys, when gRPC is done
// with it. Thread-safe.
template <typename Request, typename Answer, void (*Wipe)(Answer&)>
class WipingAllocator final : public grpc::MessageAllocator<Request, Answer> {
 public:
  grpc::MessageHolder<Request, Answer>* AllocateMessages() override { return new Holder(); }

 private:
  class Holder final : public grpc::MessageHolder<Request, Answer> {
   public:
    Holder() {
      this->set_request(&request_);
      this->set_response(&answer_);
    }
    void Release() override {
      Wipe(answer_);
      delete this;
    }

   private:
    Request request_;
    Answer answer_;
  };
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_GRPC_WIPING_ALLOCATOR_H_
