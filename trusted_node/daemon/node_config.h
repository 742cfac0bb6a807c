#ifndef KEYHOP_TRUSTED_NODE_DAEMON_NODE_CONFIG_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_NODE_CONFIG_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kms/config/config.h"
#include "kms/crypto/signer.h"
#include "kms/tls/identity.h"
#include "trusted_node/core/node/node.h"
#include "trusted_node/core/routing/routing.h"
#include "trusted_node/kq1/kq1_server.h"
#include "trusted_node/kx/kx_exchange.h"

// The checked configuration in the words of the parts that it is for.

namespace keyhop {

// Reads the link keys too. Errors name the file.
absl::StatusOr<NodeConfig> NodeConfigOf(const config::v1::Config& config);
std::vector<KxNeighbour> NeighboursOf(const config::v1::Config& config);
std::vector<Kq1Link> Kq1LinksOf(const config::v1::Config& config);

// Signs link state with this node's certificate key, and checks that of others against the node
// trust store. Thread-safe.
class CertificateAuthority final : public LinkStateAuthority {
 public:
  // Reads the files of `config.tls`. Errors name the file; FAILED_PRECONDITION when the certificate
  // is another node's than `config.node.id`.
  static absl::StatusOr<std::unique_ptr<CertificateAuthority>> Create(
      const config::v1::Config& config);

  std::string Sign(const std::vector<uint8_t>& layout) override;
  bool Verify(const NodeId& origin, const std::vector<uint8_t>& layout,
              const std::string& signature) override;

 private:
  CertificateAuthority(std::unique_ptr<Signer> signer, std::unique_ptr<Verifier> verifier)
      : signer_(std::move(signer)), verifier_(std::move(verifier)) {}
  const std::unique_ptr<Signer> signer_;
  const std::unique_ptr<Verifier> verifier_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_NODE_CONFIG_H_
