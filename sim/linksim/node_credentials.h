#ifndef KEYHOP_SIM_LINKSIM_NODE_CREDENTIALS_H_
#define KEYHOP_SIM_LINKSIM_NODE_CREDENTIALS_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace keyhop {

// PEM files of the node trust store; they are watched and read again when they change.
struct TlsFiles {
  std::string ca;
  std::string cert;
  std::string key;
};

// Whether the three files can be read and are PEM: what they are for is in the error.
absl::Status CheckTlsFiles(const TlsFiles& files);

// The URI subject alternative name of a node's certificate: keyhop://node/ID.
std::string NodeUri(absl::string_view node_id);

// A channel to the Kq-1 listener at `host_port` with mutual TLS. The server's certificate must
// chain to `files.ca` and must carry the URI SAN of `node_id`; both are checked inside the
// handshake, before a byte of ours is sent, by a custom gRPC certificate verifier that reads the
// URI names of the peer's certificate. The host name is not checked: IDs are of nodes, not of
// machines. Two channels never share a connection.
std::shared_ptr<grpc::Channel> DialNode(const std::string& host_port, absl::string_view node_id,
                                        const TlsFiles& files);

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_NODE_CREDENTIALS_H_
