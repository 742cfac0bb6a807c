#include "kms/ks004/sae_uri.h"

#include <string>

#include "kms/ak/target.h"

namespace keyhop {
namespace {

constexpr absl::string_view kOwnScheme = "keyhop://sae/";
constexpr size_t kSaeIdBytesMax = 300;

}  // namespace

std::optional<SaeId> SaeOfUri(absl::string_view uri) {
  absl::string_view text = uri;
  bool encoded = false;
  if (text.substr(0, kOwnScheme.size()) == kOwnScheme) {
    text.remove_prefix(kOwnScheme.size());
    encoded = true;
  } else if (const size_t colon = text.find("://"); colon != absl::string_view::npos) {
    if (colon == 0) return std::nullopt;
    text.remove_prefix(colon + 3);
    text = text.substr(0, text.find_first_of(":/?#"));
  }
  std::optional<std::string> id = std::string(text);
  if (encoded) id = UrlDecode(text);
  if (!id || id->empty() || id->size() > kSaeIdBytesMax || !IsUtf8(*id)) return std::nullopt;
  for (const char c : *id) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
  }
  return SaeId(*std::move(id));
}

}  // namespace keyhop
