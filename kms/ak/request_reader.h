#ifndef KEYHOP_KMS_AK_REQUEST_READER_H_
#define KEYHOP_KMS_AK_REQUEST_READER_H_

#include "absl/strings/string_view.h"
#include "kms/core/delivery/request.h"

// Reads ETSI GS QKD 014 V1.1.1 requests: JSON bodies (§6.2, §6.4) and query strings (§5.2, §5.3).
// Pure functions of public input. Every refusal is kBadRequest with a message that says what was
// expected, and never repeats what was sent.
//
// JSON is RFC 8259, strictly: UTF-8 without byte-order mark, no comments, no trailing commas, no
// text after the value, no member twice in one object, at most kMaxJsonDepth levels. `null` for an
// optional member counts as absent; members that the standard does not have are skipped.

namespace keyhop {

inline constexpr int kMaxJsonDepth = 32;
// Bytes of a body; larger ones are refused before they are read (REST 413).
inline constexpr size_t kMaxBodyBytes = size_t{1} << 20;
// Bytes of an SAE ID.
inline constexpr size_t kMaxSaeIdBytes = 300;

// Body of POST enc_keys. An empty body asks for the defaults, as `{}` does.
Outcome<DrawRequest> ReadDrawBody(absl::string_view body, SaeId caller, SaeId slave);

// Query string (without '?') of GET enc_keys: `number` and `size`, decimal, each at most once. What
// only a POST may ask for (§5.2) is refused; other names are skipped.
Outcome<DrawRequest> ReadDrawQuery(absl::string_view query, SaeId caller, SaeId slave);

// Body of POST dec_keys.
Outcome<FetchRequest> ReadFetchBody(absl::string_view body, SaeId caller, SaeId master);

// Query string of GET dec_keys: exactly one `key_ID`. What only a POST may ask for (§5.3) is
// refused; other names are skipped.
Outcome<FetchRequest> ReadFetchQuery(absl::string_view query, SaeId caller, SaeId master);

// The query string of a POST: refused if it says what belongs into the body. Other names are
// skipped.
std::optional<Refusal> CheckPostQuery(absl::string_view query);

// A parameter of an extension whose value is given as JSON text.
ExtensionParameter ReadExtension(absl::string_view name, absl::string_view value_json);

// What must hold of a request whatever the front end: IDs of SAEs not blank nor too long; slave
// and additional slaves all different and none the caller; one or more key_IDs, none twice.
std::optional<Refusal> CheckDraw(const DrawRequest& request);
std::optional<Refusal> CheckFetch(const FetchRequest& request);

// The refusal for a key_ID that is not a UUID.
Refusal BadKeyId();

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_REQUEST_READER_H_
