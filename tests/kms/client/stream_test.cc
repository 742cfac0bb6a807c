#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "kms/client/client.h"
#include "tests/kms/client/client_fixture.h"

namespace keyhop {
namespace {

using ::testing::SizeIs;

class StreamTest : public ClientFixture {};

TEST_F(StreamTest, GivesKeyAfterKeyAndDrawsLittleAhead) {
  ServeReal();
  const std::unique_ptr<Client> client = Connect();
  const std::unique_ptr<KeyStream> stream =
      client->Stream(SaeId("bob"), {.size_bits = 128, .container_keys = 4, .ahead_keys = 8});
  std::set<KeyId> seen;
  for (int i = 0; i < 20; ++i) {
    const auto keys = stream->Next();
    ASSERT_TRUE(keys.ok()) << keys.status();
    EXPECT_LE(keys->keys.size(), 4u);
    for (const DeliveredKey& key : keys->keys) {
      EXPECT_TRUE(seen.insert(key.id).second);
      EXPECT_EQ(key.key.size(), 16u);
    }
    EXPECT_LE(port_.keys_drawn(), seen.size() + 8);
  }
  const auto fetched = Connect("bob")->Fetch(SaeId("alice"), {*seen.begin()});
  EXPECT_TRUE(fetched.ok()) << fetched.status();
}

TEST_F(StreamTest, OutlivesItsClient) {
  ServeReal();
  const std::unique_ptr<KeyStream> stream = Connect()->Stream(SaeId("bob"));
  EXPECT_TRUE(stream->Next().ok());
}

TEST_F(StreamTest, OpensAgainWhenTheNodeSaidNotNow) {
  ScriptedNode& node = ServeScript({End::kNotNow, End::kNotNow});
  const std::unique_ptr<KeyStream> stream = Connect()->Stream(SaeId("bob"));
  const auto keys = stream->Next();
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_THAT(keys->keys, SizeIs(1));
  EXPECT_EQ(node.calls(), 3);
}

TEST_F(StreamTest, IsOverWhenTheConnectionBreaks) {
  ScriptedNode& node = ServeScript({End::kBreak});
  const std::unique_ptr<KeyStream> stream = Connect()->Stream(SaeId("bob"));
  EXPECT_TRUE(stream->Next().ok()) << "what came before is good";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(KindOf(stream->Next().status()), FailureKind::kLost);
  }
  EXPECT_EQ(node.calls(), 1);
  EXPECT_EQ(node.drawn(), 1);
}

TEST_F(StreamTest, TellsARefusal) {
  ScriptedNode& node = ServeScript({End::kRefuse});
  const std::unique_ptr<KeyStream> stream = Connect()->Stream(SaeId("bob"));
  const auto refused = stream->Next();
  EXPECT_EQ(KindOf(refused.status()), FailureKind::kRefused);
  EXPECT_EQ(refused.status().message(), "never");
  EXPECT_EQ(node.calls(), 1);
}

TEST_F(StreamTest, DoesNotWaitForEver) {
  ScriptedNode& node = ServeScript({End::kAnswer, End::kSilent});
  const std::unique_ptr<Client> impatient = Connect("alice", Duration::Millis(1500));
  ASSERT_TRUE(impatient->Status(SaeId("bob")).ok());
  const auto late = impatient->Stream(SaeId("bob"))->Next();
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(KindOf(late.status()), FailureKind::kLost);
  EXPECT_EQ(node.calls(), 2);
}

TEST_F(StreamTest, SaysWhenNobodyListens) {
  ServeScript({});
  const std::unique_ptr<Client> client = Connect();
  Stop();
  EXPECT_EQ(KindOf(client->Stream(SaeId("bob"))->Next().status()), FailureKind::kNoConnection);
}

}  // namespace
}  // namespace keyhop
