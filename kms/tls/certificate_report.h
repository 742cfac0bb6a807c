#ifndef KEYHOP_KMS_TLS_CERTIFICATE_REPORT_H_
#define KEYHOP_KMS_TLS_CERTIFICATE_REPORT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/tls/certificate.h"

// What a node would make of a certificate, for whoever has to find out why it is refused.

namespace keyhop {

struct InspectionRequest {
  std::string file;  // PEM or DER.
  std::string ca;    // A trust store (PEM), or empty.
  // Names of IdentityRule, as in the configuration; empty: the default.
  std::vector<std::string> sae_rules = {};
  std::vector<std::string> node_rules = {};
};

struct RuleResult {
  std::optional<std::string> id;  // Nothing: the next rule would be asked, or it was refused.
  std::string refused;            // Why, if so.
};

struct RuleReport {
  std::string rule;
  RuleResult sae;
  RuleResult node;
};

struct KindReport {
  std::string kind;  // sae, node, module, operator.
  absl::StatusOr<std::string> id;
};

struct CertificateReport {
  CertificateFacts facts;
  std::string valid_from;
  std::string valid_until;
  std::string key;  // "RSA 3072", "id-ecPublicKey 256".
  // Nothing: no trust store was named. OK: it vouches for the certificate, as for a client's.
  std::optional<absl::Status> trusted;
  std::vector<std::string> sae_rules;  // As asked, in order.
  std::vector<std::string> node_rules;
  std::vector<RuleReport> rules;  // All that there are.
  std::vector<KindReport> kinds;  // With the rules as asked.
};

// INVALID_ARGUMENT or NOT_FOUND: a file that cannot be read or holds no certificate, a rule that
// does not exist.
absl::StatusOr<CertificateReport> InspectCertificate(const InspectionRequest& request);

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_CERTIFICATE_REPORT_H_
