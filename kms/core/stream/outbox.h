#ifndef KEYHOP_KMS_CORE_STREAM_OUTBOX_H_
#define KEYHOP_KMS_CORE_STREAM_OUTBOX_H_

#include "kms/core/stream/messages.h"
#include "kms/core/stream/records.h"
#include "kms/core/types.h"

namespace keyhop {

// What an end of a pair stream gives back to its node.
class StreamOutbox {
 public:
  virtual ~StreamOutbox() = default;
  // Queues a durable write; all writes of one step share one number, which is returned.
  virtual WriteSeq Write(StreamRecord record) = 0;
  // Sends once write `after` is durable.
  virtual void Send(const NodeId& to, StreamMessage message, WriteSeq after) = 0;
  // 64 fresh random bits.
  virtual uint64_t Random() = 0;
  // The source remembers a later version of this destination than it does: an old disk image.
  virtual void RollbackFound() = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_OUTBOX_H_
