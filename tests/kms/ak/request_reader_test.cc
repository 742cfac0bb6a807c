#include "kms/ak/request_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "kms/core/uuid.h"

namespace keyhop {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kA[] = "01234567-89ab-4cde-8f01-23456789abcd";
constexpr char kB[] = "11234567-89ab-4cde-8f01-23456789abcd";

Outcome<DrawRequest> Draw(absl::string_view body) {
  return ReadDrawBody(body, SaeId("alice"), SaeId("bob"));
}
Outcome<DrawRequest> DrawQuery(absl::string_view query) {
  return ReadDrawQuery(query, SaeId("alice"), SaeId("bob"));
}
Outcome<FetchRequest> Fetch(absl::string_view body) {
  return ReadFetchBody(body, SaeId("bob"), SaeId("alice"));
}
Outcome<FetchRequest> FetchQuery(absl::string_view query) {
  return ReadFetchQuery(query, SaeId("bob"), SaeId("alice"));
}

// The message of the refusal; empty if there is none.
template <typename T>
std::string Why(const Outcome<T>& outcome) {
  const auto* refusal = std::get_if<Refusal>(&outcome);
  if (refusal == nullptr) return "";
  EXPECT_EQ(refusal->kind, Refusal::Kind::kBadRequest);
  return refusal->message;
}

TEST(ReadDrawBodyTest, EmptyBodyAndEmptyObjectAskForTheDefaults) {
  for (const char* body : {"", "{}", " {\n} ", R"({"number":null,"size":null})",
                           R"({"additional_slave_SAE_IDs":null,"extension_mandatory":null,
                               "extension_optional":null})"}) {
    const Outcome<DrawRequest> outcome = Draw(body);
    ASSERT_EQ(Why(outcome), "") << body;
    const auto& request = std::get<DrawRequest>(outcome);
    EXPECT_EQ(request.caller, SaeId("alice"));
    EXPECT_EQ(request.slave, SaeId("bob"));
    EXPECT_EQ(request.number, 1u);
    EXPECT_FALSE(request.size_bits.has_value());
    EXPECT_THAT(request.additional_slaves, IsEmpty());
    EXPECT_THAT(request.extension_mandatory, IsEmpty());
  }
}

TEST(ReadDrawBodyTest, ReadsEveryMember) {
  const Outcome<DrawRequest> outcome = Draw(
      R"({"number": 3, "size": 1024, "additional_slave_SAE_IDs": ["carol", "d\u00e9 /%"],
          "extension_mandatory": [{"abc_route_type": "direct"}, {"abc_x": {"deep": [1, null]}}],
          "extension_optional": [{"abc_max_age": 30000, "abc_y": true}]})");
  ASSERT_EQ(Why(outcome), "");
  const auto& request = std::get<DrawRequest>(outcome);
  EXPECT_EQ(request.number, 3u);
  EXPECT_EQ(request.size_bits, 1024u);
  EXPECT_THAT(request.additional_slaves, ElementsAre(SaeId("carol"), SaeId("d\u00e9 /%")));
  const auto name = [](auto matcher) { return Field(&ExtensionParameter::name, matcher); };
  EXPECT_THAT(request.extension_mandatory, ElementsAre(name("abc_route_type"), name("abc_x")));
  EXPECT_THAT(request.extension_optional, ElementsAre(name("abc_max_age"), name("abc_y")));
  EXPECT_EQ(request.extension_mandatory[1].number, std::nullopt);
  EXPECT_EQ(request.extension_optional[0].number, 30000);
  EXPECT_EQ(request.extension_optional[1].number, std::nullopt);
}

TEST(ReadDrawBodyTest, SkipsMembersThatTheStandardDoesNotHave) {
  const Outcome<DrawRequest> outcome =
      Draw(R"({"additional_target_sae_ids": [], "Number": "x", "x": {"number": 9}, "size": 8})");
  ASSERT_EQ(Why(outcome), "");
  EXPECT_EQ(std::get<DrawRequest>(outcome).number, 1u);
  EXPECT_EQ(std::get<DrawRequest>(outcome).size_bits, 8u);
}

TEST(ReadDrawBodyTest, PassesNumbersOnForTheLimitsToJudge) {
  EXPECT_EQ(std::get<DrawRequest>(Draw(R"({"number":0,"size":7})")).number, 0u);
  EXPECT_EQ(std::get<DrawRequest>(Draw(R"({"number":18446744073709551615})")).number,
            18446744073709551615u);
}

TEST(ReadDrawBodyTest, RefusesWrongTypes) {
  for (const char* value :
       {"-1", "1.0", "1e2", "18446744073709551616", "\"1\"", "true", "[1]", "{}", "[]"}) {
    EXPECT_EQ(Why(Draw(std::string(R"({"number":)") + value + "}")),
              "number shall be an integer of 1 or more")
        << value;
    EXPECT_EQ(Why(Draw(std::string(R"({"size":)") + value + "}")),
              "size shall be an integer of 1 or more, in bits")
        << value;
  }
  for (const char* value : {"1", "\"carol\"", "{}", "[1]", "[null]", "[[\"carol\"]]", "[{}]"}) {
    EXPECT_EQ(Why(Draw(std::string(R"({"additional_slave_SAE_IDs":)") + value + "}")),
              "additional_slave_SAE_IDs shall be an array of strings")
        << value;
  }
  for (const char* value : {"1", "\"a\"", "{}", "[1]", "[null]", "[\"a\"]", "[[]]"}) {
    EXPECT_EQ(Why(Draw(std::string(R"({"extension_mandatory":)") + value + "}")),
              "extension_mandatory shall be an array of objects")
        << value;
    EXPECT_EQ(Why(Draw(std::string(R"({"extension_optional":)") + value + "}")),
              "extension_optional shall be an array of objects")
        << value;
  }
  for (const char* body : {"[]", "1", "null", "\"{}\"", "[{}]"}) {
    EXPECT_EQ(Why(Draw(body)), "the body shall be a JSON object") << body;
  }
}

TEST(ReadDrawBodyTest, RefusesWhatIsNotJson) {
  for (const char* body : {" ",
                           "{",
                           "}",
                           "{} {}",
                           "{}x",
                           "{,}",
                           R"({"number":1,})",
                           R"({number:1})",
                           R"({'number':1})",
                           R"({"number":01})",
                           R"({"number":+1})",
                           R"({"number":0x1})",
                           R"({"number":.5})",
                           R"({"number":1e999})",
                           R"({"number":NaN})",
                           R"({"number":Infinity})",
                           "{} // end",
                           "{/* */}",
                           "\xef\xbb\xbf{}",
                           "{\"a\":\"\xff\"}",
                           "{\"a\":\"\xc0\x80\"}",
                           "{\"a\":\"\xed\xa0\x80\"}",
                           R"({"a":"\ud800"})",
                           R"({"a":"\x"})",
                           "{\"a\":\"\n\"}",
                           R"({"a" 1})",
                           R"({"a":tru})"}) {
    EXPECT_THAT(Why(Draw(body)), HasSubstr("not JSON")) << body;
  }
  EXPECT_THAT(Why(Draw(absl::string_view("{}\0", 3))), HasSubstr("goes on"));
  EXPECT_THAT(Why(Draw(absl::string_view("{}\0{}", 5))), HasSubstr("goes on"));
}

TEST(ReadDrawBodyTest, RefusesAMemberThatOccursTwice) {
  for (const char* body :
       {R"({"number":1,"number":1})", R"({"x":1,"x":2})", R"({"size":8,"siz\u0065":8})",
        R"({"x":{"y":1,"y":1}})", R"({"extension_mandatory":[{"a":1,"a":1}]})"}) {
    EXPECT_EQ(Why(Draw(body)), "a member occurs twice in one JSON object") << body;
  }
}

TEST(ReadDrawBodyTest, BoundsDepthAndSize) {
  const auto nested = [](int arrays) {
    return R"({"x":)" + std::string(arrays, '[') + std::string(arrays, ']') + "}";
  };
  EXPECT_EQ(Why(Draw(nested(kMaxJsonDepth - 1))), "");
  EXPECT_EQ(Why(Draw(nested(kMaxJsonDepth))), "the JSON is nested too deeply");
  EXPECT_EQ(Why(Draw(R"({"x":)" + std::string(100'000, '['))), "the JSON is nested too deeply");
  EXPECT_EQ(Why(Draw(std::string(kMaxBodyBytes - 2, ' ') + "{}")), "");
  EXPECT_EQ(Why(Draw(std::string(kMaxBodyBytes, ' ') + "{}")), "the body is longer than 1 MiB");
}

TEST(ReadDrawBodyTest, RefusesAdditionalSlavesThatMakeNoSense) {
  EXPECT_EQ(Why(Draw(R"({"additional_slave_SAE_IDs":[]})")),
            "additional_slave_SAE_IDs shall not be empty where it is given");
  for (const char* list : {R"(["carol","carol"])", R"(["alice"])", R"(["carol","bob"])"}) {
    EXPECT_THAT(Why(Draw(std::string(R"({"additional_slave_SAE_IDs":)") + list + "}")),
                HasSubstr("no SAE twice"));
  }
  for (const std::string& id : {std::string(), std::string("  "), std::string(301, 'x')}) {
    EXPECT_THAT(Why(Draw(R"({"additional_slave_SAE_IDs":[")" + id + "\"]}")),
                HasSubstr("1 to 300 bytes"));
  }
}

TEST(ReadDrawBodyTest, RefusesTheMasterAsItsOwnSlave) {
  EXPECT_EQ(Why(ReadDrawBody("", SaeId("alice"), SaeId("alice"))),
            "master and slave shall be different SAEs");
}

TEST(ReadDrawBodyTest, NeverRepeatsWhatWasSent) {
  EXPECT_THAT(Why(Draw(R"({"number":"sentinel"})")), Not(HasSubstr("sentinel")));
  EXPECT_THAT(Why(Draw("sentinel")), Not(HasSubstr("sentinel")));
}

TEST(ReadDrawQueryTest, ReadsNumberAndSize) {
  const auto request = std::get<DrawRequest>(DrawQuery("number=3&size=512"));
  EXPECT_EQ(request.number, 3u);
  EXPECT_EQ(request.size_bits, 512u);
  EXPECT_EQ(std::get<DrawRequest>(DrawQuery("")).number, 1u);
  EXPECT_FALSE(std::get<DrawRequest>(DrawQuery("&x=1&")).size_bits.has_value());
  EXPECT_EQ(std::get<DrawRequest>(DrawQuery("n%75mber=%37")).number, 7u);
}

TEST(ReadDrawQueryTest, RefusesWhatIsNoDecimalNumber) {
  for (const char* value : {"", "-1", "+1", "1.0", "0x1", "1%20", "a", "18446744073709551616"}) {
    EXPECT_EQ(Why(DrawQuery(std::string("number=") + value)),
              "number shall be an integer of 1 or more")
        << value;
    EXPECT_EQ(Why(DrawQuery(std::string("size=") + value)), "size shall be an integer of 1 or more")
        << value;
  }
  EXPECT_EQ(Why(DrawQuery("number")), "number shall be an integer of 1 or more");
  EXPECT_EQ(Why(DrawQuery("number=1&number=1")), "number occurs twice in the query");
  EXPECT_EQ(Why(DrawQuery("x=%")), "the query string shall be URL-encoded UTF-8");
}

TEST(ReadFetchBodyTest, ReadsOneOrMoreKeyIdsInOrder) {
  const Outcome<FetchRequest> outcome =
      Fetch(std::string(R"({"x":[{"key_ID":"y"}],"key_IDs":[{"key_ID":")") + kB +
            R"("},{"other":[1],"key_ID":"01234567-89AB-4CDE-8F01-23456789ABCD",
            "key_ID_extension":{"key_ID":"no"}}],"key_IDs_extension":{"key_ID":1}})");
  ASSERT_EQ(Why(outcome), "");
  EXPECT_THAT(std::get<FetchRequest>(outcome).key_ids, ElementsAre(*ParseUuid(kB), *ParseUuid(kA)));
  EXPECT_EQ(std::get<FetchRequest>(outcome).caller, SaeId("bob"));
  EXPECT_EQ(std::get<FetchRequest>(outcome).master, SaeId("alice"));
}

TEST(ReadFetchBodyTest, ShowsTheRightShapeForAnyOther) {
  for (const char* body :
       {"{}", R"({"key_IDs":null})", R"({"key_IDs":[]})", R"({"key_IDs":{}})",
        R"({"key_IDs":"01234567-89ab-4cde-8f01-23456789abcd"})",
        R"({"key_IDs":["01234567-89ab-4cde-8f01-23456789abcd"]})", R"({"key_IDs":[{}]})",
        R"({"key_IDs":[{"key_id":"01234567-89ab-4cde-8f01-23456789abcd"}]})",
        R"({"key_IDs":[{"key_ID":null}]})", R"({"key_IDs":[{"key_ID":1}]})",
        R"({"key_IDs":[{"key_ID":{}}]})", R"({"key_IDs":[{"key_ID":[]}]})", R"({"key_IDs":[[]]})",
        R"({"key_IDs":[{"key_ID_extension":{"key_ID":"01234567-89ab-4cde-8f01-23456789abcd"}}]})",
        R"({"key_ID":"01234567-89ab-4cde-8f01-23456789abcd"})"}) {
    EXPECT_THAT(Why(Fetch(body)), HasSubstr(R"({"key_IDs": [{"key_ID": "UUID"}]})")) << body;
  }
  EXPECT_THAT(Why(Fetch("")), HasSubstr("not JSON"));
}

TEST(ReadFetchBodyTest, RefusesMalformedAndRepeatedKeyIds) {
  EXPECT_EQ(Why(Fetch(R"({"key_IDs":[{"key_ID":"x"}]})")), BadKeyId().message);
  EXPECT_EQ(Why(Fetch(std::string(R"({"key_IDs":[{"key_ID":")") + kA + R"("},{"key_ID":")" + kA +
                      R"("}]})")),
            "key_IDs shall name no key twice");
}

TEST(ReadFetchQueryTest, ReadsExactlyOneKeyId) {
  const std::string one = std::string("key_ID=") + kA;
  EXPECT_THAT(std::get<FetchRequest>(FetchQuery(one)).key_ids, ElementsAre(*ParseUuid(kA)));
  EXPECT_EQ(Why(FetchQuery("")), "the query shall be key_ID=UUID");
  EXPECT_EQ(Why(FetchQuery("key_id=x")), "the query shall be key_ID=UUID");
  EXPECT_EQ(Why(FetchQuery("key_ID=")), BadKeyId().message);
  EXPECT_EQ(Why(FetchQuery(one + "&" + one)), "GET takes one key_ID; POST a JSON body for more");
}

}  // namespace
}  // namespace keyhop
