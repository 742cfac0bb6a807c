#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "kms/base/check.h"
#include "kms/config/config.h"

// Any bytes give either a configuration that passes its own checks, or an error that names the file
// and says something.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config =
      keyhop::ParseConfig(absl::string_view(reinterpret_cast<const char*>(data), size),
                          "/fuzz/a.yaml", keyhop::NamedFiles::kNotChecked);
  if (config.ok()) {
    KEYHOP_CHECK(keyhop::CrossCheck(*config).empty(), "accepted what the checks refuse");
    KEYHOP_CHECK(!config->node().id().empty(), "accepted without a node ID");
  } else {
    KEYHOP_CHECK(config.status().message().find("/fuzz/a.yaml:") == 0, "the error names no place");
  }
  return 0;
}
