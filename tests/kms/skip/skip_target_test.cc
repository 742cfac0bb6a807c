#include "kms/skip/skip_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

using ::testing::HasSubstr;
using Method = SkipTarget::Method;

const SkipTarget* TargetOf(const std::variant<SkipTarget, NoSuchPath>& read) {
  return std::get_if<SkipTarget>(&read);
}

template <typename T>
std::string MessageOf(const Outcome<T>& outcome) {
  const auto* refusal = std::get_if<Refusal>(&outcome);
  if (refusal == nullptr) return "it was accepted";
  EXPECT_EQ(refusal->kind, Refusal::Kind::kBadRequest);
  return refusal->message;
}

TEST(SkipPathTest, KnowsTheFourPathsOfTheTable) {
  EXPECT_EQ(TargetOf(ReadSkipPath("/capabilities"))->method, Method::kCapabilities);
  EXPECT_EQ(TargetOf(ReadSkipPath("/key"))->method, Method::kKey);
  EXPECT_EQ(TargetOf(ReadSkipPath("/entropy"))->method, Method::kEntropy);
  const auto by_id = ReadSkipPath("/key/0Af");
  EXPECT_EQ(TargetOf(by_id)->method, Method::kKeyById);
  EXPECT_EQ(TargetOf(by_id)->key_id, "0Af");
}

TEST(SkipPathTest, KnowsNoOther) {
  for (const char* path : {"", "/", "/keys", "/key/a/b", "/capabilities/", "/Capabilities", "key",
                           "/entropy/1", "/api/v1/keys/bob/enc_keys"}) {
    EXPECT_EQ(TargetOf(ReadSkipPath(path)), nullptr) << path;
  }
}

TEST(SkipQueryTest, WantsOneRemoteSystem) {
  const auto read = ReadSkipKeyQuery("remoteSystemID=KP%5FB", Method::kKey);
  EXPECT_EQ(std::get<SkipKeyQuery>(read).remote_system_id, "KP_B");
  for (const char* query :
       {"", "remoteSystemID=", "remoteSystemID", "remotesystemid=B", "size=8"}) {
    EXPECT_THAT(MessageOf(ReadSkipKeyQuery(query, Method::kKey)), HasSubstr("remoteSystemID=ID"));
  }
  EXPECT_THAT(MessageOf(ReadSkipKeyQuery("remoteSystemID=a&remoteSystemID=a", Method::kKeyById)),
              HasSubstr("twice"));
  EXPECT_THAT(MessageOf(ReadSkipKeyQuery("remoteSystemID=%zz", Method::kKey)),
              HasSubstr("URL-encoded"));
}

TEST(SkipQueryTest, SizeIsInBitsAnd256ByDefault) {
  const auto read = [](const char* query) {
    return ReadSkipKeyQuery(absl::StrCat("remoteSystemID=B", query), Method::kKey);
  };
  EXPECT_EQ(std::get<SkipKeyQuery>(read("")).size_bits, 256u);
  EXPECT_EQ(std::get<SkipKeyQuery>(read("&size=128&more=1")).size_bits, 128u);
  for (const char* size : {"&size=0", "&size=-8", "&size=", "&size=1e3", "&size=0x80", "&size=+8",
                           "&size=18446744073709551616"}) {
    EXPECT_THAT(MessageOf(read(size)), HasSubstr("size shall be a whole number of bits")) << size;
  }
  EXPECT_THAT(MessageOf(read("&size=8&size=8")), HasSubstr("twice"));
  // It says nothing about a key that is there already.
  EXPECT_TRUE(std::holds_alternative<SkipKeyQuery>(
      ReadSkipKeyQuery("remoteSystemID=B&size=x", Method::kKeyById)));
}

TEST(SkipQueryTest, EntropyIs256BitsByDefault) {
  EXPECT_EQ(std::get<uint64_t>(ReadSkipEntropyQuery("")), 256u);
  EXPECT_EQ(std::get<uint64_t>(ReadSkipEntropyQuery("minentropy=128")), 128u);
  EXPECT_THAT(MessageOf(ReadSkipEntropyQuery("minentropy=none")), HasSubstr("minentropy"));
  EXPECT_THAT(MessageOf(ReadSkipEntropyQuery("minentropy=8&minentropy=8")), HasSubstr("twice"));
}

TEST(SkipKeyIdTest, ReadsHexOfEitherCaseAndWritesLowerCase) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    KeyId id;
    for (uint8_t& byte : id) byte = static_cast<uint8_t>(random());
    const std::string text = FormatSkipKeyId(id);
    EXPECT_EQ(text.size(), kSkipKeyIdTextSize);
    EXPECT_EQ(text, absl::AsciiStrToLower(text));
    std::string mixed = text;
    for (char& c : mixed) {
      if (random() % 2 == 0) c = absl::ascii_toupper(static_cast<unsigned char>(c));
    }
    EXPECT_EQ(std::get<std::optional<KeyId>>(ReadSkipKeyId(mixed)), id);
  }
}

TEST(SkipKeyIdTest, HexOfAnotherLengthIsNobodysKey) {
  for (const size_t digits : {1, 31, 33, 48, 64, 1000}) {
    const auto read = ReadSkipKeyId(std::string(digits, 'a'));
    ASSERT_TRUE(std::holds_alternative<std::optional<KeyId>>(read)) << digits;
    EXPECT_FALSE(std::get<std::optional<KeyId>>(read).has_value()) << digits;
  }
}

TEST(SkipKeyIdTest, RefusesWhatIsNoHex) {
  for (const char* text : {"", "g", "00112233-4455-6677-8899-aabbccddeeff", "0x12", " 12", "%"}) {
    EXPECT_EQ(MessageOf(ReadSkipKeyId(text)), "a keyId shall be hex digits") << text;
  }
}

}  // namespace
}  // namespace keyhop
