#include "kms/crypto/aead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "kms/crypto/os_entropy.h"
#include "kms/crypto/sha256.h"

namespace keyhop {
namespace {

class FixedNonce : public EntropySource {
 public:
  explicit FixedNonce(absl::string_view hex) : bytes_(absl::HexStringToBytes(hex)) {}
  void Fill(std::span<uint8_t> out) override {
    ASSERT_EQ(out.size(), bytes_.size());
    std::copy(bytes_.begin(), bytes_.end(), out.begin());
  }

 private:
  std::string bytes_;
};

SecretBytes Secret(absl::string_view hex) {
  const std::string raw = absl::HexStringToBytes(hex);
  return SecretBytes::CopyOf({reinterpret_cast<const uint8_t*>(raw.data()), raw.size()});
}

// The GCM specification's (McGrew and Viega, given to NIST) test cases 13, 14 and 16.
TEST(AeadTest, MatchesNistVectors) {
  const std::string zeros(64, '0');
  FixedNonce zero_nonce("000000000000000000000000");
  EXPECT_EQ(absl::BytesToHexString(AeadSeal(Secret(zeros), "", Secret(""), zero_nonce)),
            "000000000000000000000000530f8afbc74536b9a963b4f1c4cb738b");
  EXPECT_EQ(
      absl::BytesToHexString(
          AeadSeal(Secret(zeros), "", Secret("00000000000000000000000000000000"), zero_nonce)),
      "000000000000000000000000cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
  FixedNonce nonce("cafebabefacedbaddecaf888");
  const SecretBytes key =
      Secret("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
  const std::string ad = absl::HexStringToBytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const SecretBytes plain = Secret(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e"
      "2449a6b525b16aedf5aa0de657ba637b39");
  const std::string sealed = AeadSeal(key, ad, plain, nonce);
  EXPECT_EQ(
      absl::BytesToHexString(sealed),
      "cafebabefacedbaddecaf888"
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
      "56828838c5f61e6393ba7a0abcc9f662"
      "76fc6ece0f4e1768cddf8853bb2d551b");
  const absl::StatusOr<SecretBytes> opened = AeadOpen(key, ad, sealed);
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(opened->EqualsConstantTime(plain));
}

TEST(AeadTest, RefusesAnyChangedBitAndAnyCut) {
  OsEntropy entropy;
  SecretBytes key(kAeadKeyBytes);
  entropy.Fill(key.ExposeMutable(SecretAccess::ForTest()));
  const std::string sealed = AeadSeal(key, "place", Secret("00112233"), entropy);
  ASSERT_TRUE(AeadOpen(key, "place", sealed).ok());
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::string changed = sealed;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(AeadOpen(key, "place", changed).status().code(), absl::StatusCode::kDataLoss);
  }
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(AeadOpen(key, "place", sealed.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(AeadOpen(key, "another place", sealed).ok());
  SecretBytes other(kAeadKeyBytes);
  EXPECT_FALSE(AeadOpen(other, "place", sealed).ok());
}

TEST(AeadTest, TakesAFreshNonceEachTime) {
  OsEntropy entropy;
  const SecretBytes key(kAeadKeyBytes);
  std::set<std::string> nonces;
  for (int i = 0; i < 1000; ++i) {
    nonces.insert(AeadSeal(key, "", SecretBytes(), entropy).substr(0, kAeadNonceBytes));
  }
  EXPECT_EQ(nonces.size(), 1000u);
}

TEST(Sha256Test, MatchesFips180) {
  const std::string abc = "abc";
  const auto digest = Sha256({reinterpret_cast<const uint8_t*>(abc.data()), abc.size()});
  EXPECT_EQ(absl::BytesToHexString(
                absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size())),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace keyhop
