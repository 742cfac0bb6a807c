#include "kms/ak/target.h"

#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "kms/ak/request_reader.h"

namespace keyhop {
namespace {

constexpr absl::string_view kPrefix = "/api/v1/keys/";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Bytes of the character that starts at `text[i]`, or 0 if it is not UTF-8 (RFC 3629 §4).
size_t Utf8Size(absl::string_view text, size_t i) {
  const auto at = [&](size_t k) -> uint8_t {
    return i + k < text.size() ? static_cast<uint8_t>(text[i + k]) : 0;
  };
  const auto tail = [&](size_t k) { return at(k) >= 0x80 && at(k) <= 0xbf; };
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool overlong = lead == 0xe0 && at(1) < 0xa0;
    const bool surrogate = lead == 0xed && at(1) > 0x9f;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool overlong = lead == 0xf0 && at(1) < 0x90;
    const bool beyond = lead == 0xf4 && at(1) > 0x8f;
    return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

}  // namespace

TargetParts SplitTarget(absl::string_view target) {
  const size_t scheme = target.find("://");
  if (!absl::StartsWith(target, "/") && scheme != absl::string_view::npos) {
    const size_t slash = target.find('/', scheme + 3);
    target = slash == absl::string_view::npos ? "/" : target.substr(slash);
  }
  const size_t question = target.find('?');
  if (question == absl::string_view::npos) return {.path = target, .query = {}};
  return {.path = target.substr(0, question), .query = target.substr(question + 1)};
}

bool IsUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t size = Utf8Size(text, i);
    if (size == 0) return false;
    i += size;
  }
  return true;
}

std::optional<std::string> UrlDecode(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3) return std::nullopt;
      const int high = HexValue(text[i + 1]);
      const int low = HexValue(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high << 4 | low);
      i += 2;
    }
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) return std::nullopt;
    out.push_back(c);
  }
  if (!IsUtf8(out)) return std::nullopt;
  return out;
}

std::optional<Refusal> ReadQuery(absl::string_view query, TakePair take) {
  while (!query.empty()) {
    const size_t end = query.find('&');
    const absl::string_view pair = query.substr(0, end);
    query = end == absl::string_view::npos ? absl::string_view() : query.substr(end + 1);
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const std::optional<std::string> name = UrlDecode(pair.substr(0, equals));
    const std::optional<std::string> value = UrlDecode(
        equals == absl::string_view::npos ? absl::string_view() : pair.substr(equals + 1));
    if (!name.has_value() || !value.has_value()) {
      return Refusal{.kind = Refusal::Kind::kBadRequest,
                     .message = "the query string shall be URL-encoded UTF-8"};
    }
    if (std::optional<Refusal> refusal = take(*name, *value)) return refusal;
  }
  return std::nullopt;
}

std::optional<uint64_t> ReadDecimal(const std::string& text) {
  uint64_t n = 0;
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || !absl::SimpleAtoi(text, &n)) return std::nullopt;
  return n;
}

std::variant<KeysTarget, NoSuchPath, Refusal> ReadKeysPath(absl::string_view path) {
  if (!absl::ConsumePrefix(&path, kPrefix)) return NoSuchPath{};
  const size_t slash = path.find('/');
  if (slash == absl::string_view::npos) return NoSuchPath{};
  const absl::string_view name = path.substr(slash + 1);
  KeysTarget target;
  if (name == "status") {
    target.method = KeysTarget::Method::kStatus;
  } else if (name == "enc_keys") {
    target.method = KeysTarget::Method::kEncKeys;
  } else if (name == "dec_keys") {
    target.method = KeysTarget::Method::kDecKeys;
  } else {
    return NoSuchPath{};
  }
  std::optional<std::string> id = UrlDecode(path.substr(0, slash));
  if (!id.has_value() || id->empty() || id->size() > kMaxSaeIdBytes) {
    return Refusal{.kind = Refusal::Kind::kBadRequest,
                   .message = "the SAE ID in the URL shall be 1 to 300 bytes of URL-encoded UTF-8"};
  }
  target.sae = SaeId(*std::move(id));
  return target;
}

}  // namespace keyhop
