#include "kms/tls/certificate_report.h"

#include <openssl/pem.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kms/base/status_macros.h"
#include "kms/tls/identity.h"
#include "kms/tls/openssl_types.h"
#include "kms/tls/verification.h"

namespace keyhop {
namespace {

using tls::BioPtr;
using tls::X509Ptr;

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

std::string TimeOf(const ASN1_TIME* time) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(out.get(), time);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return std::string(data, size > 0 ? static_cast<size_t>(size) : 0);
}

X509Ptr Parse(const std::string& bytes) {
  const BioPtr in(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  X509Ptr cert(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  if (cert == nullptr) {
    const auto* der = reinterpret_cast<const unsigned char*>(bytes.data());
    cert.reset(d2i_X509(nullptr, &der, static_cast<long>(bytes.size())));
  }
  ERR_clear_error();
  return cert;
}

}  // namespace

absl::StatusOr<CertificateReport> InspectCertificate(const InspectionRequest& request) {
  IdentityRules rules;
  KEYHOP_RETURN_IF_ERROR(ReadRules(request.sae_rules, rules.sae));
  KEYHOP_RETURN_IF_ERROR(ReadRules(request.node_rules, rules.node));
  std::ostringstream bytes;
  std::ifstream in(request.file, std::ios::binary);
  if (!in || !(bytes << in.rdbuf())) {
    return absl::NotFoundError(
        absl::StrCat(request.file, ": expected a certificate: cannot be read"));
  }
  CertificateReport report;
  KEYHOP_ASSIGN_OR_RETURN(report.facts, ReadCertificate(bytes.str(), request.file));
  const X509Ptr cert = Parse(bytes.str());
  report.valid_from = TimeOf(X509_get0_notBefore(cert.get()));
  report.valid_until = TimeOf(X509_get0_notAfter(cert.get()));
  if (const EVP_PKEY* key = X509_get0_pubkey(cert.get()); key != nullptr) {
    const char* type = EVP_PKEY_get0_type_name(key);
    report.key = absl::StrCat(type != nullptr ? type : "unknown", " ", EVP_PKEY_get_bits(key));
  }
  if (!request.ca.empty()) {
    report.trusted = VerifyCertificate(bytes.str(), request.file, request.ca, TlsRole::kClient);
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
