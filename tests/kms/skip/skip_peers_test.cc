#include "kms/skip/skip_peers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "kms/base/glob.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;

const SaeId kAlice("alice");
const SaeId kAnn("ann");

SkipPeers Peers(std::vector<std::string> advertised = {}) {
  return SkipPeers({{.sae = kAlice, .psk_identity = "router-a", .local_system_id = "KP_A"},
                    {.sae = kAnn, .local_system_id = "KP_A2"}},
                   {{.system_id = "KP_B", .sae = SaeId("bob")},
                    {.system_id = "KP_[CD]?_*", .sae = SaeId("carol"), .encryptors = {kAlice}},
                    {.system_id = "KP_*", .sae = SaeId("dave"), .encryptors = {kAnn}},
                    {.system_id = "KP_A*", .sae = kAlice}},
                   std::move(advertised));
}

TEST(SkipPeersTest, KnowsEncryptorsBySaeAndByPskIdentity) {
  const SkipPeers peers = Peers();
  EXPECT_EQ(peers.Find(kAlice)->local_system_id, "KP_A");
  EXPECT_EQ(peers.Find(SaeId("bob")), nullptr);
  EXPECT_EQ(peers.SaeOfPsk("router-a"), kAlice);
  EXPECT_EQ(peers.SaeOfPsk(""), std::nullopt);
  EXPECT_EQ(peers.SaeOfPsk("alice"), std::nullopt);
}

TEST(SkipPeersTest, ResolvesASystemForWhoMayUseIt) {
  const SkipPeers peers = Peers();
  EXPECT_EQ(peers.Resolve(kAlice, "KP_B"), SaeId("bob"));
  EXPECT_EQ(peers.Resolve(kAnn, "KP_B"), SaeId("bob"));
  EXPECT_EQ(peers.Resolve(kAlice, "KP_C1_LOC1"), SaeId("carol"));
  EXPECT_EQ(peers.Resolve(kAlice, "KP_E1_LOC1"), std::nullopt);
  EXPECT_EQ(peers.Resolve(kAnn, "KP_C1_LOC1"), SaeId("dave"));
  EXPECT_EQ(peers.Resolve(kAlice, "KP_"), std::nullopt);
  EXPECT_EQ(peers.Resolve(kAnn, "KP_" + std::string(61, 'x')), SaeId("dave"));
  EXPECT_EQ(peers.Resolve(kAnn, "KP_" + std::string(62, 'x')), std::nullopt);
  EXPECT_EQ(peers.Resolve(kAlice, std::string("KP_B\0x", 6)), std::nullopt);
}

TEST(SkipPeersTest, NobodySharesKeysWithItself) {
  const SkipPeers peers = Peers();
  EXPECT_EQ(peers.Resolve(kAlice, "KP_A"), std::nullopt);
  EXPECT_THAT(peers.PartnersOf(kAlice), ElementsAre(SaeId("bob"), SaeId("carol")));
}

TEST(SkipPeersTest, TellsEachWhatItMayUse) {
  EXPECT_THAT(Peers().AdvertisedTo(kAlice), ElementsAre("KP_B", "KP_[CD]?_*"));
  EXPECT_THAT(Peers().AdvertisedTo(kAnn), ElementsAre("KP_B", "KP_*", "KP_A*"));
  EXPECT_THAT(Peers({"KP_*", "X"}).AdvertisedTo(kAlice), ElementsAre("KP_*", "X"));
}

// The draft's globs, the plain way: what is left of both texts.
bool Matches(const std::string& glob, const std::string& text) {
  if (glob.empty()) return text.empty();
  if (glob[0] == '*') {
    return Matches(glob.substr(1), text) || (!text.empty() && Matches(glob, text.substr(1)));
  }
  if (text.empty()) return false;
  if (glob[0] == '[') {
    const bool negated = glob.size() > 1 && glob[1] == '!';
    const size_t begin = negated ? 2 : 1;
    const size_t end = glob.find(']', begin + 1);  // A ']' in the first place is one of the list.
    if (end != std::string::npos) {
      const bool listed = glob.substr(begin, end - begin).find(text[0]) != std::string::npos;
      return listed != negated && Matches(glob.substr(end + 1), text.substr(1));
    }
  }
  return (glob[0] == '?' || glob[0] == text[0]) && Matches(glob.substr(1), text.substr(1));
}

TEST(GlobTest, MatchesAsTheDraftSays) {
  EXPECT_TRUE(GlobMatches("KP_*_LOC1", "KP_B_LOC1"));
  EXPECT_FALSE(GlobMatches("KP_*_LOC1", "KP_B_LOC12"));
  EXPECT_TRUE(GlobMatches("KP_[!BC]", "KP_A"));
  EXPECT_FALSE(GlobMatches("KP_[!BC]", "KP_B"));
  EXPECT_TRUE(GlobMatches("KP/*", "KP/.a/b"));
  EXPECT_TRUE(GlobMatches("a\\b", "a\\b"));
  EXPECT_TRUE(GlobMatches("a[b", "a[b"));
  EXPECT_FALSE(GlobMatches("a", std::string("a\0b", 3)));
}

TEST(GlobTest, AgreesWithThePlainWay) {
  std::mt19937_64 random(2);
  const auto text_of = [&random](const std::string& letters, size_t longest) {
    std::string text;
    for (size_t n = random() % (longest + 1); n > 0; --n)
      text += letters[random() % letters.size()];
    return text;
  };
  int matched = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::string glob = text_of("ab*?[]!", 6);
    const std::string text = text_of("ab!]", 5);
    EXPECT_EQ(GlobMatches(glob, text), Matches(glob, text)) << glob << " of " << text;
    matched += Matches(glob, text) ? 1 : 0;
  }
  EXPECT_GT(matched, 1000);
}

}  // namespace
}  // namespace keyhop
