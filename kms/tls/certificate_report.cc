#include "kms/tls/certificate_report.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kms/base/status_macros.h"
#include "kms/tls/identity.h"
#include "kms/tls/verification.h"
#include "kms/tls/x509_read.h"

namespace keyhop {
namespace {

std::vector<IdentityRule> AllRules() {
  std::vector<IdentityRule> rules;
  const auto* names = config::v1::IdentityRule_descriptor();
  for (int i = 0; i < names->value_count(); ++i) {
    const auto rule = static_cast<IdentityRule>(names->value(i)->number());
    if (rule != config::v1::IDENTITY_RULE_UNSPECIFIED) rules.push_back(rule);
  }
  return rules;
}

absl::Status ReadRules(const std::vector<std::string>& names, std::vector<IdentityRule>& rules) {
  if (names.empty()) return absl::OkStatus();
  rules.clear();
  for (const std::string& name : names) {
    IdentityRule rule = config::v1::IDENTITY_RULE_UNSPECIFIED;
    if (!config::v1::IdentityRule_Parse(name, &rule) ||
        rule == config::v1::IDENTITY_RULE_UNSPECIFIED) {
      return absl::InvalidArgumentError(
          absl::StrCat("identity rule \"", name, "\": expected one of ",
                       absl::StrJoin(AllRules(), ", ", [](std::string* out, IdentityRule known) {
                         absl::StrAppend(out, config::v1::IdentityRule_Name(known));
                       })));
    }
    rules.push_back(rule);
  }
  return absl::OkStatus();
}

std::vector<std::string> NamesOf(const std::vector<IdentityRule>& rules) {
  std::vector<std::string> names;
  names.reserve(rules.size());
  for (const IdentityRule rule : rules) names.push_back(config::v1::IdentityRule_Name(rule));
  return names;
}

RuleResult Try(IdentityRule rule, CertificateKind kind, const CertificateFacts& facts) {
  absl::StatusOr<std::optional<std::string>> id = ApplyRule(rule, kind, facts);
  if (!id.ok()) return {.id = std::nullopt, .refused = std::string(id.status().message())};
  return {.id = *std::move(id), .refused = ""};
}

}  // namespace

absl::StatusOr<CertificateReport> InspectCertificate(const InspectionRequest& request) {
  IdentityRules rules;
  KEYHOP_RETURN_IF_ERROR(ReadRules(request.sae_rules, rules.sae));
  KEYHOP_RETURN_IF_ERROR(ReadRules(request.node_rules, rules.node));
  KEYHOP_ASSIGN_OR_RETURN(const std::string bytes, tls::ReadFile(request.file, "a certificate"));
  CertificateReport report;
  KEYHOP_ASSIGN_OR_RETURN(report.facts, ReadCertificate(bytes, request.file));
  const tls::X509Ptr cert = tls::ReadX509(bytes);
  report.valid_from = tls::TimeText(X509_get0_notBefore(cert.get()));
  report.valid_until = tls::TimeText(X509_get0_notAfter(cert.get()));
  if (const EVP_PKEY* key = X509_get0_pubkey(cert.get()); key != nullptr) {
    const char* type = EVP_PKEY_get0_type_name(key);
    report.key = absl::StrCat(type != nullptr ? type : "unknown", " ", EVP_PKEY_get_bits(key));
  }
  if (!request.ca.empty()) {
    report.trusted = VerifyCertificate(bytes, request.file, request.ca, TlsRole::kClient);
    if (absl::IsInvalidArgument(*report.trusted)) return *report.trusted;
  }
  report.sae_rules = NamesOf(rules.sae);
  report.node_rules = NamesOf(rules.node);
  for (const IdentityRule rule : AllRules()) {
    report.rules.push_back({.rule = config::v1::IdentityRule_Name(rule),
                            .sae = Try(rule, CertificateKind::kSae, report.facts),
                            .node = Try(rule, CertificateKind::kNode, report.facts)});
  }
  for (const auto& [name, kind] :
       {std::pair("sae", CertificateKind::kSae), std::pair("node", CertificateKind::kNode),
        std::pair("module", CertificateKind::kModule),
        std::pair("operator", CertificateKind::kOperator)}) {
    report.kinds.push_back({.kind = name, .id = IdOf(kind, report.facts, rules)});
  }
  return report;
}

}  // namespace keyhop
