#include "kms/config/scalars.h"

#include <string>

#include "gtest/gtest.h"

namespace keyhop {
namespace {

TEST(ScalarsTest, ReadsSizesInBytes) {
  EXPECT_EQ(ParseSizeBytes("4096"), 4096u);
  EXPECT_EQ(ParseSizeBytes("4KiB"), 4096u);
  EXPECT_EQ(ParseSizeBytes("64MiB"), 64u << 20);
  EXPECT_EQ(ParseSizeBytes("2GiB"), uint64_t{2} << 30);
}

TEST(ScalarsTest, RefusesWhatIsNoSize) {
  for (const char* text : {"", "KiB", "-1", "+1", " 1", "1 ", "1.5KiB", "4KB", "4k", "0x10",
                           "18446744073709551616", "18446744073709551615KiB"}) {
    EXPECT_FALSE(ParseSizeBytes(text)) << text;
  }
}

TEST(ScalarsTest, ReadsDurations) {
  EXPECT_EQ(ParseDuration("500ms"), Duration::Millis(500));
  EXPECT_EQ(ParseDuration("10us"), Duration::Micros(10));
  EXPECT_EQ(ParseDuration("10s"), Duration::Seconds(10));
  EXPECT_EQ(ParseDuration("5m"), Duration::Seconds(300));
  EXPECT_EQ(ParseDuration("24h"), Duration::Seconds(86400));
  EXPECT_EQ(ParseDuration("0s"), Duration{});
}

TEST(ScalarsTest, RefusesWhatIsNoDuration) {
  for (const char* text :
       {"", "10", "s", "1.5s", "-1s", "10 s", "10S", "1d", "99999999h", "99999999999999999999s"}) {
    EXPECT_FALSE(ParseDuration(text)) << text;
  }
}

TEST(ScalarsTest, ReadsHostAndPort) {
  EXPECT_EQ(ParseHostPort("127.0.0.1:7000")->host, "127.0.0.1");
  EXPECT_EQ(ParseHostPort("[::1]:7000")->host, "::1");
  EXPECT_EQ(ParseHostPort("kme-1.example:65535")->port, 65535);
}

TEST(ScalarsTest, RefusesWhatIsNoHostAndPort) {
  for (const char* text : {"", ":7000", "localhost", "localhost:", "localhost:65536", "::1:7000",
                           "[::1:7000", "a b:1", "a/b:1", "localhost:-1"}) {
    EXPECT_FALSE(ParseHostPort(text)) << text;
  }
}

TEST(ScalarsTest, KnowsIds) {
  EXPECT_TRUE(IsId("node-1"));
  EXPECT_TRUE(IsId(std::string(64, 'x')));
  EXPECT_FALSE(IsId(std::string(65, 'x')));
  EXPECT_FALSE(IsId(""));
  EXPECT_FALSE(IsId("node 1"));
  EXPECT_FALSE(IsId("n\xc3\xb6"));
}

TEST(ScalarsTest, KnowsSaeIds) {
  for (const char* text : {"1", "sae 1", "a/b", "50%", "K\xc3\xb6ln", "\xf0\x9f\x94\x91"}) {
    EXPECT_TRUE(IsSaeId(text)) << text;
  }
  EXPECT_TRUE(IsSaeId(std::string(300, 'x')));
  EXPECT_FALSE(IsSaeId(std::string(301, 'x')));
}

TEST(ScalarsTest, RefusesMalformedUtf8InSaeIds) {
  for (const char* text : {"", "a\n", "\x80", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\x7f"}) {
    EXPECT_FALSE(IsSaeId(text)) << text;
  }
}

}  // namespace
}  // namespace keyhop
