#ifndef KEYHOP_KMS_TLS_GRPC_CREDENTIALS_H_
#define KEYHOP_KMS_TLS_GRPC_CREDENTIALS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "kms/base/mutex.h"
#include "kms/tls/certificate.h"
#include "kms/tls/identity.h"
#include "kms/tls/trust_file.h"

// Mutual TLS for gRPC. Certificates are read again when their files change: gRPC looks every ten
// seconds, trust stores of clients are looked at in each handshake; connections that are open stay.

namespace keyhop {

// Told, on any thread, why the other end of a connection was refused: which certificate, which
// field, what was expected.
using RefusalListener = std::function<void(const std::string& text)>;

// One kind of clients of a server, and who vouches for them.
struct ClientTrust {
  CertificateKind kind = CertificateKind::kSae;
  std::shared_ptr<TrustFile> trust;
};

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

  // The same for clients of several kinds, each vouched for by its own trust store: what one store
  // vouches for never passes as another kind.
  std::shared_ptr<grpc::ServerCredentials> Server(std::vector<ClientTrust> clients,
                                                  const IdentityRules& rules,
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
  GrpcTls(std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider> certificates,
          std::shared_ptr<TrustFile> trust)
      : certificates_(std::move(certificates)), trust_(std::move(trust)) {}

  std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider> certificates_;
  std::shared_ptr<TrustFile> trust_;
};

// Tells who called, from the certificate of the connection. A certificate is looked at once in
// kRememberSeconds, not once a call; at most kRememberedMax are remembered. UNAUTHENTICATED as
// IdOf, or when the trust store of its kind does not vouch for it (any more). Thread-safe.
class GrpcPeers {
 public:
  // `clients`: the kinds that share a server with others; the handshake alone does not tell which
  // of their trust stores vouched.
  explicit GrpcPeers(IdentityRules rules, std::vector<ClientTrust> clients = {})
      : rules_(std::move(rules)), clients_(std::move(clients)) {}

  absl::StatusOr<SaeId> PeerSae(const grpc::AuthContext& context);
  absl::StatusOr<NodeId> PeerNode(const grpc::AuthContext& context);
  absl::StatusOr<ModuleId> PeerModule(const grpc::AuthContext& context);
  absl::StatusOr<OperatorId> PeerOperator(const grpc::AuthContext& context);

 private:
  static constexpr size_t kRememberedMax = 4096;
  static constexpr int64_t kRememberSeconds = 10;
  struct Known {
    absl::StatusOr<std::string> id;
    int64_t until_s = 0;  // Of a clock that only grows.
  };
  using Remembered = absl::flat_hash_map<std::string, Known>;  // By PEM.

  absl::StatusOr<std::string> Peer(CertificateKind kind, const grpc::AuthContext& context);
  absl::StatusOr<std::string> Identify(CertificateKind kind, absl::string_view pem,
                                       const grpc::AuthContext& context) const;

  const IdentityRules rules_;
  const std::vector<ClientTrust> clients_;
  Mutex mu_;
  absl::flat_hash_map<CertificateKind, Remembered> remembered_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_GRPC_CREDENTIALS_H_
