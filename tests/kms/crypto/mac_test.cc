#include "kms/crypto/mac.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"

namespace keyhop {
namespace {

std::vector<uint8_t> Bytes(absl::string_view hex) {
  const std::string raw = absl::HexStringToBytes(hex);
  return {raw.begin(), raw.end()};
}
template <typename T>
std::string Hex(const T& tag) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(tag.data()), tag.size()));
}
std::vector<uint8_t> Text(absl::string_view s) { return {s.begin(), s.end()}; }

// RFC 8439 §2.5.2.
const char kR[] = "85d6be7857556d337f4452fe42d506a8";
const char kS[] = "0103808afb0db2fd4abff6af4149f51b";
const char kMessage[] = "Cryptographic Forum Research Group";
const char kTag[] = "a8061dc1305136c6c22b8baf0c0127a9";

TEST(OneTimeTagTest, MatchesRfc8439) {
  EXPECT_EQ(Hex(OneTimeTag(Bytes(kR), Bytes(kS), Text(kMessage))), kTag);
}

TEST(OneTimeTagTest, HashesBothPartsAsOneMessage) {
  const std::string m = kMessage;
  for (size_t cut = 0; cut <= m.size(); ++cut) {
    EXPECT_EQ(Hex(OneTimeTag(Bytes(kR), Bytes(kS), Text(m.substr(0, cut)), Text(m.substr(cut)))),
              kTag);
  }
}

TEST(OneTimeTagTest, IsSForAnEmptyMessage) {
  EXPECT_EQ(Hex(OneTimeTag(Bytes(kR), Bytes(kS), {})), kS);
}

TEST(OneTimeTagTest, KeepsNothingOfTheCallBefore) {
  const Tag first = OneTimeTag(Bytes(kR), Bytes(kS), Text("one"));
  OneTimeTag(Bytes(kS), Bytes(kR), Text("another"));
  EXPECT_EQ(OneTimeTag(Bytes(kR), Bytes(kS), Text("one")), first);
  Tag elsewhere;
  std::thread([&] { elsewhere = OneTimeTag(Bytes(kR), Bytes(kS), Text("one")); }).join();
  EXPECT_EQ(elsewhere, first);
}

TEST(OneTimeTagDeathTest, RefusesAKeyOfAnotherSize) {
  EXPECT_DEATH(OneTimeTag(Bytes("00"), Bytes(kS), {}), "one-time key");
}

struct HmacCase {
  std::string key_hex, data_hex, tag_hex;
};

TEST(HmacSha256Test, MatchesRfc4231) {
  std::string aa20, dd50, aa131, cd50;
  for (int i = 0; i < 20; ++i) aa20 += "aa";
  for (int i = 0; i < 131; ++i) aa131 += "aa";
  for (int i = 0; i < 50; ++i) dd50 += "dd", cd50 += "cd";
  const HmacCase cases[] = {
      {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", absl::BytesToHexString("Hi There"),
       "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {absl::BytesToHexString("Jefe"), absl::BytesToHexString("what do ya want for nothing?"),
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {aa20, dd50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {"0102030405060708090a0b0c0d0e0f10111213141516171819", cd50,
       "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
      {aa131, absl::BytesToHexString("Test Using Larger Than Block-Size Key - Hash Key First"),
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
  };
  for (const HmacCase& c : cases) {
    EXPECT_EQ(Hex(HmacSha256(SecretBytes::CopyOf(Bytes(c.key_hex)), Bytes(c.data_hex))), c.tag_hex);
  }
}

TEST(HmacSha256Test, TakesAnEmptyKeyAsSuchAndNotAsTheOneBefore) {
  HmacSha256(SecretBytes::CopyOf(Text("before")), Text("x"));
  EXPECT_EQ(Hex(HmacSha256(SecretBytes(), {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

}  // namespace
}  // namespace keyhop
