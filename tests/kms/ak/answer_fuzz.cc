#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "kms/ak/answer_writer.h"
#include "kms/ak/request_reader.h"
#include "kms/ak/target.h"
#include "kms/base/check.h"

// Any UTF-8 text that we write as JSON reads as itself, and spoils no answer that it stands in.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (!keyhop::IsUtf8(text)) return 0;
  std::string json;
  keyhop::AppendJsonString(json, text);
  const auto draw =
      keyhop::ReadDrawBody(absl::StrCat(R"({"extension_optional":[{)", json, R"(:7}]})"),
                           keyhop::SaeId("alice"), keyhop::SaeId("bob"));
  const auto* request = std::get_if<keyhop::DrawRequest>(&draw);
  KEYHOP_CHECK(request != nullptr, "what we write is JSON");
  KEYHOP_CHECK(request->extension_optional.at(0).name == text, "and reads as it was");
  KEYHOP_CHECK(request->extension_optional.at(0).number == 7, "with its value");

  keyhop::PairStatus status;
  status.slave = keyhop::SaeId(text);
  status.extension[text] = std::map<std::string, std::string>{{text, text}};
  for (const std::string& answer :
       {keyhop::WritePairStatus(status),
        keyhop::WriteRefusal({.message = text, .details = {{text, text}}})}) {
    const auto read = keyhop::ReadDrawBody(answer, keyhop::SaeId("alice"), keyhop::SaeId("bob"));
    KEYHOP_CHECK(std::holds_alternative<keyhop::DrawRequest>(read), "an answer is a JSON object");
  }
  return 0;
}
