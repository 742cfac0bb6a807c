#ifndef KEYHOP_TRUSTED_NODE_KQ1_MODULE_STREAM_H_
#define KEYHOP_TRUSTED_NODE_KQ1_MODULE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/alarm.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/support/byte_buffer.h"
#include "keyhop/kq1/v1/kq1.pb.h"
#include "kms/base/instant.h"
#include "kms/base/mutex.h"
#include "kms/base/secret_bytes.h"
#include "trusted_node/core/node/port.h"

namespace keyhop {

// What a stream needs of the server that it belongs to.
class ModuleHost {
 public:
  struct Admission {
    uint32_t window_blocks = 1;
    bool enabled = true;
  };
  virtual ~ModuleHost() = default;
  // May this module feed this link? The error's reason goes to the module.
  virtual std::optional<kq1::v1::Refused> Admit(const std::string& module,
                                                const kq1::v1::Attach& attach,
                                                std::shared_ptr<class ModuleStream> stream,
                                                Admission& admission) = 0;
  virtual void StatusOf(const kq1::v1::Attach& attach, const kq1::v1::LinkStatus& status,
                        std::function<void()> processed) = 0;
  virtual void BlockTaken(const kq1::v1::Attach& attach) = 0;
  virtual void Refused(const std::string& module, const kq1::v1::Refused& refused) = 0;
  // gRPC is done with the stream; `attach` is null if it was never admitted.
  virtual void Gone(const std::shared_ptr<class ModuleStream>& stream,
                    const kq1::v1::Attach* attach) = 0;
};

// One Kq-1 stream with one authenticated module.
//
// Blocks enter in order of their numbers and are kept until the core has them durably; a block that
// the core has no room for is offered again, and those behind it wait their turn. At most a window
// of them is here; no message is read while one other than a block is being handled. Thread-safe.
class ModuleStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  ModuleStream(grpc::CallbackServerContext* context, std::string module, NodePort& node,
               ModuleHost& host, Duration retry)
      : context_(context), module_(std::move(module)), node_(node), host_(host), retry_(retry) {}

  // gRPC holds `self` until the stream is done.
  void Begin(std::shared_ptr<ModuleStream> self);
  // An operator's command.
  void Command(bool enable);
  // Ends the stream, now.
  void Close();

 private:
  // A block that came and is not durable yet.
  struct Waiting {
    uint64_t block = 0;
    SecretBytes bytes;  // Kept, to be offered again.
    bool offered = false;
    bool taken = false;
  };

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void OnAttach(const kq1::v1::Attach& attach);
  void OnTakenTops(const std::map<BookId, uint64_t>& tops);
  void OnBlock(kq1::v1::KeyBlock& block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnTaken(uint64_t block, const absl::Status& status);
  void Offer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MaybeWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Refuse(kq1::v1::Refused::Reason reason, absl::string_view detail)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Refuse(const kq1::v1::Refused& refused) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MaybeFinish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  grpc::CallbackServerContext* const context_;
  const std::string module_;
  NodePort& node_;
  ModuleHost& host_;
  const Duration retry_;

  Mutex mu_;
  std::shared_ptr<ModuleStream> self_;  // gRPC's hold, until OnDone.
  grpc::ByteBuffer incoming_;           // Of the read under way.
  grpc::ByteBuffer outgoing_;           // Of the write under way.
  bool admitted_ ABSL_GUARDED_BY(mu_) = false;
  bool attached_ ABSL_GUARDED_BY(mu_) = false;  // Attached is on its way: blocks may come.
  kq1::v1::Attach attach_;                      // Set before admitted_.
  uint32_t window_blocks_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t next_block_ ABSL_GUARDED_BY(mu_) = 0;  // Above the last one that came.
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<grpc::Alarm> retry_alarm_ ABSL_GUARDED_BY(mu_);

  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mu_);
  // Waiting to be written; an acknowledgement and a command replace their older ones.
  std::optional<kq1::v1::Attached> say_attached_ ABSL_GUARDED_BY(mu_);
  std::optional<uint64_t> say_ack_ ABSL_GUARDED_BY(mu_);
  std::optional<bool> say_enable_ ABSL_GUARDED_BY(mu_);
  std::optional<kq1::v1::Refused> say_refused_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_KQ1_MODULE_STREAM_H_
