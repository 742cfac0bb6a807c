#ifndef KEYHOP_KMS_CORE_UUID_H_
#define KEYHOP_KMS_CORE_UUID_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "kms/core/types.h"
#include "kms/crypto/entropy.h"

namespace keyhop {

// Length of the text form of a UUID, in characters.
inline constexpr size_t kUuidTextSize = 36;

// Reads the text form of RFC 9562 §4: 32 hex digits of either case in groups of 8-4-4-4-12, and
// nothing else (no braces, no "urn:uuid:", no spaces). Any version and variant is read: whether
// the key exists is for the key manager to say.
std::optional<KeyId> ParseUuid(absl::string_view text);

// Lower case, 36 characters.
std::string FormatUuid(const KeyId& id);

// 122 random bits: version 4 (RFC 9562 §5.4).
KeyId RandomUuid(EntropySource& entropy);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_UUID_H_
