#ifndef KEYHOP_TRUSTED_NODE_KX_KX_EXCHANGE_H_
#define KEYHOP_TRUSTED_NODE_KX_KX_EXCHANGE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/grpcpp.h"
#include "kms/base/instant.h"
#include "trusted_node/core/node/port.h"
#include "trusted_node/kx/peer_stream.h"

namespace keyhop {

struct KxNeighbour {
  NodeId id;
  std::string address = {};  // HOST:PORT of its Kx listener; needed where this end dials.
};

struct KxOptions {
  NodeId self;
  std::vector<KxNeighbour> neighbours;
  KxLimits limits;
  // Between two attempts to dial a neighbour: doubled from the first to the second.
  Duration redial_min = Duration::Millis(100);
  Duration redial_max = Duration::Seconds(2);
  // What a channel to this neighbour proves and demands.
  std::function<std::shared_ptr<grpc::ChannelCredentials>(const NodeId&)> credentials;
  // Who called, by its certificate.
  std::function<absl::StatusOr<NodeId>(const grpc::AuthContext&)> identify;
  // Lines for the log; a neighbour's trouble is told once, until it changes. Thread-safe.
  std::function<void(absl::string_view)> log = [](absl::string_view) {};
};

struct KxPeerStatus {
  bool connected = false;
  uint64_t sent_messages = 0;
  uint64_t sent_bytes = 0;
  uint64_t received_messages = 0;
  uint64_t received_bytes = 0;
  uint64_t dropped_messages = 0;
  uint64_t refused_messages = 0;
};

// Kx (proto/keyhop/kx/v1/kx.proto): one stream with each neighbour. This end dials the neighbours
// whose IDs are higher, and again whenever a stream ends; it serves those whose IDs are lower, and
// a newer stream of one takes the older one's place. Each neighbour has a queue of its own: one
// that is slow or away costs the others nothing.
//
// Thread-safe. Start once; Stop before the NodePort goes.
class KxExchange final : public PeerPort {
 public:
  explicit KxExchange(KxOptions options);
  ~KxExchange() override;

  // To be registered with a server whose builder went through Configure. Streams are refused
  // (UNAVAILABLE) before Start and after Stop.
  grpc::Service* service();
  static void Configure(grpc::ServerBuilder& builder);

  void Start(NodePort& node);
  // Ends all streams and dials no more.
  void Stop();

  void Send(const NodeId& peer, KxMessage message) override;

  std::map<NodeId, KxPeerStatus> Status() const;

 private:
  struct Impl;
  class Service;
  std::unique_ptr<Impl> impl_;
  std::unique_ptr<Service> service_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_KX_KX_EXCHANGE_H_
