#include "kms/ak/http_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

using State = HttpReader::State;

constexpr size_t kHeaderMax = 1024;
constexpr size_t kBodyMax = 4096;

// Feeds `bytes` in pieces of `step`, as a connection does; returns what was not taken.
std::string Feed(HttpReader& reader, absl::string_view bytes, size_t step) {
  std::string held;
  while (!bytes.empty()) {
    absl::StrAppend(&held, bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (size_t taken = held.empty() ? 0 : reader.Take(held)) held.erase(0, taken);
    if (reader.state() == State::kWhole || reader.state() == State::kRefused) break;
    EXPECT_LT(held.size(), kHeaderMax + step) << "it would hold more than its limit";
  }
  return absl::StrCat(held, bytes);
}

constexpr char kChunked[] =
    "POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\n";

TEST(HttpReaderTest, ReadsTheSameHoweverTheBytesCome) {
  for (const size_t step : {1, 2, 3, 7, 50, 1000}) {
    HttpReader reader(kHeaderMax, kBodyMax);
    EXPECT_EQ(Feed(reader, absl::StrCat(kChunked, "GET / HT"), step).substr(0, 1), "G") << step;
    ASSERT_EQ(reader.state(), State::kWhole) << step;
    EXPECT_TRUE(reader.keep_alive());
    const HttpRequest request = reader.TakeRequest();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.target, "/x?y");
    EXPECT_EQ(request.content_type, "application/json");
    EXPECT_EQ(request.body, "hello!");
    reader.Next();
    EXPECT_EQ(Feed(reader, "GET / HTTP/1.0\r\n\r\n", step), "");
    ASSERT_EQ(reader.state(), State::kWhole);
    EXPECT_TRUE(reader.http_1_0());
    EXPECT_FALSE(reader.keep_alive());
  }
}

int StatusOf(absl::string_view bytes, size_t step = 100) {
  HttpReader reader(kHeaderMax, kBodyMax);
  Feed(reader, bytes, step);
  return reader.state() == State::kRefused ? reader.refusal().status : 0;
}

TEST(HttpReaderTest, RefusesWhatCouldBeReadInTwoWays) {
  const auto post = [](absl::string_view headers) {
    return StatusOf(absl::StrCat("POST / HTTP/1.1\r\nHost: a\r\n", headers, "\r\n0\r\n\r\n"));
  };
  EXPECT_EQ(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
  EXPECT_EQ(post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400);
  EXPECT_EQ(post("Content-Length: 5\r\nContent-Length: 4\r\n"), 400);
  EXPECT_EQ(post("Transfer-Encoding: gzip\r\n"), 400);
  EXPECT_EQ(post("Transfer-Encoding: identity\r\n"), 400);
  EXPECT_EQ(post("Host: b\r\n"), 400);
  EXPECT_EQ(post("Expect: the-unexpected\r\n"), 417);
  EXPECT_EQ(StatusOf("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"), 0) << "obsolete, but one way";
}

TEST(HttpReaderTest, BoundsHeaderBodyChunksAndTrailers) {
  const std::string much(8192, 'x');
  EXPECT_EQ(StatusOf(absl::StrCat("GET /", much)), 431);
  EXPECT_EQ(StatusOf(absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\nX: ", much)), 431);
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(StatusOf(absl::StrCat(head, "1;", much)), 431);
  EXPECT_EQ(StatusOf(absl::StrCat(head, "0\r\nX: ", much)), 431);
  EXPECT_EQ(StatusOf(absl::StrCat(head, "1001\r\n")), 413);
  EXPECT_EQ(StatusOf(absl::StrCat(head, "800\r\n", much.substr(0, 0x800), "\r\n801\r\n")), 413);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\n\r\n"), 413);
  EXPECT_EQ(StatusOf(absl::StrCat(head, "zzz\r\n")), 400);
}

TEST(HttpReaderTest, TakesALastChunkInSmallPieces) {
  HttpReader reader(kHeaderMax, kBodyMax);
  std::string held = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  held.erase(0, reader.Take(held));
  for (const char c : std::string("0\r\nT: t\r\n\r\n")) {
    ASSERT_EQ(reader.state(), State::kBody);
    held.push_back(c);
    held.erase(0, reader.Take(held));
  }
  EXPECT_EQ(reader.state(), State::kWhole);
}

TEST(HttpReaderTest, TellsWhoWaitsToBeAsked) {
  HttpReader reader(kHeaderMax, kBodyMax);
  Feed(reader, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
       99);
  ASSERT_EQ(reader.state(), State::kBody);
  EXPECT_TRUE(reader.wants_continue());
}

}  // namespace
}  // namespace keyhop
