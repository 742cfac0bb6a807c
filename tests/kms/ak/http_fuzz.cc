#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kms/ak/http_reader.h"
#include "kms/base/check.h"

namespace {

using State = keyhop::HttpReader::State;

constexpr size_t kHeaderMax = 256;
constexpr size_t kBodyMax = 512;
constexpr char kRefused[] = " refused";

// What a connection reads out of these bytes if they come in pieces of `step`.
std::string Read(absl::string_view bytes, size_t step) {
  keyhop::HttpReader reader(kHeaderMax, kBodyMax);
  std::string held;
  std::string out;
  while (true) {
    const size_t taken = held.empty() ? 0 : reader.Take(held);
    KEYHOP_CHECK(taken <= held.size(), "no more is taken than there is");
    held.erase(0, taken);
    if (reader.state() == State::kRefused) {
      KEYHOP_CHECK(reader.refusal().status >= 400, "a refusal says why");
      return out + kRefused;
    }
    if (reader.state() == State::kWhole) {
      const keyhop::HttpRequest request = reader.TakeRequest();
      KEYHOP_CHECK(request.body.size() <= kBodyMax, "of bounded length");
      out += request.method + " " + request.target + "\n" + request.body + "\n";
      reader.Next();
    } else if (taken == 0) {
      if (bytes.empty()) return out;
      KEYHOP_CHECK(held.size() < kHeaderMax + step, "nothing is held without a limit");
      absl::StrAppend(&held, bytes.substr(0, step));
      bytes.remove_prefix(std::min(step, bytes.size()));
    }
  }
}

}  // namespace

// Any bytes are the same requests however they come; what is too long is seen to be a little
// earlier or later.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string at_once = Read(bytes, 100);
  const std::string piecemeal = Read(bytes, 1);
  const auto refused = [](const std::string& text) { return absl::EndsWith(text, kRefused); };
  if (refused(at_once) == refused(piecemeal)) {
    KEYHOP_CHECK(at_once == piecemeal, "pieces change nothing");
  }
  return 0;
}
