// keyhop_secret_scan FOLDER... < KEYS: KEYS are keys as base64, one a line. Looks for every run of
// eight bytes of any of them in all files below the folders: raw, as hex, and as base64 at any
// alignment. Prints each file with a find and how it was written; never key bytes. Exit 0: none, 1:
// found, 2: usage.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <unordered_set>
#include <vector>

namespace {

constexpr size_t kRun = 8;
constexpr int kNotADigit = -1;

int HexDigit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return kNotADigit;
}

int Base64Digit(unsigned char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return kNotADigit;
}

uint64_t RunAt(const uint8_t* bytes) {
  uint64_t run = 0;
  std::memcpy(&run, bytes, kRun);
  return run;
}

class Runs {
 public:
  Runs() : filter_(size_t{1} << 24) {}
  void Add(const std::vector<uint8_t>& key) {
    for (size_t i = 0; i + kRun <= key.size(); ++i) {
      const uint64_t run = RunAt(key.data() + i);
      all_.insert(run);
      filter_[Slot(run)] = true;
    }
  }
  bool Contains(uint64_t run) const { return filter_[Slot(run)] && all_.contains(run); }
  size_t size() const { return all_.size(); }

 private:
  static size_t Slot(uint64_t run) { return (run * 0x9E3779B97F4A7C15u) >> 40; }
  std::vector<bool> filter_;  // Most runs are told from ours by one bit.
  std::unordered_set<uint64_t> all_;
};

// Bytes of the base64 text that begins at `at` and has at most 16 digits.
std::vector<uint8_t> DecodeBase64(const std::string& text, size_t at) {
  std::vector<uint8_t> out;
  uint32_t bits = 0;
  int count = 0;
  for (size_t i = at; i < text.size() && i < at + 16; ++i) {
    const int digit = Base64Digit(text[i]);
    if (digit == kNotADigit) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<uint8_t>(bits >> count));
    }
  }
  return out;
}

bool HasHex(const std::string& text, size_t at, const Runs& runs) {
  std::array<uint8_t, kRun> bytes;
  for (size_t i = 0; i < kRun; ++i) {
    const int high = HexDigit(text[at + 2 * i]);
    const int low = HexDigit(text[at + 2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return runs.Contains(RunAt(bytes.data()));
}

const char* Search(const std::string& text, const Runs& runs) {
  size_t hex_digits = 0;     // In a row, up to here.
  size_t base64_digits = 0;  // The same.
  for (size_t i = 0; i < text.size(); ++i) {
    const auto* here = reinterpret_cast<const uint8_t*>(text.data()) + i;
    if (i + kRun <= text.size() && runs.Contains(RunAt(here))) return "raw";
    hex_digits = HexDigit(text[i]) < 0 ? 0 : hex_digits + 1;
    if (hex_digits >= 2 * kRun && HasHex(text, i + 1 - 2 * kRun, runs)) return "as hex";
    base64_digits = Base64Digit(text[i]) < 0 ? 0 : base64_digits + 1;
    if (base64_digits >= 11) {
      const std::vector<uint8_t> bytes = DecodeBase64(text, i - 10);
      for (size_t j = 0; j + kRun <= bytes.size(); ++j) {
        if (runs.Contains(RunAt(bytes.data() + j))) return "as base64";
      }
    }
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: keyhop_secret_scan FOLDER... < KEYS\n", stderr);
    return 2;
  }
  Runs runs;
  std::string line;
  while (std::getline(std::cin, line)) {
    std::vector<uint8_t> key;
    for (size_t at = 0; at < line.size(); at += 16) {
      const std::vector<uint8_t> part = DecodeBase64(line, at);
      key.insert(key.end(), part.begin(), part.end());
    }
    runs.Add(key);
  }
  if (runs.size() == 0) {
    std::fputs("keyhop_secret_scan: no key on standard input\n", stderr);
    return 2;
  }
  size_t files = 0;
  size_t bytes = 0;
  int finds = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
      ++files;
      bytes += text.size();
      if (const char* how = Search(text, runs)) {
        std::printf("%s: key bytes %s\n", entry.path().c_str(), how);
        ++finds;
      }
    }
  }
  std::printf("%zu runs of 8 key bytes, %zu files, %zu bytes searched, %d files with finds\n",
              runs.size(), files, bytes, finds);
  return finds == 0 ? 0 : 1;
}
