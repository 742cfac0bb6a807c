#ifndef KEYHOP_KMS_AK_TARGET_H_
#define KEYHOP_KMS_AK_TARGET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "kms/core/delivery/request.h"

// Reads HTTP request targets (RFC 9112 §3.2). Pure functions.

namespace keyhop {

// Path and query of a target as sent, still URL-encoded. Views into the target. An absolute
// target (`https://host/path`) loses its scheme and host.
struct TargetParts {
  absl::string_view path;
  absl::string_view query;  // Without the '?'.
};
TargetParts SplitTarget(absl::string_view target);

// Undoes URL-encoding (RFC 3986 §2.1) once; '+' stands for itself. Nothing if a '%' is not
// followed by two hex digits, or the result is not UTF-8 or holds a control character.
std::optional<std::string> UrlDecode(absl::string_view text);

// Calls `take(name, value)` for each pair of a query string, both decoded. A refusal from it ends
// the reading and is returned; so is one of our own where the query is not URL-encoded UTF-8.
using TakePair =
    absl::FunctionRef<std::optional<Refusal>(const std::string& name, const std::string& value)>;
std::optional<Refusal> ReadQuery(absl::string_view query, TakePair take);

// A decimal number without sign; nothing if it is none or too large.
std::optional<uint64_t> ReadDecimal(const std::string& text);

// True if `text` is well-formed UTF-8 (no overlong forms, no surrogates).
bool IsUtf8(absl::string_view text);

// One of the three resources of ETSI GS QKD 014 §5: /api/v1/keys/{sae}/{method}.
struct KeysTarget {
  enum class Method { kStatus, kEncKeys, kDecKeys };
  Method method = Method::kStatus;
  SaeId sae;  // The slave, for dec_keys the master; decoded.
};
struct NoSuchPath {};  // REST 404.
std::variant<KeysTarget, NoSuchPath, Refusal> ReadKeysPath(absl::string_view path);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_TARGET_H_
