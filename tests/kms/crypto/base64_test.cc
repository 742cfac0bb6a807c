#include "kms/crypto/base64.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/escaping.h"

namespace keyhop {
namespace {

SecretBytes Secret(absl::string_view text) {
  return SecretBytes::CopyOf({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}
std::string Text(const SecretText& t) { return std::string(t.Expose(SecretAccess::ForTest())); }

TEST(SecretTextTest, WritesBase64OfRfc4648) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : cases) {
    SecretText text;
    text.AppendBase64(Secret(plain));
    EXPECT_EQ(Text(text), encoded);
  }
}

TEST(SecretTextTest, KeepsItsTextWhileItGrows) {
  SecretText text(3);
  std::string expected;
  for (int i = 0; i < 300; ++i) {
    const std::string key(static_cast<size_t>(i % 67), static_cast<char>(i));
    text.Append("{\"key\":\"");
    text.AppendBase64(Secret(key));
    text.Append("\"}");
    expected += "{\"key\":\"" + absl::Base64Escape(key) + "\"}";
    ASSERT_EQ(Text(text), expected);
  }
}

TEST(SecretTextTest, IsEmptyWhenMovedFrom) {
  SecretText text;
  text.Append("x");
  SecretText other = std::move(text);
  EXPECT_EQ(Text(other), "x");
  EXPECT_TRUE(text.empty());  // NOLINT(bugprone-use-after-move): that is the point.
  text.Append("y");
  EXPECT_EQ(Text(text), "y");
}

}  // namespace
}  // namespace keyhop
