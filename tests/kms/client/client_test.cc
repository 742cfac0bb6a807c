#include "kms/client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kms/core/uuid.h"
#include "tests/kms/client/client_fixture.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ClientTest : public ClientFixture {};

TEST_F(ClientTest, FetchesWhatAnotherDrew) {
  ServeReal();
  const auto drawn = Connect()->Draw(SaeId("bob"), {.number = 2, .size_bits = 128});
  ASSERT_TRUE(drawn.ok()) << drawn.status();
  ASSERT_THAT(drawn->keys, SizeIs(2));
  EXPECT_EQ(drawn->keys[0].key.size(), 16u);
  const auto fetched =
      Connect("bob")->Fetch(SaeId("alice"), {drawn->keys[0].id, drawn->keys[1].id});
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(fetched->keys[i].key.EqualsConstantTime(drawn->keys[i].key));
  }
  const auto again = Connect("bob")->Fetch(SaeId("alice"), {drawn->keys[0].id});
  EXPECT_EQ(again.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(KindOf(again.status()), FailureKind::kRefused);
}

TEST_F(ClientTest, TellsTheStatusOfThePair) {
  ServeReal();
  const auto status = Connect()->Status(SaeId("bob"));
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->source_kme, NodeId("kme-a"));
  EXPECT_EQ(status->slave, SaeId("bob"));
  EXPECT_EQ(status->stored_key_count, 200u);
  EXPECT_EQ(status->max_sae_id_count, 2u);
}

TEST_F(ClientTest, SaysAllThatADrawMaySay) {
  ScriptedNode& node = ServeScript({});
  ASSERT_TRUE(Connect()
                  ->Draw(SaeId("bob"), {.number = 3,
                                        .size_bits = 512,
                                        .additional_slaves = {SaeId("carol")},
                                        .extension_mandatory = {{"keyhop_paths", "2"}},
                                        .extension_optional = {{"v_x", "\"y\""}}})
                  .ok());
  const auto said = node.last_draw();
  EXPECT_EQ(said.slave_sae_id(), "bob");
  EXPECT_EQ(said.number(), 3u);
  EXPECT_EQ(said.size(), 512u);
  EXPECT_THAT(said.additional_slave_sae_ids(), ElementsAre("carol"));
  ASSERT_EQ(said.extension_mandatory_size(), 1);
  EXPECT_EQ(said.extension_mandatory(0).name(), "keyhop_paths");
  EXPECT_EQ(said.extension_mandatory(0).value_json(), "2");
  ASSERT_EQ(said.extension_optional_size(), 1);
  EXPECT_EQ(said.extension_optional(0).value_json(), "\"y\"");
  ASSERT_TRUE(Connect()->Draw(SaeId("bob")).ok());
  EXPECT_FALSE(node.last_draw().has_size()) << "the node's default";
}

TEST_F(ClientTest, DrawsAgainWhenTheNodeSaidNotNow) {
  ScriptedNode& node = ServeScript({End::kNotNow, End::kQuota});
  EXPECT_TRUE(Connect()->Draw(SaeId("bob")).ok());
  EXPECT_EQ(node.calls(), 3);
  EXPECT_EQ(node.drawn(), 1);
}

TEST_F(ClientTest, NeverDrawsTwiceWhenTheAnswerWasLost) {
  for (const End end : {End::kBreak, End::kBreakLate}) {
    ScriptedNode& node = ServeScript({end});
    const auto drawn = Connect()->Draw(SaeId("bob"));
    EXPECT_EQ(KindOf(drawn.status()), FailureKind::kLost);
    EXPECT_EQ(node.calls(), 1);
    EXPECT_EQ(node.drawn(), 1);
  }
}

TEST_F(ClientTest, AsksAgainUnderTheSameIdempotencyKey) {
  ScriptedNode& node = ServeScript({End::kBreak, End::kNotNow});
  EXPECT_TRUE(Connect()->Draw(SaeId("bob"), {.idempotency_key = "first"}).ok());
  EXPECT_THAT(node.idempotency_keys(), ElementsAre("first", "first", "first"));
}

TEST_F(ClientTest, FetchesOnceWithoutAKeyAndAgainWithOne) {
  ScriptedNode& node = ServeScript({End::kBreak, End::kBreak});
  const std::unique_ptr<Client> client = Connect();
  EXPECT_EQ(KindOf(client->Fetch(SaeId("bob"), {KeyId{}}).status()), FailureKind::kLost);
  EXPECT_EQ(node.calls(), 1);
  EXPECT_TRUE(client->Fetch(SaeId("bob"), {KeyId{}}, {.idempotency_key = "k"}).ok());
  EXPECT_EQ(node.calls(), 3);
}

TEST_F(ClientTest, ReadsTheStatusAgainWhateverHappened) {
  ScriptedNode& node = ServeScript({End::kBreak, End::kNotNow});
  EXPECT_EQ(Connect()->Status(SaeId("bob"))->key_size_bits, 256u);
  EXPECT_EQ(node.calls(), 3);
}

TEST_F(ClientTest, DoesNotRepeatARefusal) {
  ScriptedNode& node = ServeScript({End::kRefuse});
  const auto refused = Connect()->Draw(SaeId("bob"), {.idempotency_key = "k"});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(KindOf(refused.status()), FailureKind::kRefused);
  EXPECT_EQ(node.calls(), 1);
}

TEST_F(ClientTest, GivesUpAfterSoManyAttemptsAndTellsTheHint) {
  ScriptedNode& node = ServeScript(std::deque<End>(10, End::kNotNow));
  const auto refused = Connect()->Draw(SaeId("bob"));
  EXPECT_EQ(KindOf(refused.status()), FailureKind::kUnavailable);
  EXPECT_EQ(RetryAfter(refused.status()), Duration::Millis(20));
  EXPECT_EQ(node.calls(), 4);
}

TEST_F(ClientTest, DoesNotWaitForAHintThatIsTooFarAway) {
  ServeReal();
  const auto refused = Connect("alice", Duration::Millis(1400))->Draw(SaeId("down"));
  EXPECT_EQ(KindOf(refused.status()), FailureKind::kUnavailable);
  EXPECT_EQ(RetryAfter(refused.status()), Duration::Millis(1500));
}

TEST_F(ClientTest, ComesBackToANodeThatStartsLater) {
  ServeScript({});
  Stop();
  const std::unique_ptr<Client> client = Connect();
  const auto nobody = client->Draw(SaeId("bob"));
  EXPECT_EQ(KindOf(nobody.status()), FailureKind::kNoConnection);
  EXPECT_THAT(std::string(nobody.status().message()), HasSubstr("no connection to 127.0.0.1:"));
  ScriptedNode& node = ServeScript({});
  EXPECT_TRUE(client->Draw(SaeId("bob")).ok());
  EXPECT_EQ(node.drawn(), 1);
}

TEST_F(ClientTest, ABrokenConnectionLosesTheAnswerAndDrawsNoMore) {
  ServeReal();
  const std::unique_ptr<Client> client = Connect();
  absl::Status failure;
  std::thread caller([&] { failure = client->Draw(SaeId("slow")).status(); });
  port_.AwaitSlow();
  // Ends the connections at once; what the handler answers later finds nobody.
  std::thread ender([&] { Stop(); });
  caller.join();
  port_.Release();
  ender.join();
  EXPECT_EQ(KindOf(failure), FailureKind::kLost) << failure;
  EXPECT_LE(port_.keys_drawn(), 1u);
}

TEST_F(ClientTest, SaysWhatIsWrongWithItsSettings) {
  const auto no_file =
      Client::Create({.node = "127.0.0.1:1", .tls = {"/nonexistent.crt", "/nonexistent.key", ""}});
  EXPECT_THAT(std::string(no_file.status().message()), HasSubstr("/nonexistent.crt"));
  const auto no_node = Client::Create({.tls = {"/nonexistent.crt", "/nonexistent.key", ""}});
  EXPECT_THAT(std::string(no_node.status().message()), HasSubstr("HOST:PORT"));
}

TEST(IdempotencyKeyTest, IsAUuidThatNeverComesAgain) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string key = NewIdempotencyKey();
    EXPECT_TRUE(ParseUuid(key).has_value()) << key;
    EXPECT_TRUE(seen.insert(key).second);
  }
}

}  // namespace
}  // namespace keyhop
