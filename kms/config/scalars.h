#ifndef KEYHOP_KMS_CONFIG_SCALARS_H_
#define KEYHOP_KMS_CONFIG_SCALARS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "kms/base/instant.h"

// How single values are written in the configuration. All functions are pure.

namespace keyhop {

// Decimal digits only: no sign, no space, no fraction, below 2^64.
std::optional<uint64_t> ParseCount(absl::string_view text);

// A count of bytes: "4096", "4KiB", "64MiB", "1GiB".
std::optional<uint64_t> ParseSizeBytes(absl::string_view text);

// "500ms", "10s", "5m", "24h", "0s"; a unit is required. At most 100 years.
std::optional<Duration> ParseDuration(absl::string_view text);

struct HostPort {
  std::string host;   // Without brackets.
  uint16_t port = 0;  // 0 lets a listener choose.
};

// "127.0.0.1:7000", "localhost:7000", "[::1]:7000".
std::optional<HostPort> ParseHostPort(absl::string_view text);

// A name of a node, link or module: 1 to 64 bytes of printable ASCII without space.
bool IsId(absl::string_view text);

// An SAE ID: 1 to 300 bytes of well-formed UTF-8 without control characters.
bool IsSaeId(absl::string_view text);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CONFIG_SCALARS_H_
