#include <cstddef>
#include <cstdint>
#include <variant>

#include "kms/ak/answer_writer.h"
#include "kms/ak/request_reader.h"
#include "kms/ak/target.h"
#include "kms/base/check.h"

// Any body either becomes a request that keeps its promises, or an error that is JSON text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using keyhop::Refusal;
  const absl::string_view body(reinterpret_cast<const char*>(data), size);
  const auto check_refusal = [](const Refusal& refusal) {
    KEYHOP_CHECK(refusal.kind == Refusal::Kind::kBadRequest, "only bad requests");
    KEYHOP_CHECK(!refusal.message.empty(), "a refusal says why");
    KEYHOP_CHECK(keyhop::IsUtf8(keyhop::WriteRefusal(refusal)), "an answer is UTF-8");
  };
  const auto draw = keyhop::ReadDrawBody(body, keyhop::SaeId("alice"), keyhop::SaeId("bob"));
  if (const auto* request = std::get_if<keyhop::DrawRequest>(&draw)) {
    KEYHOP_CHECK(!keyhop::CheckDraw(*request).has_value(), "a request that was read is checked");
    KEYHOP_CHECK(request->caller.value == "alice", "a body never names the caller");
    KEYHOP_CHECK(request->slave.value == "bob", "a body never names the slave");
  } else {
    check_refusal(std::get<Refusal>(draw));
  }
  const auto fetch = keyhop::ReadFetchBody(body, keyhop::SaeId("alice"), keyhop::SaeId("bob"));
  if (const auto* request = std::get_if<keyhop::FetchRequest>(&fetch)) {
    KEYHOP_CHECK(!keyhop::CheckFetch(*request).has_value(), "a request that was read is checked");
    KEYHOP_CHECK(request->caller.value == "alice", "a body never names the caller");
  } else {
    check_refusal(std::get<Refusal>(fetch));
  }
  return 0;
}
