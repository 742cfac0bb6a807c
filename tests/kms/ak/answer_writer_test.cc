#include "kms/ak/answer_writer.h"

#include <gtest/gtest.h>

#include <string>

#include "kms/core/uuid.h"

namespace keyhop {
namespace {

DeliveredKey MakeKey(const char* id, std::string bytes) {
  return {
      .id = *ParseUuid(id),
      .key = SecretBytes::CopyOf({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()})};
}

TEST(WriteKeyContainerTest, PrintsTheContainerOfTheStandard) {
  KeyContainer container;
  container.keys.push_back(MakeKey("01234567-89ab-4cde-8f01-23456789abcd", "abcd"));
  container.keys.push_back(MakeKey("11234567-89ab-4cde-8f01-23456789abcd", "\xff\xfe\xfd"));
  EXPECT_EQ(WriteKeyContainer(container).Expose(SecretAccess::ForTest()),
            R"({"keys":[{"key_ID":"01234567-89ab-4cde-8f01-23456789abcd","key":"YWJjZA=="},)"
            R"({"key_ID":"11234567-89ab-4cde-8f01-23456789abcd","key":"//79"}]})");
}

TEST(WriteKeyContainerTest, PrintsAnEmptyContainer) {
  EXPECT_EQ(WriteKeyContainer({}).Expose(SecretAccess::ForTest()), R"({"keys":[]})");
}

TEST(WritePairStatusTest, PrintsAllMembersOfTable9) {
  PairStatus status;
  status.source_kme = NodeId("kme-a");
  status.target_kme = NodeId("kme-b");
  status.master = SaeId("alice");
  status.slave = SaeId("b\"\\\n\u00e9");
  status.key_size_bits = 256;
  status.stored_key_count = 200;
  status.max_key_count = 100000;
  status.max_key_per_request = 128;
  status.max_key_size_bits = 16384;
  status.min_key_size_bits = 32;
  const std::string expected =
      R"({"source_KME_ID":"kme-a","target_KME_ID":"kme-b","master_SAE_ID":"alice",)"
      R"("slave_SAE_ID":"b\"\\\u000a)"
      "\u00e9"
      R"(","key_size":256,"stored_key_count":200,)"
      R"("max_key_count":100000,"max_key_per_request":128,"max_key_size":16384,)"
      R"("min_key_size":32,"max_SAE_ID_count":0)";
  EXPECT_EQ(WritePairStatus(status), expected + "}");
  status.extension = {{"keyhop_a", "1"},
                      {"keyhop_b", uint64_t{2}},
                      {"keyhop_c", std::map<std::string, std::string>{{"x", "\""}, {"y", ""}}}};
  EXPECT_EQ(
      WritePairStatus(status),
      expected +
          R"(,"status_extension":{"keyhop_a":"1","keyhop_b":2,"keyhop_c":{"x":"\"","y":""}}})");
}

TEST(WriteRefusalTest, PrintsDetailsAsObjects) {
  EXPECT_EQ(WriteRefusal({.kind = Refusal::Kind::kBadRequest, .message = kSizeNotMultipleOf8}),
            R"({"message":"size shall be a multiple of 8"})");
  EXPECT_EQ(WriteRefusal({.kind = Refusal::Kind::kUnavailable,
                          .message = "no key",
                          .details = {{"bits_asked", "256"}, {"bits_at_hand", "0"}}}),
            R"({"message":"no key","details":[{"bits_asked":"256"},{"bits_at_hand":"0"}]})");
}

TEST(WriteRefusalTest, SaysNothingButUnauthorized) {
  EXPECT_EQ(
      WriteRefusal(
          {.kind = Refusal::Kind::kUnauthorized, .message = "not bob's", .details = {{"a", "b"}}}),
      R"({"message":"Unauthorized"})");
}

}  // namespace
}  // namespace keyhop
