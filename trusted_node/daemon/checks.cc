#include "trusted_node/daemon/checks.h"

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/storage/secret_file.h"
#include "trusted_node/daemon/https_sites.h"
#include "trusted_node/daemon/node_config.h"

namespace keyhop {

using config::v1::Config;

PemFiles FilesFor(const Config& config, const std::string& peer_ca) {
  return {config.tls().node_cert(), config.tls().node_key(), peer_ca};
}

absl::Status At(const char* what, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(what, ": ", status.message()));
}

absl::Status CheckSecretFiles(const Config& config) {
  KEYHOP_RETURN_IF_ERROR(At("node.kek_file", CheckSecretFile(config.node().kek_file())));
  KEYHOP_RETURN_IF_ERROR(At("tls.node_key", CheckSecretFile(config.tls().node_key())));
  for (const config::v1::Link& link : config.links()) {
    KEYHOP_RETURN_IF_ERROR(At(absl::StrCat("link_key_file of link ", link.id()).c_str(),
                              CheckSecretFile(link.link_key_file())));
  }
  return absl::OkStatus();
}

absl::Status CheckFiles(const Config& config) {
  KEYHOP_RETURN_IF_ERROR(CheckSecretFiles(config));
  KEYHOP_RETURN_IF_ERROR(CheckSkipFiles(config.skip()));
  for (const std::string& ca :
       {config.tls().node_ca(), config.tls().sae_ca(), config.tls().operator_ca()}) {
    KEYHOP_RETURN_IF_ERROR(CheckPemFiles(FilesFor(config, ca)));
  }
  KEYHOP_RETURN_IF_ERROR(ReadKeyFile(config.node().kek_file(), 32).status());
  KEYHOP_RETURN_IF_ERROR(CertificateAuthority::Create(config).status());
  KEYHOP_ASSIGN_OR_RETURN(const NodeConfig node, NodeConfigOf(config));
  for (const LinkSetup& link : node.links) {
    KEYHOP_RETURN_IF_ERROR(
        At(absl::StrCat("link ", link.config.id.value).c_str(), link.config.Validate()));
  }
  return absl::OkStatus();
}

}  // namespace keyhop
