#include "kms/ak/answer_writer.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kms/base/overload.h"
#include "kms/core/uuid.h"

namespace keyhop {
namespace {

void AppendObject(std::string& out, const std::map<std::string, std::string>& members) {
  out.push_back('{');
  bool first = true;
  for (const auto& [name, value] : members) {
    if (!first) out.push_back(',');
    first = false;
    AppendJsonString(out, name);
    out.push_back(':');
    AppendJsonString(out, value);
  }
  out.push_back('}');
}

void AppendFact(std::string& out, const Fact& fact) {
  std::visit(
      Overload{
          [&out](const std::string& text) { AppendJsonString(out, text); },
          [&out](uint64_t number) { absl::StrAppend(&out, number); },
          [&out](const std::map<std::string, std::string>& texts) { AppendObject(out, texts); },
      },
      fact);
}

}  // namespace

std::string FactText(const Fact& fact) {
  if (const auto* text = std::get_if<std::string>(&fact)) return *text;
  std::string out;
  AppendFact(out, fact);
  return out;
}

void AppendJsonString(std::string& out, absl::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

SecretText WriteKeyContainer(const KeyContainer& container) {
  // The exact size, so that the buffer never grows: a growth would copy secrets.
  constexpr absl::string_view kHead = R"({"keys":[)";
  constexpr absl::string_view kId = R"({"key_ID":")";
  constexpr absl::string_view kKey = R"(","key":")";
  constexpr absl::string_view kEnd = R"("})";
  size_t size = kHead.size() + 2 + container.keys.size();
  for (const DeliveredKey& key : container.keys) {
    size += kId.size() + kUuidTextSize + kKey.size() + (key.key.size() + 2) / 3 * 4 + kEnd.size();
  }
  SecretText out(size);
  out.Append(kHead);
  bool first = true;
  for (const DeliveredKey& key : container.keys) {
    if (!first) out.Append(",");
    first = false;
    out.Append(kId);
    out.Append(FormatUuid(key.id));
    out.Append(kKey);
    out.AppendBase64(key.key);
    out.Append(kEnd);
  }
  out.Append("]}");
  return out;
}

std::string WritePairStatus(const PairStatus& status) {
  std::string out = "{\"source_KME_ID\":";
  AppendJsonString(out, status.source_kme.value);
  out += ",\"target_KME_ID\":";
  AppendJsonString(out, status.target_kme.value);
  out += ",\"master_SAE_ID\":";
  AppendJsonString(out, status.master.value);
  out += ",\"slave_SAE_ID\":";
  AppendJsonString(out, status.slave.value);
  absl::StrAppend(&out, ",\"key_size\":", status.key_size_bits,
                  ",\"stored_key_count\":", status.stored_key_count,
                  ",\"max_key_count\":", status.max_key_count,
                  ",\"max_key_per_request\":", status.max_key_per_request,
                  ",\"max_key_size\":", status.max_key_size_bits,
                  ",\"min_key_size\":", status.min_key_size_bits,
                  ",\"max_SAE_ID_count\":", status.max_sae_id_count);
  if (!status.extension.empty()) {
    out += ",\"status_extension\":";
    char before = '{';
    for (const auto& [name, fact] : status.extension) {
      out.push_back(std::exchange(before, ','));
      AppendJsonString(out, name);
      out.push_back(':');
      AppendFact(out, fact);
    }
    out.push_back('}');
  }
  out.push_back('}');
  return out;
}

std::string WriteRefusal(const Refusal& refusal) {
  if (refusal.kind == Refusal::Kind::kUnauthorized) return R"({"message":"Unauthorized"})";
  std::string out = "{\"message\":";
  AppendJsonString(out, refusal.message);
  if (!refusal.details.empty()) {
    out += ",\"details\":[";
    bool first = true;
    for (const auto& detail : refusal.details) {
      if (!first) out.push_back(',');
      first = false;
      AppendObject(out, {detail});
    }
    out.push_back(']');
  }
  out.push_back('}');
  return out;
}

}  // namespace keyhop
