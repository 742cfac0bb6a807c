#include "kms/core/uuid.h"

#include <gtest/gtest.h>

namespace keyhop {
namespace {

constexpr char kText[] = "01234567-89ab-4cde-8f01-23456789abcd";
constexpr KeyId kId = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4c, 0xde,
                       0x8f, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd};

TEST(UuidTest, ReadsWhatItWrites) {
  EXPECT_EQ(FormatUuid(kId), kText);
  EXPECT_EQ(ParseUuid(kText), kId);
}

TEST(UuidTest, ReadsUpperCase) {
  EXPECT_EQ(ParseUuid("01234567-89AB-4CDE-8F01-23456789ABCD"), kId);
}

TEST(UuidTest, RefusesEveryOtherForm) {
  for (const char* text :
       {"", "0", "0123456789ab4cde8f0123456789abcd", "{01234567-89ab-4cde-8f01-23456789abcd}",
        "urn:uuid:01234567-89ab-4cde-8f01-23456789abcd", " 01234567-89ab-4cde-8f01-23456789abc",
        "01234567-89ab-4cde-8f01-23456789abcd ", "01234567-89ab-4cde-8f01-23456789abc",
        "01234567-89ab-4cde-8f0-123456789abcd", "0123456--89ab-4cde-8f01-23456789abcd",
        "01234567-89ab-4cde-8f01-23456789abcg", "01234567_89ab_4cde_8f01_23456789abcd"}) {
    EXPECT_FALSE(ParseUuid(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace keyhop
