#ifndef KEYHOP_KMS_TLS_IDENTITY_H_
#define KEYHOP_KMS_TLS_IDENTITY_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "keyhop/config/v1/config.pb.h"
#include "kms/base/strong_string.h"
#include "kms/core/types.h"
#include "kms/tls/certificate.h"

// Who the holder of a certificate is (DESIGN §8): an ordered list of rules, the first that finds an
// ID wins. The handshake has verified the certificate before. Pure functions, thread-safe.

namespace keyhop {

using ModuleId = StrongString<struct ModuleIdKind>;      // A QKD module, at Kq-1.
using OperatorId = StrongString<struct OperatorIdKind>;  // Of metrics and the admin API.

enum class CertificateKind { kNode, kSae, kModule, kOperator };

using IdentityRule = config::v1::IdentityRule;

// Modules and operators are ours to name: they are known by their keyhop:// URI only.
struct IdentityRules {
  std::vector<IdentityRule> sae = {config::v1::URI_SAN_KEYHOP, config::v1::CN};
  std::vector<IdentityRule> node = {config::v1::URI_SAN_KEYHOP, config::v1::CN};

  static IdentityRules From(const config::v1::Identity& identity);
};

// What one rule makes of a certificate: the ID, nothing (the next rule is asked), or an error (the
// certificate is refused: two URIs of one kind, or an ID that is malformed). UNAUTHENTICATED.
absl::StatusOr<std::optional<std::string>> ApplyRule(IdentityRule rule, CertificateKind kind,
                                                     const CertificateFacts& certificate);

// The ID of a holder of that kind. A certificate with a keyhop:// URI of other kinds only is
// refused before any rule is asked: a node's certificate is no SAE's, whatever its CN says.
// UNAUTHENTICATED; the message names the certificate, its issuer, and what was expected.
absl::StatusOr<SaeId> SaeIdOf(const CertificateFacts& certificate, const IdentityRules& rules);
absl::StatusOr<NodeId> NodeIdOf(const CertificateFacts& certificate, const IdentityRules& rules);
absl::StatusOr<ModuleId> ModuleIdOf(const CertificateFacts& certificate);
absl::StatusOr<OperatorId> OperatorIdOf(const CertificateFacts& certificate);

// The same for a kind that is known at run time only.
absl::StatusOr<std::string> IdOf(CertificateKind kind, const CertificateFacts& certificate,
                                 const IdentityRules& rules);

// Decodes %XX once; nothing if an escape is malformed.
std::optional<std::string> PercentDecode(absl::string_view text);

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_IDENTITY_H_
