#include <grpcpp/grpcpp.h>

#include <csignal>
#include <memory>

#include "absl/strings/str_cat.h"
#include "bench/servers.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/base/status_macros.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop::bench {
namespace {

namespace pb = ::keyhop::delivery::v1;

sigset_t EndSignals() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  return ends;
}

class EchoService final : public pb::KeyDelivery::CallbackService {
 public:
  explicit EchoService(int key_bytes) {
    pb::Key& key = *answer_.add_keys();
    key.set_key_id("00000000-0000-4000-8000-000000000000");
    key.set_key(std::string(static_cast<size_t>(key_bytes), '\0'));
  }

  grpc::ServerUnaryReactor* GetKey(grpc::CallbackServerContext* context, const pb::KeyRequest*,
                                   pb::KeyContainer* answer) override {
    *answer = answer_;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  pb::KeyContainer answer_;
};

}  // namespace

void BlockEndSignals() {
  const sigset_t ends = EndSignals();
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
}

void WaitForEndSignal() {
  const sigset_t ends = EndSignals();
  int number = 0;
  sigwait(&ends, &number);
}

absl::Status ServeGrpcEcho(const std::string& address, const PemFiles& files, int key_bytes) {
  BlockEndSignals();
  KEYHOP_ASSIGN_OR_RETURN(const GrpcTls tls, GrpcTls::Create(files));
  EchoService service(key_bytes);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, tls.Server(CertificateKind::kSae, IdentityRules{}));
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return absl::UnavailableError(absl::StrCat("cannot listen at ", address));
  WaitForEndSignal();
  server->Shutdown(std::chrono::system_clock::now());
  return absl::OkStatus();
}

}  // namespace keyhop::bench
