#ifndef KEYHOP_KMS_TLS_GRPC_CREDENTIALS_H_
#define KEYHOP_KMS_TLS_GRPC_CREDENTIALS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "kms/base/mutex.h"
#include "kms/tls/certificate.h"
#include "kms/tls/identity.h"

// Mutual TLS for gRPC. Certificates are read again when their files change: gRPC looks every ten
// seconds; connections that are open stay.

namespace keyhop {

// Told, on any thread, why the other end of a connection was refused: a certificate that the trust
// store vouches for and that names nobody, or another than was expected. What gRPC itself refuses
// it only writes to its own log.
using RefusalListener = std::function<void(const std::string& text)>;

// A certificate, its key and a trust store, watched by one thread, for any number of servers and
// channels: make one per trust store. Thread-safe.
class GrpcTls {
 public:
  // Fails as CheckPemFiles does.
  static absl::StatusOr<GrpcTls> Create(const PemFiles& files);

  // Asks for a client certificate, verifies it against the trust store, and refuses in the
  // handshake one that is not of kind `peers`.
  std::shared_ptr<grpc::ServerCredentials> Server(CertificateKind peers, const IdentityRules& rules,
                                                  RefusalListener on_refusal = {}) const;

  // Sends our certificate, and takes only a server that the trust store vouches for and that is
  // the node `expected`; its host name does not matter.
  std::shared_ptr<grpc::ChannelCredentials> ChannelToNode(const NodeId& expected,
                                                          const IdentityRules& rules,
                                                          RefusalListener on_refusal = {}) const;

  // The same for a client that knows the host, not the node: any node whose certificate names the
  // host of the target.
  std::shared_ptr<grpc::ChannelCredentials> ChannelToHost() const;

 private:
  explicit GrpcTls(std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider> certificates)
      : certificates_(std::move(certificates)) {}

  std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider> certificates_;
};

// Tells who called, from the certificate of the connection. A certificate is parsed once, not once
// a call; at most kRememberedMax are remembered. UNAUTHENTICATED as IdOf. Thread-safe.
class GrpcPeers {
 public:
  explicit GrpcPeers(IdentityRules rules) : rules_(std::move(rules)) {}

  absl::StatusOr<SaeId> PeerSae(const grpc::AuthContext& context);
  absl::StatusOr<NodeId> PeerNode(const grpc::AuthContext& context);
  absl::StatusOr<ModuleId> PeerModule(const grpc::AuthContext& context);
  absl::StatusOr<OperatorId> PeerOperator(const grpc::AuthContext& context);

 private:
  static constexpr size_t kRememberedMax = 4096;
  using Remembered = absl::flat_hash_map<std::string, absl::StatusOr<std::string>>;  // By PEM.

  absl::StatusOr<std::string> Peer(CertificateKind kind, const grpc::AuthContext& context);

  const IdentityRules rules_;
  Mutex mu_;
  absl::flat_hash_map<CertificateKind, Remembered> remembered_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_GRPC_CREDENTIALS_H_
