#ifndef KEYHOP_SIM_LINKSIM_MODULE_SESSION_H_
#define KEYHOP_SIM_LINKSIM_MODULE_SESSION_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include "keyhop/kq1/v1/kq1.grpc.pb.h"

namespace keyhop {

// What a module hears from its Kq-1 stream. Called on gRPC's threads, one call at a time for each
// of reads, writes and the end; `OnEnded` is the last, after which the session may be destroyed.
class SessionListener {
 public:
  virtual ~SessionListener() = default;
  virtual void OnMessage(int end, const kq1::v1::ManagerMessage& message) = 0;
  // The message under way was taken by gRPC, and cleansed here.
  virtual void OnWritten(int end) = 0;
  // The stream is closing: the listener must not write from its return on.
  virtual void OnClosing(int end) = 0;
  virtual void OnEnded(int end, const grpc::Status& status) = 0;
};

// One Kq-1 stream of the module at `end`: one message under way at a time. A message that held key
// bytes is cleansed when gRPC has serialised it; gRPC's and TLS's own buffers are out of our reach.
//
// `Write` and `Cancel` are to be called under the listener's own lock, and `Write` only while
// nothing is under way and the stream is not closing.
class ModuleSession final
    : private grpc::ClientBidiReactor<kq1::v1::ModuleMessage, kq1::v1::ManagerMessage> {
 public:
  ModuleSession(SessionListener& listener, int end) : listener_(listener), end_(end) {}
  ~ModuleSession() override { CleanseOutgoing(); }

  // Opens the stream with the message in `outgoing()`.
  void Start(kq1::v1::KeyManagerQ::Stub& stub);
  // The message to fill before Start and Write.
  kq1::v1::ModuleMessage& outgoing() { return outgoing_; }
  void Write() { StartWrite(&outgoing_); }
  void Cancel() { context_.TryCancel(); }

 private:
  void OnWriteDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void CleanseOutgoing();

  SessionListener& listener_;
  const int end_;
  grpc::ClientContext context_;
  kq1::v1::ModuleMessage outgoing_;
  kq1::v1::ManagerMessage incoming_;
};

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_MODULE_SESSION_H_
