#include "kms/ak/admission.h"

#include <gtest/gtest.h>

namespace keyhop {
namespace {

Instant At(int64_t ms) { return Instant{} + Duration::Millis(ms); }

TEST(AdmissionTest, HoldsEachLimitAndNamesIt) {
  Admission all({.connections_max = 3, .address_connections_max = 2, .caller_connections_max = 1});
  EXPECT_EQ(all.Enter("1.1.1.1", "alice"), std::nullopt);
  EXPECT_EQ(all.Enter("2.2.2.2", "alice"), "too many connections of this SAE; retry");
  EXPECT_EQ(all.Enter("1.1.1.1", "bob"), std::nullopt);
  EXPECT_EQ(all.Enter("1.1.1.1", "carol"), "too many connections from this address; retry");
  EXPECT_EQ(all.Enter("2.2.2.2", "carol"), std::nullopt);
  EXPECT_EQ(all.Enter("3.3.3.3", "dave"), "too many connections at this KME; retry");
  all.Leave(At(0), "1.1.1.1", "alice");
  EXPECT_EQ(all.Enter("3.3.3.3", "alice"), std::nullopt);
}

TEST(AdmissionTest, WhatWasRefusedIsNotCounted) {
  Admission one({.caller_connections_max = 1});
  EXPECT_EQ(one.Enter("a", "alice"), std::nullopt);
  EXPECT_NE(one.Enter("a", "alice"), std::nullopt);
  one.Leave(At(0), "a", "alice");
  EXPECT_EQ(one.Enter("a", "alice"), std::nullopt);
}

TEST(AdmissionTest, WithoutARateEveryRequestPasses) {
  Admission any({});
  any.Enter("a", "alice");
  for (int i = 0; i < 10'000; ++i) EXPECT_EQ(any.Request(At(0), "alice"), std::nullopt);
}

TEST(AdmissionTest, RequestsComeAtTheRateAfterABurstWhateverTheConnection) {
  Admission rate({.requests_per_second = 10, .requests_burst = 3});
  rate.Enter("a", "alice");
  rate.Enter("a", "bob");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rate.Request(At(0), "alice"), std::nullopt);
  EXPECT_EQ(rate.Request(At(0), "alice"), Duration::Millis(100));
  EXPECT_EQ(rate.Request(At(0), "bob"), std::nullopt) << "one's excess is not the other's";
  EXPECT_EQ(rate.Request(At(60), "alice"), Duration::Millis(40));
  // A new connection brings no new allowance.
  rate.Leave(At(60), "a", "alice");
  rate.Enter("a", "alice");
  EXPECT_EQ(rate.Request(At(60), "alice"), Duration::Millis(40));
  EXPECT_EQ(rate.Request(At(100), "alice"), std::nullopt);
  EXPECT_NE(rate.Request(At(100), "alice"), std::nullopt);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rate.Request(At(9000), "alice"), std::nullopt);
  EXPECT_NE(rate.Request(At(9000), "alice"), std::nullopt);
}

}  // namespace
}  // namespace keyhop
