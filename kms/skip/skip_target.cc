#include "kms/skip/skip_target.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace keyhop {
namespace {

Refusal BadRequest(std::string message) {
  return {.kind = Refusal::Kind::kBadRequest, .message = std::move(message)};
}

Refusal BadNumber(const char* name) {
  return BadRequest(absl::StrCat(name, " shall be a whole number of bits, 1 or more"));
}

// `name` was read before into `field`, or its value is no number of bits.
std::optional<Refusal> TakeBits(const char* name, const std::string& value,
                                std::optional<uint64_t>& field) {
  if (field.has_value()) return BadRequest(absl::StrCat(name, " occurs twice in the query"));
  field = ReadDecimal(value);
  if (!field.has_value() || *field == 0) return BadNumber(name);
  return std::nullopt;
}

}  // namespace

std::variant<SkipTarget, NoSuchPath> ReadSkipPath(absl::string_view path) {
  if (path == "/capabilities") return SkipTarget{.method = SkipTarget::Method::kCapabilities};
  if (path == "/key") return SkipTarget{.method = SkipTarget::Method::kKey};
  if (path == "/entropy") return SkipTarget{.method = SkipTarget::Method::kEntropy};
  if (!absl::ConsumePrefix(&path, "/key/") || path.find('/') != absl::string_view::npos) {
    return NoSuchPath{};
  }
  // What is not even URL-encoded stays what it is: no hex.
  return SkipTarget{.method = SkipTarget::Method::kKeyById,
                    .key_id = UrlDecode(path).value_or("%")};
}

Outcome<SkipKeyQuery> ReadSkipKeyQuery(absl::string_view query, SkipTarget::Method method) {
  std::optional<std::string> remote;
  std::optional<uint64_t> size;
  const auto take = [&](const std::string& name,
                        const std::string& value) -> std::optional<Refusal> {
    if (name == "size" && method == SkipTarget::Method::kKey) return TakeBits("size", value, size);
    if (name != "remoteSystemID") return std::nullopt;
    if (remote.has_value()) return BadRequest("remoteSystemID occurs twice in the query");
    remote = value;
    return std::nullopt;
  };
  if (std::optional<Refusal> refusal = ReadQuery(query, take)) return *std::move(refusal);
  if (!remote.has_value() || remote->empty()) {
    return BadRequest("the query shall say remoteSystemID=ID of the other key provider");
  }
  SkipKeyQuery read{.remote_system_id = *std::move(remote)};
  if (size.has_value()) read.size_bits = *size;
  return read;
}

Outcome<uint64_t> ReadSkipEntropyQuery(absl::string_view query) {
  std::optional<uint64_t> bits;
  const auto take = [&](const std::string& name, const std::string& value) {
    return name == "minentropy" ? TakeBits("minentropy", value, bits) : std::nullopt;
  };
  if (std::optional<Refusal> refusal = ReadQuery(query, take)) return *std::move(refusal);
  return bits.value_or(256);
}

Outcome<std::optional<KeyId>> ReadSkipKeyId(absl::string_view text) {
  if (text.empty() || !std::all_of(text.begin(), text.end(), [](char c) {
        return absl::ascii_isxdigit(static_cast<unsigned char>(c));
      })) {
    return BadRequest("a keyId shall be hex digits");
  }
  if (text.size() != kSkipKeyIdTextSize) return std::optional<KeyId>();
  const std::string bytes = absl::HexStringToBytes(text);
  KeyId id = {};
  std::copy(bytes.begin(), bytes.end(), id.begin());
  return std::optional<KeyId>(id);
}

std::string FormatSkipKeyId(const KeyId& id) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(id.data()), id.size()});
}

}  // namespace keyhop
