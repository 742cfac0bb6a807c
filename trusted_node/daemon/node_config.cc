#include "trusted_node/daemon/node_config.h"

#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/tls/certificate.h"
#include "trusted_node/daemon/core_config.h"

namespace keyhop {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  return text;
}

absl::Status In(const std::string& place, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(place, ": ", status.message()));
}

}  // namespace

absl::StatusOr<NodeConfig> NodeConfigOf(const config::v1::Config& config) {
  KEYHOP_ASSIGN_OR_RETURN(NodeConfig out, CoreConfigOf(config));
  for (size_t i = 0; i < out.links.size(); ++i) {
    const std::string& file = config.links(static_cast<int>(i)).link_key_file();
    KEYHOP_ASSIGN_OR_RETURN(out.links[i].key, ReadKeyFile(file, 32));
  }
  return out;
}

std::vector<KxNeighbour> NeighboursOf(const config::v1::Config& config) {
  std::vector<KxNeighbour> out;
  for (const config::v1::Link& link : config.links()) {
    out.push_back({NodeId(link.peer()), link.peer_kx()});
  }
  return out;
}

std::vector<Kq1Link> Kq1LinksOf(const config::v1::Config& config) {
  std::vector<Kq1Link> out;
  for (const config::v1::Link& link : config.links()) {
    Kq1Link entry;
    entry.id = LinkId(link.id());
    entry.peer = NodeId(link.peer());
    entry.modules.insert(link.modules().begin(), link.modules().end());
    if (entry.modules.empty()) entry.modules.insert(link.id());
    entry.block_bytes_max = static_cast<uint32_t>(link.unit_bytes());
    out.push_back(std::move(entry));
  }
  return out;
}

absl::StatusOr<std::unique_ptr<CertificateAuthority>> CertificateAuthority::Create(
    const config::v1::Config& config) {
  const config::v1::Tls& tls = config.tls();
  const IdentityRules rules = IdentityRules::From(config.identity());
  KEYHOP_ASSIGN_OR_RETURN(const CertificateFacts own, ReadCertificateFile(tls.node_cert()));
  KEYHOP_ASSIGN_OR_RETURN(const NodeId id, NodeIdOf(own, rules));
  if (id.value != config.node().id()) {
    return absl::FailedPreconditionError(absl::StrCat(tls.node_cert(), ": it names node ", id.value,
                                                      ", but node.id is ", config.node().id(), " (",
                                                      Describe(own), ")"));
  }
  KEYHOP_ASSIGN_OR_RETURN(const std::string certificates, ReadFile(tls.node_cert()));
  KEYHOP_ASSIGN_OR_RETURN(std::string key_text, ReadFile(tls.node_key()));
  const auto* key_bytes = reinterpret_cast<const uint8_t*>(key_text.data());
  const SecretBytes key = SecretBytes::CopyOf({key_bytes, key_text.size()});
  Cleanse(key_text);
  auto signer = MakeCertificateSigner(certificates, key);
  if (!signer.ok()) return In(tls.node_key(), signer.status());

  CertificateVerifierOptions options;
  KEYHOP_ASSIGN_OR_RETURN(options.trusted_pem, ReadFile(tls.node_ca()));
  options.identity = [rules](absl::string_view der) -> std::optional<std::string> {
    const absl::StatusOr<CertificateFacts> facts = ReadCertificate(der, "link state signer");
    if (!facts.ok()) return std::nullopt;
    const absl::StatusOr<NodeId> node = NodeIdOf(*facts, rules);
    if (!node.ok()) return std::nullopt;
    return node->value;
  };
  options.unix_seconds = [] { return static_cast<int64_t>(std::time(nullptr)); };
  auto verifier = MakeCertificateVerifier(std::move(options));
  if (!verifier.ok()) return In(tls.node_ca(), verifier.status());
  return std::unique_ptr<CertificateAuthority>(
      new CertificateAuthority(*std::move(signer), *std::move(verifier)));
}

std::string CertificateAuthority::Sign(const std::vector<uint8_t>& layout) {
  return signer_->Sign(layout);
}

bool CertificateAuthority::Verify(const NodeId& origin, const std::vector<uint8_t>& layout,
                                  const std::string& signature) {
  return verifier_->Verify(origin.value, layout, signature).ok();
}

}  // namespace keyhop
