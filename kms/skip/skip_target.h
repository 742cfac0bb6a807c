#ifndef KEYHOP_KMS_SKIP_SKIP_TARGET_H_
#define KEYHOP_KMS_SKIP_SKIP_TARGET_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "kms/ak/target.h"
#include "kms/core/delivery/request.h"

// Reads requests of the Secure Key Integration Protocol (draft-cisco-skip-02, Table 2). Pure
// functions of public input. Every refusal is kBadRequest, and never repeats what was sent.

namespace keyhop {

inline constexpr size_t kSkipKeyIdTextSize = 32;

struct SkipTarget {
  enum class Method { kCapabilities, kKey, kKeyById, kEntropy };
  Method method = Method::kCapabilities;
  std::string key_id = {};  // Of kKeyById: decoded, as sent.
};

// The four paths of the table; everything else is 404.
std::variant<SkipTarget, NoSuchPath> ReadSkipPath(absl::string_view path);

// The query of /key and /key/{keyId}: `remoteSystemID`, exactly once, and for a fresh key `size` in
// bits, at most once. Other names are skipped. Absent size: 256 bits.
struct SkipKeyQuery {
  std::string remote_system_id;
  uint64_t size_bits = 256;
};
Outcome<SkipKeyQuery> ReadSkipKeyQuery(absl::string_view query, SkipTarget::Method method);

// The query of /entropy: `minentropy` in bits, at most once, 1 or more. Absent: 256.
Outcome<uint64_t> ReadSkipEntropyQuery(absl::string_view query);

// A keyId: hex digits of either case. Nothing: it is none of ours, which have 32 digits: the 16
// bytes of a key_ID. A refusal: it is not hex.
Outcome<std::optional<KeyId>> ReadSkipKeyId(absl::string_view text);

// 32 lower-case digits.
std::string FormatSkipKeyId(const KeyId& id);

}  // namespace keyhop

#endif  // KEYHOP_KMS_SKIP_SKIP_TARGET_H_
