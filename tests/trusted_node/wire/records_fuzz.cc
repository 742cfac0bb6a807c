// A store whose content is damaged or strange is refused, never misread. The first byte says how
// long the key is; then come the key and the public part.
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "trusted_node/wire/records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const absl::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
  const absl::string_view key = all.substr(0, data[0]);
  (void)keyhop::FromStored(key, all.substr(key.size()), std::nullopt);
  (void)keyhop::FromStored(key, all.substr(key.size()), keyhop::SecretBytes(16));
  return 0;
}
