#include "kms/core/keystream/admission.h"

#include <gtest/gtest.h>

namespace keyhop {
namespace {

constexpr uint64_t kPlenty = 1'000'000'000;

TEST(AdmissionTest, GrantsTheDefaultsWhereNothingIsWished) {
  const Admission got = Admit({}, {}, kPlenty);
  EXPECT_TRUE(got.met);
  EXPECT_EQ(got.granted.chunk_bytes, 32u);
  EXPECT_EQ(got.granted.max_bps, 100'000'000u);
  EXPECT_EQ(got.granted.min_bps, 0u);
  EXPECT_EQ(got.granted.timeout_ms, 2000u);
  EXPECT_EQ(got.granted.ttl_s, 300u);
  EXPECT_EQ(got.granted.metadata_mimetype, "");
}

TEST(AdmissionTest, GrantsWhatIsInRangeAsItWasAsked) {
  const KeystreamQos asked{.chunk_bytes = 64,
                           .max_bps = 4096,
                           .min_bps = 1024,
                           .jitter_bps = 512,
                           .priority = 3,
                           .timeout_ms = 700,
                           .ttl_s = 20,
                           .metadata_mimetype = kMetadataJson};
  const Admission got = Admit(asked, {}, 1024);
  EXPECT_TRUE(got.met);
  EXPECT_EQ(got.granted, asked);
}

TEST(AdmissionTest, OffersTheRateThatIsLeftInsteadOfAHigherMinimum) {
  const Admission got = Admit({.min_bps = 1025}, {}, 1024);
  EXPECT_FALSE(got.met);
  EXPECT_EQ(got.granted.min_bps, 1024u);
}

TEST(AdmissionTest, OffersTheMostInsteadOfWhatIsOutOfRange) {
  const KeystreamConfig config;
  EXPECT_FALSE(Admit({.chunk_bytes = config.chunk_bytes_max + 1}, config, kPlenty).met);
  EXPECT_EQ(Admit({.chunk_bytes = UINT32_MAX}, config, kPlenty).granted.chunk_bytes,
            config.chunk_bytes_max);
  EXPECT_FALSE(Admit({.timeout_ms = 30'001}, config, kPlenty).met);
  EXPECT_FALSE(Admit({.ttl_s = 3601}, config, kPlenty).met);
  EXPECT_EQ(Admit({.ttl_s = 3601}, config, kPlenty).granted.ttl_s, 3600u);
  const Admission text = Admit({.metadata_mimetype = "text/plain"}, config, kPlenty);
  EXPECT_FALSE(text.met);
  EXPECT_EQ(text.granted.metadata_mimetype, kMetadataJson);
}

TEST(AdmissionTest, HoldsToWhatIsConfigured) {
  const KeystreamConfig config{.chunk_bytes_default = 48,
                               .chunk_bytes_max = 96,
                               .max_bps_max = 9000,
                               .priority_max = 2,
                               .timeout_default = Duration::Millis(1500),
                               .timeout_max = Duration::Seconds(4),
                               .ttl_default = Duration::Seconds(40),
                               .ttl_max = Duration::Seconds(80)};
  EXPECT_EQ(Admit({}, config, kPlenty).granted,
            (KeystreamQos{.chunk_bytes = 48, .max_bps = 9000, .timeout_ms = 1500, .ttl_s = 40}));
  const KeystreamQos most{
      .chunk_bytes = 96, .max_bps = 9000, .priority = 2, .timeout_ms = 4000, .ttl_s = 80};
  EXPECT_TRUE(Admit(most, config, kPlenty).met);
  EXPECT_EQ(Admit(most, config, kPlenty).granted, most);
  const KeystreamQos more{
      .chunk_bytes = 97, .max_bps = 9001, .priority = 3, .timeout_ms = 4001, .ttl_s = 81};
  EXPECT_EQ(Admit(more, config, kPlenty).granted, most);
  EXPECT_FALSE(Admit({.chunk_bytes = 97}, config, kPlenty).met);
  EXPECT_FALSE(Admit({.timeout_ms = 4001}, config, kPlenty).met);
  EXPECT_FALSE(Admit({.ttl_s = 81}, config, kPlenty).met);
}

TEST(AdmissionTest, RefusesAMinimumAboveTheMaximum) {
  const Admission got = Admit({.max_bps = 100, .min_bps = 200}, {}, kPlenty);
  EXPECT_FALSE(got.met);
  EXPECT_EQ(got.granted.min_bps, 100u);
}

TEST(AdmissionTest, LowersWishesWithoutAWord) {
  const Admission got =
      Admit({.max_bps = UINT32_MAX, .jitter_bps = UINT32_MAX, .priority = 1000}, {}, kPlenty);
  EXPECT_TRUE(got.met);
  EXPECT_EQ(got.granted.max_bps, 100'000'000u);
  EXPECT_EQ(got.granted.jitter_bps, 100'000'000u);
  EXPECT_EQ(got.granted.priority, 7u);
}

TEST(AdmissionTest, GrantsWhatItOffered) {
  const KeystreamQos wild{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX,
                          UINT32_MAX, UINT32_MAX, UINT32_MAX, "x/y"};
  const Admission first = Admit(wild, {}, 5000);
  const Admission second = Admit(first.granted, {}, 5000);
  EXPECT_FALSE(first.met);
  EXPECT_TRUE(second.met);
  EXPECT_EQ(second.granted, first.granted);
}

}  // namespace
}  // namespace keyhop
