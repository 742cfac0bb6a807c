#include <cstddef>
#include <cstdint>
#include <string>

#include "kms/base/check.h"
#include "kms/tls/psk_file.h"

// Any file is read without harm; its table holds what it may; errors never repeat a line.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto table = keyhop::PskTable::Parse({data, size}, "psk");
  if (!table.ok()) {
    KEYHOP_CHECK(table.status().message().size() < 300, "an error is short");
    return 0;
  }
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t colon = text.find(':');
  if (colon == std::string::npos) {
    KEYHOP_CHECK(table->size() == 0, "a key has its colon");
    return 0;
  }
  const auto* entry = table->Find(text.substr(0, colon));
  if (entry == nullptr) return 0;
  KEYHOP_CHECK(entry->key.size() >= keyhop::kPskBytesMin, "a key has 256 bits");
  KEYHOP_CHECK(entry->key.size() <= keyhop::kPskBytesMax, "and has an end");
  return 0;
}
