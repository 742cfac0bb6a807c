#include "kms/core/stream/key_id.h"

#include <set>

#include "gtest/gtest.h"
#include "kms/core/uuid.h"
#include "tests/kms/core/stream/stream_world.h"

namespace keyhop {
namespace {

SecretBytes IdKey(uint8_t fill) {
  SecretBytes key(32);
  for (uint8_t& b : key.ExposeMutable(SecretAccess::ForTest())) b = fill++;
  return key;
}

KeyIdBinding Binding() { return {{NodeId("a"), NodeId("b")}, 7, SaeId("master"), SaeId("slave")}; }

TEST(KeyIdTest, ComesBackWithItsLocation) {
  const SecretBytes key = IdKey(1);
  TestRandom random(1);
  for (int i = 0; i < 2000; ++i) {
    const KeyLocation at{random.Below(uint64_t{1} << 44),
                         1 + static_cast<uint32_t>(random.Below(4095)),
                         static_cast<uint32_t>(random.Below(1u << 18))};
    const KeyId id = MakeKeyId(key, Binding(), at);
    EXPECT_EQ(PeekLocation(key, id), at);
    EXPECT_TRUE(VerifyKeyId(key, Binding(), at, id));
  }
}

// Computed apart from this code, bit by bit, from DESIGN §6: key_IDs outlive versions of the
// program.
TEST(KeyIdTest, KeepsItsFormat) {
  const KeyIdBinding first{{NodeId("a"), NodeId("b")}, 3, SaeId("alice"), SaeId("bob")};
  const KeyIdBinding second{{NodeId("a"), NodeId("b")}, 1, SaeId("alice"), SaeId("bob")};
  EXPECT_EQ(FormatUuid(MakeKeyId(IdKey(0), first, {0x123456789a8, 32, 77})),
            "538b6cf4-bbad-4ca0-b6b0-2d75029451e9");
  EXPECT_EQ(
      FormatUuid(MakeKeyId(IdKey(0), second, {(uint64_t{1} << 44) - 4, 4095, (1u << 18) - 1})),
      "84b44ae2-f88d-448d-9eef-c7a52c869e71");
}

TEST(KeyIdTest, IsAVersion4Uuid) {
  const KeyId id = MakeKeyId(IdKey(1), Binding(), {4, 32, 5});
  EXPECT_EQ(id[6] >> 4, 4);
  EXPECT_EQ(id[8] >> 6, 2);
}

// ETSI GS QKD 014 V1.1.1 Table 11.
TEST(KeyIdTest, AMillionAreUnique) {
  const SecretBytes key = IdKey(1);
  std::set<KeyId> seen;
  constexpr uint64_t kCount = 1'000'000;
  for (uint64_t i = 0; i < kCount; ++i) {
    seen.insert(MakeKeyId(key, Binding(), {i * 32, 32, static_cast<uint32_t>(i % 1000)}));
  }
  EXPECT_EQ(seen.size(), kCount);
}

TEST(KeyIdTest, EveryChangedBitIsRefused) {
  const SecretBytes key = IdKey(1);
  const KeyId id = MakeKeyId(key, Binding(), {1024, 32, 5});
  for (int bit = 0; bit < 128; ++bit) {
    KeyId changed = id;
    changed[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_FALSE(VerifyKeyId(key, Binding(), PeekLocation(key, changed), changed)) << bit;
  }
}

TEST(KeyIdTest, BelongsToItsBindingAlone) {
  const SecretBytes key = IdKey(1);
  const KeyLocation at{1024, 32, 5};
  const KeyId id = MakeKeyId(key, Binding(), at);
  KeyIdBinding other = Binding();
  other.master = SaeId("someone");
  EXPECT_FALSE(VerifyKeyId(key, other, at, id));
  other = Binding();
  other.slave = SaeId("someone");
  EXPECT_FALSE(VerifyKeyId(key, other, at, id));
  other = Binding();
  other.epoch = 8;
  EXPECT_FALSE(VerifyKeyId(key, other, at, id));
  other = Binding();
  std::swap(other.stream.source, other.stream.destination);
  EXPECT_FALSE(VerifyKeyId(key, other, at, id));
  EXPECT_FALSE(VerifyKeyId(IdKey(2), Binding(), at, id));
}

TEST(KeyIdTest, NeighbouringLocationsLookUnrelated) {
  const SecretBytes key = IdKey(1);
  std::set<KeyId> ids;
  std::set<uint8_t> first;
  for (uint64_t i = 0; i < 1000; ++i) {
    const KeyId id = MakeKeyId(key, Binding(), {i * 32, 32, 5});
    ids.insert(id);
    first.insert(id[0]);
  }
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_GT(first.size(), 200u);
}

}  // namespace
}  // namespace keyhop
