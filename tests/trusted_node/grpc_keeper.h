#ifndef KEYHOP_TESTS_TRUSTED_NODE_GRPC_KEEPER_H_
#define KEYHOP_TESTS_TRUSTED_NODE_GRPC_KEEPER_H_

#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace keyhop {

// gRPC 1.51 ends its callback threads with the last channel and server that uses them, and now and
// then aborts there (cq_internal_unref: prior > 0). A daemon has one life; tests make and end many
// servers: this channel, used once and never destroyed, keeps the threads.
class GrpcKeeper : public ::testing::Environment {
 public:
  void SetUp() override {
    class Call : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
     public:
      void OnDone(const grpc::Status&) override { done.set_value(); }
      grpc::ClientContext context;
      std::promise<void> done;
    } call;
    static auto* stub = new grpc::GenericStub(
        grpc::CreateChannel("127.0.0.1:1", grpc::InsecureChannelCredentials()));
    stub->PrepareBidiStreamingCall(&call.context, "/none/None", grpc::StubOptions(), &call);
    call.StartCall();
    call.done.get_future().wait();
  }
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_TRUSTED_NODE_GRPC_KEEPER_H_
