#include <sys/stat.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kms/ak/answer_writer.h"
#include "kms/base/status_macros.h"
#include "kms/cli/commands.h"
#include "kms/cli/exit_code.h"
#include "kms/cli/table.h"
#include "kms/config/scalars.h"
#include "kms/tls/certificate_issuer.h"
#include "kms/tls/certificate_report.h"

namespace keyhop::cli {
namespace {

int Complain(const absl::Status& status) {
  std::fprintf(stderr, "keyhop: %s\n", std::string(status.message()).c_str());
  return kUsage;
}

// "Subject       O=Keyhop,CN=a" lines, or members of an object.
class Facts {
 public:
  void Add(const char* member, const char* title, const std::string& value) {
    rows_.push_back({member, title, value});
  }
  std::string Human() const {
    std::string out;
    for (const Row& row : rows_) {
      std::string title = row.title;
      title.resize(14, ' ');
      absl::StrAppend(&out, title, Cell::Text(row.value).text, "\n");
    }
    return out;
  }
  std::string JsonMembers() const {
    std::string out;
    for (const Row& row : rows_) {
      AppendJsonString(out, row.member);
      out += ":";
      AppendJsonString(out, row.value);
      out += ",";
    }
    return out;
  }

 private:
  struct Row {
    std::string member, title, value;
  };
  std::vector<Row> rows_;
};

std::string JsonOf(const CertificateReport& report, const Facts& facts) {
  std::string out = "{" + facts.JsonMembers() + "\"rules\":[";
  for (size_t i = 0; i < report.rules.size(); ++i) {
    const RuleReport& rule = report.rules[i];
    absl::StrAppend(&out, i == 0 ? "" : ",", "{\"rule\":\"", rule.rule, "\"");
    for (const auto& [member, value] :
         {std::pair("sae", &rule.sae), std::pair("node", &rule.node)}) {
      absl::StrAppend(&out, ",\"", member, "\":");
      if (value->id.has_value()) {
        AppendJsonString(out, *value->id);
      } else {
        out += "null";
      }
    }
    out += "}";
  }
  out += "],\"as\":{";
  for (size_t i = 0; i < report.kinds.size(); ++i) {
    const KindReport& kind = report.kinds[i];
    absl::StrAppend(&out, i == 0 ? "" : ",", "\"", kind.kind, "\":{\"",
                    kind.id.ok() ? "id" : "refused", "\":");
    AppendJsonString(out, kind.id.ok() ? *kind.id : std::string(kind.id.status().message()));
    out += "}";
  }
  return out + "}}\n";
}

Cell RuleCell(const RuleResult& result) {
  if (result.id.has_value()) return Cell::Text(*result.id);
  return Cell::Text(result.refused.empty() ? "-" : "refused");
}

std::string HumanOf(const CertificateReport& report, const Facts& facts) {
  Table rules({{"rule", "RULE"}, {"sae", "AS AN SAE"}, {"node", "AS A NODE"}});
  for (const RuleReport& rule : report.rules) {
    rules.Add({Cell::Text(rule.rule), RuleCell(rule.sae), RuleCell(rule.node)});
  }
  std::string out = absl::StrCat(
      facts.Human(), "\n", rules.Human(/*colours=*/false),
      "\nWho a node takes its holder for (rules for SAEs: ", absl::StrJoin(report.sae_rules, ", "),
      "; for nodes: ", absl::StrJoin(report.node_rules, ", "), "):\n");
  for (const KindReport& kind : report.kinds) {
    std::string title = absl::StrCat("  ", kind.kind);
    title.resize(12, ' ');
    absl::StrAppend(&out, title,
                    kind.id.ok() ? absl::StrCat("\"", Cell::Text(*kind.id).text, "\"")
                                 : absl::StrCat("refused: ", kind.id.status().message()),
                    "\n");
  }
  return out;
}

}  // namespace

int RunSaeAdd(const Options& options) {
  umask(077);
  if (!IsSaeId(options.sae)) {
    return Complain(absl::InvalidArgumentError(
        "ID: expected 1 to 300 bytes of UTF-8 without control characters"));
  }
  const absl::StatusOr<SaeFiles> made =
      MakeSaeFiles({.pki = options.pki,
                    .id = SaeId(options.sae),
                    .key_type = options.ec_key ? SaeKeyType::kEc : SaeKeyType::kRsa,
                    .days = options.days});
  if (!made.ok()) return Complain(made.status());
  if (options.json) {
    std::string out = absl::StrCat("{\"made\":", made->made ? "true" : "false", ",\"files\":[");
    for (size_t i = 0; i < made->files.size(); ++i) {
      absl::StrAppend(&out, i == 0 ? "" : ",", "{\"path\":");
      AppendJsonString(out, made->files[i].path);
      out += ",\"what\":";
      AppendJsonString(out, made->files[i].what);
      out += "}";
    }
    std::printf("%s]}\n", out.c_str());
    return kDone;
  }
  std::printf("%s\n", made->made ? "A new key and certificate:"
                                 : "Key and certificate were there; what lacked was added:");
  for (const SaeFile& file : made->files) {
    std::printf("  %s\n      %s\n", file.path.c_str(), file.what.c_str());
  }
  std::string id;
  AppendJsonString(id, options.sae);
  std::printf("In the configuration of its home node, under `saes`:\n  - id: %s\n", id.c_str());
  return kDone;
}

int RunInspectCert(const Options& options) {
  const absl::StatusOr<CertificateReport> report =
      InspectCertificate({.file = options.file,
                          .ca = options.ca,
                          .sae_rules = options.sae_rules,
                          .node_rules = options.node_rules});
  if (!report.ok()) return Complain(report.status());
  Facts facts;
  facts.Add("subject", "Subject", report->facts.subject);
  facts.Add("issuer", "Issuer", report->facts.issuer);
  facts.Add("serial_number", "Serial", report->facts.serial_number);
  facts.Add("valid_from", "Valid from", report->valid_from);
  facts.Add("valid_until", "Valid until", report->valid_until);
  facts.Add("key", "Key", report->key);
  if (report->trusted.has_value()) {
    facts.Add("trusted", "Trusted",
              report->trusted->ok() ? absl::StrCat("yes, by ", options.ca)
                                    : absl::StrCat("no: ", report->trusted->message()));
  }
  const std::string text = options.json ? JsonOf(*report, facts) : HumanOf(*report, facts);
  std::fputs(text.c_str(), stdout);
  if (options.as.empty()) return kDone;
  const bool trusted = !report->trusted.has_value() || report->trusted->ok();
  for (const KindReport& kind : report->kinds) {
    if (kind.kind == options.as && kind.id.ok() && trusted) return kDone;
  }
  return kRefused;
}

int RunCompletion(const Options& options) {
  std::fputs(options.completion.c_str(), stdout);
  return kDone;
}

}  // namespace keyhop::cli
