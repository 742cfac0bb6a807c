#ifndef KEYHOP_TRUSTED_NODE_CORE_NODE_PORT_H_
#define KEYHOP_TRUSTED_NODE_CORE_NODE_PORT_H_

#include <cstdint>
#include <functional>
#include <map>

#include "absl/status/status.h"
#include "kms/base/secret_bytes.h"
#include "trusted_node/core/node/node.h"

// Where the adapters of a node meet its core: they call NodePort, the core's outputs call PeerPort.

namespace keyhop {

// What Kx, Kq-1, admin and metrics tell and ask the core; one implementation steps it all, in the
// order of the calls of one caller. Callbacks run exactly once unless the loop stops first, on any
// thread, never inside the call, and must not block. Thread-safe.
class NodePort {
 public:
  virtual ~NodePort() = default;

  // Kx: the transport to an authenticated neighbour came up or broke.
  virtual void PeerUp(NodeId peer) = 0;
  virtual void PeerDown(NodeId peer) = 0;
  // A well-formed message. `processed`: the core is done with it (or it was dropped for overload).
  // A caller bounds how many of a peer's messages are unprocessed; that is the flow control.
  virtual void PeerSaid(NodeId peer, KxMessage message, std::function<void()> processed) = 0;

  // Kq-1: `taken` says OK once the block is durable, or as LinkEnd::Take refuses it; UNAVAILABLE
  // when the core is overloaded: offer it again.
  virtual void BlockArrived(LinkId link, BookId book, uint64_t block, SecretBytes bytes,
                            std::function<void(absl::Status)> taken) = 0;
  virtual void ModuleChanged(ModuleStatusChanged status, std::function<void()> processed) = 0;
  virtual void AskTakenTops(LinkId link,
                            std::function<void(std::map<BookId, uint64_t>)> answer) = 0;

  virtual void AskSnapshot(std::function<void(NodeSnapshot)> answer) = 0;
};

// Where the core's messages to neighbours go: Kx. Send never blocks; what cannot be queued is
// dropped and counted. Thread-safe.
class PeerPort {
 public:
  virtual ~PeerPort() = default;
  virtual void Send(const NodeId& peer, KxMessage message) = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_NODE_PORT_H_
