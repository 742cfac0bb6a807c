#ifndef KEYHOP_TESTS_SIM_LINKSIM_FAKE_KM_H_
#define KEYHOP_TESTS_SIM_LINKSIM_FAKE_KM_H_

#include <grpcpp/server.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "keyhop/kq1/v1/kq1.grpc.pb.h"
#include "kms/base/mutex.h"
#include "sim/linksim/node_credentials.h"

namespace keyhop {

// A KM as a QKD module sees it: a Kq-1 server with mutual TLS and a "disk" that survives Kill.
// Blocks become durable in batches and are acknowledged one batch later, so that a kill finds
// blocks that were received and lost, and blocks that are durable and were never acknowledged.
// Thread-safe.
class FakeKm final : public kq1::v1::KeyManagerQ::Service {
 public:
  static constexpr uint32_t kWindow = 16;
  static constexpr size_t kBatch = 3;

  explicit FakeKm(TlsFiles tls) : tls_(std::move(tls)) {}
  ~FakeKm() override { Kill(); }

  // Listens on a port that the kernel chooses the first time, and on the same one later.
  void Start();
  // Ends the server at once; what was not durable is lost.
  void Kill();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  void Command(kq1::v1::ModuleCommand::Action action);

  // What only the disk knows.
  using Run = std::vector<std::string>;
  std::map<uint64_t, Run> disk() const;
  size_t DurableBlocks(uint64_t run) const;
  // An old image: the newest blocks of the run are gone.
  void Restore(uint64_t run, size_t blocks);
  // As if the module pair had once finished this run.
  void Know(uint64_t run);

  std::vector<kq1::v1::Attach> attaches() const;
  kq1::v1::Attach last_attach() const;
  kq1::v1::LinkStatus last_status() const;
  int statuses() const;
  // Blocks that came out of order, twice, above the window or with the wrong size.
  int faults() const;

  // One more change of this KM, or a moment without.
  void AwaitChange();

 private:
  using Stream = grpc::ServerReaderWriter<kq1::v1::ManagerMessage, kq1::v1::ModuleMessage>;
  grpc::Status Attach(grpc::ServerContext* context, Stream* stream) override;
  void Welcome(const kq1::v1::Attach& attach, Stream& stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Take(const kq1::v1::KeyBlock& block, Stream& stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const TlsFiles tls_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;

  mutable Mutex mu_;
  CondVar changed_;
  std::map<uint64_t, Run> disk_ ABSL_GUARDED_BY(mu_);
  Run staged_ ABSL_GUARDED_BY(mu_);
  uint64_t acknowledged_ ABSL_GUARDED_BY(mu_) = 0;
  Stream* stream_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::vector<kq1::v1::Attach> attaches_ ABSL_GUARDED_BY(mu_);
  kq1::v1::LinkStatus status_ ABSL_GUARDED_BY(mu_);
  int statuses_ ABSL_GUARDED_BY(mu_) = 0;
  int faults_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_SIM_LINKSIM_FAKE_KM_H_
