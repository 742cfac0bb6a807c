#include "trusted_node/core/link/layout.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace keyhop {
namespace {

std::vector<uint8_t> Bytes(const LinkMessage& m) {
  const ByteWriter writer = LayoutOf(m);
  return {writer.bytes().begin(), writer.bytes().end()};
}

LinkHello Hello() {
  return {.link = LinkId("l"),
          .from = NodeId("a"),
          .own = {1, 2},
          .echo = {3, 4},
          .open = true,
          .books = {{{1, 1}, 5, 6}},
          .version = 7,
          .version_seen = 8};
}
LinkLeaseRequest Request() {
  return {.link = LinkId("l"),
          .session = {{1, 2}, {3, 4}},
          .number = 5,
          .book = {1, 1},
          .blocks = {{0, 4}}};
}
LinkLeaseAnswer Answer() {
  return {.link = LinkId("l"),
          .session = {{1, 2}, {3, 4}},
          .number = 5,
          .book = {1, 1},
          .mark = 4,
          .lacking = {{1, 2}},
          .version = 9};
}
LinkNeed Need() {
  return {.link = LinkId("l"),
          .from = NodeId("a"),
          .session = {{1, 2}, {3, 4}},
          .sequence = 1,
          .wanted_bytes = 10,
          .books = {{{1, 1}, 5, 6}},
          .version = 7};
}

TEST(LinkLayoutTest, EveryFieldButTheMacChangesTheBytes) {
  std::vector<LinkMessage> all = {Hello(), Request(), Answer(), Need()};
  const auto with = [&](auto message, auto change) {
    change(message);
    all.push_back(message);
  };
  with(Hello(), [](auto& m) { m.link = LinkId("m"); });
  with(Hello(), [](auto& m) { m.from = NodeId("b"); });
  with(Hello(), [](auto& m) { m.own.counter = 9; });
  with(Hello(), [](auto& m) { m.own.random = 9; });
  with(Hello(), [](auto& m) { m.echo.random = 9; });
  with(Hello(), [](auto& m) { m.open = false; });
  with(Hello(), [](auto& m) { m.books[0].mark = 9; });
  with(Hello(), [](auto& m) { m.books[0].stock_top = 9; });
  with(Hello(), [](auto& m) { m.books[0].book.run = 9; });
  with(Hello(), [](auto& m) { m.books.clear(); });
  with(Hello(), [](auto& m) { m.version = 9; });
  with(Hello(), [](auto& m) { m.version_seen = 9; });
  with(Request(), [](auto& m) { m.session.first.random = 9; });
  with(Request(), [](auto& m) { m.session.second.random = 9; });
  with(Request(), [](auto& m) { m.direction = Direction::kToAllocator; });
  with(Request(), [](auto& m) { m.number = 9; });
  with(Request(), [](auto& m) { m.book.module_pair = 9; });
  with(Request(), [](auto& m) { m.blocks[0].end = 9; });
  with(Request(), [](auto& m) { m.blocks.push_back({6, 7}); });
  with(Answer(), [](auto& m) { m.refused = true; });
  with(Answer(), [](auto& m) { m.mark = 9; });
  with(Answer(), [](auto& m) { m.lacking.clear(); });
  with(Answer(), [](auto& m) { m.version = 10; });
  with(Answer(), [](auto& m) { m.direction = Direction::kToAllocator; });
  with(Need(), [](auto& m) { m.sequence = 9; });
  with(Need(), [](auto& m) { m.wanted_bytes = 9; });
  with(Need(), [](auto& m) { m.version = 9; });
  std::set<std::vector<uint8_t>> layouts;
  for (const LinkMessage& m : all) EXPECT_TRUE(layouts.insert(Bytes(m)).second);
}

TEST(LinkLayoutTest, TheMacIsOfTheKeyAndOfTheLayout) {
  const SecretBytes key(32);
  LinkMessage m = Hello();
  EXPECT_FALSE(MacHolds(key, m));
  SetMac(HmacSha256(key, LayoutOf(m).bytes()), m);
  EXPECT_TRUE(MacHolds(key, m));
  const std::vector<uint8_t> other(32, 1);
  EXPECT_FALSE(MacHolds(SecretBytes::CopyOf(other), m));
  std::get<LinkHello>(m).version = 9;
  EXPECT_FALSE(MacHolds(key, m));
}

TEST(LinkLayoutTest, OtherControlHasALayoutOfItsOwn) {
  const std::vector<uint8_t> hello = Bytes(Hello());
  const ByteWriter other = LayoutOfOther(LinkId("l"), hello);
  EXPECT_NE(hello, std::vector<uint8_t>(other.bytes().begin(), other.bytes().end()));
  EXPECT_EQ(other.bytes()[0], 255);
}

}  // namespace
}  // namespace keyhop
