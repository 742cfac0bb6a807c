#include "kms/config/scalars.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace keyhop {
namespace {

constexpr size_t kIdBytesMax = 64;
constexpr size_t kSaeIdBytesMax = 300;

struct Unit {
  absl::string_view suffix;
  uint64_t factor;
};

std::optional<uint64_t> ParseWithUnit(absl::string_view text, const Unit& unit) {
  if (!absl::ConsumeSuffix(&text, unit.suffix)) return std::nullopt;
  const std::optional<uint64_t> count = ParseCount(text);
  if (!count || *count > std::numeric_limits<uint64_t>::max() / unit.factor) return std::nullopt;
  return *count * unit.factor;
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0u) == 0x80u; }

// The length of the well-formed UTF-8 sequence that `text` begins with (RFC 3629); 0 if none.
size_t Utf8SequenceLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  if (!std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(length),
                   IsContinuation)) {
    return 0;
  }
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // Overlong.
  if (lead == 0xed && byte(1) > 0x9f) return 0;  // Surrogates.
  if (lead == 0xf0 && byte(1) < 0x90) return 0;  // Overlong.
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;  // Above U+10FFFF.
  return length;
}

}  // namespace

std::optional<uint64_t> ParseCount(absl::string_view text) {
  uint64_t value = 0;
  if (text.empty() || !std::all_of(text.begin(), text.end(), absl::ascii_isdigit)) {
    return std::nullopt;
  }
  if (!absl::SimpleAtoi(text, &value)) return std::nullopt;
  return value;
}

std::optional<uint64_t> ParseSizeBytes(absl::string_view text) {
  for (const Unit& unit : {Unit{"KiB", 1u << 10}, Unit{"MiB", 1u << 20}, Unit{"GiB", 1u << 30}}) {
    if (absl::EndsWith(text, unit.suffix)) return ParseWithUnit(text, unit);
  }
  return ParseCount(text);
}

std::optional<Duration> ParseDuration(absl::string_view text) {
  constexpr uint64_t kSecond = 1'000'000'000;
  constexpr uint64_t kMax = 100ull * 366 * 24 * 3600 * kSecond;
  for (const Unit& unit : {Unit{"ms", 1'000'000}, Unit{"us", 1'000}, Unit{"s", kSecond},
                           Unit{"m", 60 * kSecond}, Unit{"h", 3600 * kSecond}}) {
    if (!absl::EndsWith(text, unit.suffix)) continue;
    const std::optional<uint64_t> ns = ParseWithUnit(text, unit);
    if (!ns || *ns > kMax) return std::nullopt;
    return Duration{static_cast<int64_t>(*ns)};
  }
  return std::nullopt;
}

std::optional<HostPort> ParseHostPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  absl::string_view host = text.substr(0, colon);
  const std::optional<uint64_t> port = ParseCount(text.substr(colon + 1));
  if (!port || *port > 65535) return std::nullopt;
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) return std::nullopt;
  } else if (absl::StrContains(host, ':')) {
    return std::nullopt;
  }
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '%';
  };
  if (host.empty() || !std::all_of(host.begin(), host.end(), allowed)) return std::nullopt;
  return HostPort{std::string(host), static_cast<uint16_t>(*port)};
}

bool IsId(absl::string_view text) {
  return !text.empty() && text.size() <= kIdBytesMax &&
         std::all_of(text.begin(), text.end(), absl::ascii_isgraph);
}

bool IsSaeId(absl::string_view text) {
  if (text.empty() || text.size() > kSaeIdBytesMax) return false;
  while (!text.empty()) {
    const size_t length = Utf8SequenceLength(text);
    if (length == 0 || absl::ascii_iscntrl(text[0])) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace keyhop
