#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/strings/ascii.h"
#include "kms/ak/target.h"
#include "kms/base/check.h"
#include "kms/base/glob.h"
#include "kms/skip/skip_target.h"

// Any request target is read without harm; what comes out of it is what the draft lets it be.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using keyhop::SkipTarget;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const keyhop::TargetParts parts = keyhop::SplitTarget(text);
  const auto read = keyhop::ReadSkipPath(parts.path);
  if (const auto* target = std::get_if<SkipTarget>(&read)) {
    const auto id = keyhop::ReadSkipKeyId(target->key_id);
    if (const auto* ours = std::get_if<std::optional<keyhop::KeyId>>(&id); ours && *ours) {
      KEYHOP_CHECK(keyhop::FormatSkipKeyId(**ours) == absl::AsciiStrToLower(target->key_id),
                   "a keyId is written as it was read");
    }
  }
  for (const auto method : {SkipTarget::Method::kKey, SkipTarget::Method::kKeyById}) {
    const auto query = keyhop::ReadSkipKeyQuery(parts.query, method);
    const auto* wanted = std::get_if<keyhop::SkipKeyQuery>(&query);
    if (wanted == nullptr) continue;
    KEYHOP_CHECK(!wanted->remote_system_id.empty(), "a system has a name");
    KEYHOP_CHECK(keyhop::IsUtf8(wanted->remote_system_id), "in UTF-8");
    KEYHOP_CHECK(wanted->size_bits > 0, "a key has bits");
    KEYHOP_CHECK(keyhop::GlobMatches("*", wanted->remote_system_id), "a star matches all");
  }
  const auto bits = keyhop::ReadSkipEntropyQuery(parts.query);
  KEYHOP_CHECK(!std::holds_alternative<uint64_t>(bits) || std::get<uint64_t>(bits) > 0,
               "some bits");
  return 0;
}
