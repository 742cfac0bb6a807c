#include "kms/ks004/sae_uri.h"

#include <gtest/gtest.h>

#include <string>

namespace keyhop {
namespace {

TEST(SaeUriTest, ReadsTheFormsThatNameAnSae) {
  EXPECT_EQ(SaeOfUri("sae-1"), SaeId("sae-1"));
  EXPECT_EQ(SaeOfUri("keyhop://sae/sae%201%2F2"), SaeId("sae 1/2"));
  EXPECT_EQ(SaeOfUri("server://sae-1:25575"), SaeId("sae-1"));
  EXPECT_EQ(SaeOfUri("qkd://sae-1/app?x#y"), SaeId("sae-1"));
  EXPECT_EQ(SaeOfUri("\xc3\xa9"), SaeId("\xc3\xa9"));
}

TEST(SaeUriTest, RefusesWhatNamesNobody) {
  for (const char* uri : {"", "server://", "server://:25575", "://sae-1", "keyhop://sae/",
                          "keyhop://sae/%zz", "a\nb", "\xff"}) {
    EXPECT_EQ(SaeOfUri(uri), std::nullopt) << uri;
  }
  EXPECT_EQ(SaeOfUri(std::string(301, 'x')), std::nullopt);
  EXPECT_NE(SaeOfUri(std::string(300, 'x')), std::nullopt);
}

}  // namespace
}  // namespace keyhop
