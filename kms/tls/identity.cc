#include "kms/tls/identity.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "kms/base/check.h"
#include "kms/base/status_macros.h"
#include "kms/config/scalars.h"

namespace keyhop {
namespace {

constexpr absl::string_view kScheme = "keyhop://";

absl::string_view Word(CertificateKind kind) {
  switch (kind) {
    case CertificateKind::kNode:
      return "node";
    case CertificateKind::kSae:
      return "sae";
    case CertificateKind::kModule:
      return "module";
    case CertificateKind::kOperator:
      return "operator";
  }
  KEYHOP_CHECK(false, "unknown kind of certificate");
}

std::string UriPrefix(CertificateKind kind) { return absl::StrCat(kScheme, Word(kind), "/"); }

// RFC 3986 §3.1 and §3.2.2: scheme and host do not tell upper from lower case.
bool ConsumePrefixIgnoreCase(absl::string_view& text, absl::string_view prefix) {
  if (!absl::StartsWithIgnoreCase(text, prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

absl::Status Refused(const CertificateFacts& certificate, absl::string_view why) {
  return absl::UnauthenticatedError(absl::StrCat(Describe(certificate), ": ", why));
}

// Names from a certificate are the peer's words: escaped before they come into a message.
std::string Quoted(const std::vector<std::string>& values) {
  if (values.empty()) return "none";
  return absl::StrJoin(values, ", ", [](std::string* out, const std::string& value) {
    absl::StrAppend(out, "\"", absl::Utf8SafeCEscape(value.substr(0, 100)), "\"");
  });
}

std::optional<std::string> TheOnly(const std::vector<std::string>& values) {
  if (values.size() != 1) return std::nullopt;
  return values[0];
}

absl::StatusOr<std::optional<std::string>> FromKeyhopUri(CertificateKind kind,
                                                         const CertificateFacts& certificate) {
  std::optional<std::string> found;
  for (const std::string& uri : certificate.uri_sans) {
    absl::string_view encoded = uri;
    if (!ConsumePrefixIgnoreCase(encoded, UriPrefix(kind))) continue;
    const std::optional<std::string> id = PercentDecode(encoded);
    if (!id || absl::StrContains(encoded, '/')) {
      return Refused(certificate, absl::StrCat("URI SAN ", Quoted({uri}), ": expected ",
                                               UriPrefix(kind), "ID with ID percent-encoded"));
    }
    if (found) {
      return Refused(certificate, absl::StrCat("expected one URI SAN ", UriPrefix(kind),
                                               "ID; found ", Quoted(certificate.uri_sans)));
    }
    found = id;
  }
  return found;
}

bool HasUriOfOtherKindOnly(CertificateKind kind, const CertificateFacts& certificate) {
  bool other = false;
  for (const std::string& uri : certificate.uri_sans) {
    if (absl::StartsWithIgnoreCase(uri, UriPrefix(kind))) return false;
    other |= absl::StartsWithIgnoreCase(uri, kScheme);
  }
  return other;
}

const std::vector<IdentityRule>& RulesFor(CertificateKind kind, const IdentityRules& rules) {
  static const auto* uri_only = new std::vector<IdentityRule>{config::v1::URI_SAN_KEYHOP};
  switch (kind) {
    case CertificateKind::kNode:
      return rules.node;
    case CertificateKind::kSae:
      return rules.sae;
    case CertificateKind::kModule:
    case CertificateKind::kOperator:
      break;
  }
  return *uri_only;
}

std::string Found(const CertificateFacts& certificate) {
  return absl::StrCat("found URI SANs ", Quoted(certificate.uri_sans), ", DNS SANs ",
                      Quoted(certificate.dns_sans), ", CN ", Quoted(certificate.common_names));
}

}  // namespace

IdentityRules IdentityRules::From(const config::v1::Identity& identity) {
  IdentityRules rules;
  rules.sae.clear();
  rules.node.clear();
  for (const int rule : identity.sae_rules()) rules.sae.push_back(static_cast<IdentityRule>(rule));
  for (const int rule : identity.node_rules()) {
    rules.node.push_back(static_cast<IdentityRule>(rule));
  }
  return rules;
}

std::optional<std::string> PercentDecode(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size() || !absl::ascii_isxdigit(text[i + 1]) ||
        !absl::ascii_isxdigit(text[i + 2])) {
      return std::nullopt;
    }
    out += absl::HexStringToBytes(text.substr(i + 1, 2));
    i += 2;
  }
  return out;
}

absl::StatusOr<std::optional<std::string>> ApplyRule(IdentityRule rule, CertificateKind kind,
                                                     const CertificateFacts& certificate) {
  switch (rule) {
    case config::v1::URI_SAN_KEYHOP:
      return FromKeyhopUri(kind, certificate);
    case config::v1::CN:
      return TheOnly(certificate.common_names);
    case config::v1::DNS_SAN:
      return TheOnly(certificate.dns_sans);
    case config::v1::URI_SAN:
      return TheOnly(certificate.uri_sans);
    case config::v1::IP_SAN:
      return TheOnly(certificate.ip_sans);
    case config::v1::EMAIL_SAN:
      return TheOnly(certificate.email_sans);
    case config::v1::SUBJECT_DN:
      return TheOnly({certificate.subject});
    case config::v1::SUBJECT_SERIAL_NUMBER:
      return TheOnly(certificate.subject_serial_numbers);
    case config::v1::CERT_SERIAL_NUMBER:
      return TheOnly({certificate.serial_number});
    default:
      return absl::InvalidArgumentError("unknown identity rule");
  }
}

absl::StatusOr<std::string> IdOf(CertificateKind kind, const CertificateFacts& certificate,
                                 const IdentityRules& rules) {
  if (HasUriOfOtherKindOnly(kind, certificate)) {
    return Refused(certificate, absl::StrCat("expected a certificate of kind ", Word(kind),
                                             " (URI SAN ", UriPrefix(kind), "ID); found URI SANs ",
                                             Quoted(certificate.uri_sans)));
  }
  std::vector<std::string> asked;
  for (const IdentityRule rule : RulesFor(kind, rules)) {
    asked.push_back(rule == config::v1::URI_SAN_KEYHOP
                        ? absl::StrCat("URI SAN ", UriPrefix(kind), "ID")
                        : config::v1::IdentityRule_Name(rule));
    KEYHOP_ASSIGN_OR_RETURN(const std::optional<std::string> id,
                            ApplyRule(rule, kind, certificate));
    if (!id || id->empty()) continue;
    const bool well_formed = kind == CertificateKind::kSae ? IsSaeId(*id) : IsId(*id);
    if (!well_formed) {
      return Refused(
          certificate,
          absl::StrCat(config::v1::IdentityRule_Name(rule), " gives ", Quoted({*id}),
                       kind == CertificateKind::kSae
                           ? ": expected 1 to 300 bytes of UTF-8 without control characters"
                           : ": expected 1 to 64 bytes of printable ASCII without space"));
    }
    return *id;
  }
  return Refused(certificate, absl::StrCat("expected an ID of kind ", Word(kind), " in ",
                                           absl::StrJoin(asked, " or "), "; ", Found(certificate)));
}

absl::StatusOr<SaeId> SaeIdOf(const CertificateFacts& certificate, const IdentityRules& rules) {
  KEYHOP_ASSIGN_OR_RETURN(std::string id, IdOf(CertificateKind::kSae, certificate, rules));
  return SaeId(std::move(id));
}

absl::StatusOr<NodeId> NodeIdOf(const CertificateFacts& certificate, const IdentityRules& rules) {
  KEYHOP_ASSIGN_OR_RETURN(std::string id, IdOf(CertificateKind::kNode, certificate, rules));
  return NodeId(std::move(id));
}

absl::StatusOr<ModuleId> ModuleIdOf(const CertificateFacts& certificate) {
  KEYHOP_ASSIGN_OR_RETURN(std::string id, IdOf(CertificateKind::kModule, certificate, {}));
  return ModuleId(std::move(id));
}

absl::StatusOr<OperatorId> OperatorIdOf(const CertificateFacts& certificate) {
  KEYHOP_ASSIGN_OR_RETURN(std::string id, IdOf(CertificateKind::kOperator, certificate, {}));
  return OperatorId(std::move(id));
}

}  // namespace keyhop
