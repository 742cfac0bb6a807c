#include "kms/ak/target.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>

namespace keyhop {
namespace {

TEST(SplitTargetTest, SeparatesPathAndQuery) {
  EXPECT_EQ(SplitTarget("/a/b?c=d?e").path, "/a/b");
  EXPECT_EQ(SplitTarget("/a/b?c=d?e").query, "c=d?e");
  EXPECT_EQ(SplitTarget("/a").query, "");
  EXPECT_EQ(SplitTarget("https://kme:8443/a?b").path, "/a");
  EXPECT_EQ(SplitTarget("https://kme").path, "/");
  EXPECT_EQ(SplitTarget("/redirect?to=https://x/y").path, "/redirect");
  EXPECT_EQ(SplitTarget("*").path, "*");
}

TEST(UrlDecodeTest, DecodesOnce) {
  EXPECT_EQ(UrlDecode("a%20b%2Fc%2fd%25e"), "a b/c/d%e");
  EXPECT_EQ(UrlDecode("%2525"), "%25");
  EXPECT_EQ(UrlDecode("a+b"), "a+b");
  EXPECT_EQ(UrlDecode("%C3%A9"), "\u00e9");
  EXPECT_EQ(UrlDecode("\u00e9"), "\u00e9");
  EXPECT_EQ(UrlDecode(""), "");
}

TEST(UrlDecodeTest, RefusesBadEscapesAndBadText) {
  for (const char* text : {"%", "%2", "a%zz", "%-1", "%ff", "%C3", "%ED%A0%80", "%C0%80", "%00",
                           "%0a", "a%7f", "%F4%90%80%80"}) {
    EXPECT_FALSE(UrlDecode(text).has_value()) << text;
  }
}

TEST(IsUtf8Test, TellsWellFormedTextFromOther) {
  for (const char* good : {"", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xc1\xbf", "\xc2", "\xc2g", "\xe0\x9f\xbf", "\xed\xa0\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  }
}

TEST(ReadKeysPathTest, ReadsTheThreeResources) {
  const auto method = [](const char* path) {
    return std::get<KeysTarget>(ReadKeysPath(path)).method;
  };
  EXPECT_EQ(method("/api/v1/keys/bob/status"), KeysTarget::Method::kStatus);
  EXPECT_EQ(method("/api/v1/keys/bob/enc_keys"), KeysTarget::Method::kEncKeys);
  EXPECT_EQ(method("/api/v1/keys/bob/dec_keys"), KeysTarget::Method::kDecKeys);
}

TEST(ReadKeysPathTest, DecodesTheSaeIdOnce) {
  const auto sae = [](const std::string& id) {
    return std::get<KeysTarget>(ReadKeysPath("/api/v1/keys/" + id + "/status")).sae.value;
  };
  EXPECT_EQ(sae("sae-1"), "sae-1");
  EXPECT_EQ(sae("a%20b"), "a b");
  EXPECT_EQ(sae("a%2Fb"), "a/b");
  EXPECT_EQ(sae("a%25"), "a%");
  EXPECT_EQ(sae("%252F"), "%2F");
  EXPECT_EQ(sae("caf%C3%A9"), "caf\u00e9");
  EXPECT_EQ(sae(std::string(300, 'x')).size(), 300u);
}

TEST(ReadKeysPathTest, RefusesBadSaeIds) {
  for (const std::string& id : {std::string(), std::string("%"), std::string("%ff"),
                                std::string("%00"), std::string(301, 'x')}) {
    const auto read = ReadKeysPath("/api/v1/keys/" + id + "/status");
    ASSERT_TRUE(std::holds_alternative<Refusal>(read)) << id;
    EXPECT_EQ(std::get<Refusal>(read).kind, Refusal::Kind::kBadRequest);
  }
}

TEST(ReadKeysPathTest, KnowsNoOtherPath) {
  for (const char* path :
       {"", "/", "/api/v1/keys", "/api/v1/keys/", "/api/v1/keys/bob", "/api/v1/keys/bob/",
        "/api/v1/keys/bob/status/", "/api/v1/keys/bob/Status", "/api/v1/keys/a/b/status",
        "/api/v2/keys/bob/status", "api/v1/keys/bob/status", "/api/v1/keys/bob/enc%5Fkeys",
        "//api/v1/keys/bob/status", "/api/v1/keys/bob/enc_keys/.."}) {
    EXPECT_TRUE(std::holds_alternative<NoSuchPath>(ReadKeysPath(path))) << path;
  }
}

}  // namespace
}  // namespace keyhop
