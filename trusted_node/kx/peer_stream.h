#ifndef KEYHOP_TRUSTED_NODE_KX_PEER_STREAM_H_
#define KEYHOP_TRUSTED_NODE_KX_PEER_STREAM_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/support/byte_buffer.h"
#include "kms/base/mutex.h"
#include "trusted_node/core/node/port.h"

namespace keyhop {

struct KxLimits {
  // Waiting to be sent to one neighbour; what comes beyond either is dropped and counted.
  size_t queue_messages_max = 2048;
  size_t queue_bytes_max = 4 * 1024 * 1024;
  // Received from one neighbour and not yet processed by the core; beyond it its stream is not
  // read, so that HTTP/2 flow control holds the neighbour back.
  size_t unprocessed_max = 64;
};

// Of one neighbour, since the start; each only grows.
struct KxCounts {
  std::atomic<uint64_t> sent_messages = 0;
  std::atomic<uint64_t> sent_bytes = 0;
  std::atomic<uint64_t> received_messages = 0;
  std::atomic<uint64_t> received_bytes = 0;
  std::atomic<uint64_t> dropped_messages = 0;  // The queue was full, or the stream broke.
  std::atomic<uint64_t> refused_messages = 0;  // Could not be read; each ended its stream.
};

// One Kx stream with one authenticated neighbour, whichever end dialled: a bounded queue with one
// write at a time, and reading with credit. The reactors below tie it to gRPC.
//
// A stream begins open and closes once, for good. Its messages reach the core in order of arrival,
// none after Close. Thread-safe.
class PeerStream : public std::enable_shared_from_this<PeerStream> {
 public:
  PeerStream(NodeId peer, NodePort& node, const KxLimits& limits, KxCounts& counts)
      : peer_(std::move(peer)), node_(node), limits_(limits), counts_(counts) {}
  virtual ~PeerStream() = default;

  const NodeId& peer() const { return peer_; }
  void Send(KxMessage message);

  // `kAfterWrite` lets the write under way end first, and the other end hears `status`; `kNow`
  // breaks off everything.
  enum class How { kAfterWrite, kNow };
  void Close(const grpc::Status& status, How how);

 protected:
  // What the reactor does with gRPC. Called with mu_ held, never after End.
  virtual void StartReadOp(grpc::ByteBuffer* into) = 0;
  virtual void StartWriteOp(const grpc::ByteBuffer* from, grpc::WriteOptions options) = 0;
  virtual void Cancel() = 0;
  // `broken`: the stream has ended already, on the other side or below.
  virtual void End(const grpc::Status& status, bool broken) = 0;

  // The reactor tells what came of it.
  void BeginReading();
  void DidRead(bool ok);
  void DidWrite(bool ok);
  // The stream ended, on the other side or below.
  void Broke();

 private:
  struct Queued {
    KxMessage message;
    size_t bytes;
  };

  void MaybeRead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MaybeWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseLocked(const grpc::Status& status, How how) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MaybeEnd() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BrokeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Processed();

  const NodeId peer_;
  NodePort& node_;
  const KxLimits limits_;
  KxCounts& counts_;

  Mutex mu_;
  std::deque<Queued> queue_ ABSL_GUARDED_BY(mu_);
  size_t queue_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  grpc::ByteBuffer outgoing_;  // Of the write under way.
  grpc::ByteBuffer incoming_;  // Of the read under way.
  size_t unprocessed_ ABSL_GUARDED_BY(mu_) = 0;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_KX_PEER_STREAM_H_
