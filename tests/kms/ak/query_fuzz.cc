#include <cstddef>
#include <cstdint>
#include <variant>

#include "kms/ak/request_reader.h"
#include "kms/ak/target.h"
#include "kms/base/check.h"

// Any request target is read without harm; what comes out of it is UTF-8 inside the limits.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const keyhop::TargetParts parts = keyhop::SplitTarget(text);
  const auto read = keyhop::ReadKeysPath(parts.path);
  if (const auto* target = std::get_if<keyhop::KeysTarget>(&read)) {
    KEYHOP_CHECK(!target->sae.empty(), "an SAE has a name");
    KEYHOP_CHECK(target->sae.value.size() <= keyhop::kMaxSaeIdBytes, "of bounded length");
    KEYHOP_CHECK(keyhop::IsUtf8(target->sae.value), "in UTF-8");
  }
  const auto draw =
      keyhop::ReadDrawQuery(parts.query, keyhop::SaeId("alice"), keyhop::SaeId("bob"));
  if (const auto* request = std::get_if<keyhop::DrawRequest>(&draw)) {
    KEYHOP_CHECK(request->additional_slaves.empty(), "a query names no other SAE");
  }
  const auto fetch =
      keyhop::ReadFetchQuery(parts.query, keyhop::SaeId("alice"), keyhop::SaeId("bob"));
  if (const auto* request = std::get_if<keyhop::FetchRequest>(&fetch)) {
    KEYHOP_CHECK(request->key_ids.size() == 1, "a query names one key");
  }
  (void)keyhop::UrlDecode(text);
  return 0;
}
