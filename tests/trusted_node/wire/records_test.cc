#include "trusted_node/wire/records.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace keyhop {
namespace {

SecretBytes Secret(uint8_t first) {
  const std::vector<uint8_t> bytes = {first, 2, 3, 4};
  return SecretBytes::CopyOf(bytes);
}

// One record of each kind, every field set.
std::vector<Record> OneOfEach() {
  const LinkId link("link/with/slashes");
  const StreamId stream{NodeId("a"), NodeId("b/c")};
  std::vector<Record> out;
  out.push_back(NodeRecord{7});
  out.push_back(LinkRecordVariant(LinkRecord{link, 11, 12}));
  out.push_back(LinkRecordVariant(BookRecord{link, {3, 4}, true, 21, 22}));
  out.push_back(LinkRecordVariant(PadRecord{link, {3, 4}, 5, Secret(1)}));
  out.push_back(StreamRecord(SourceRecord{stream, 31, {32, 33}, {34, 35}, 36}));
  out.push_back(StreamRecord(EpochRecord{stream, true, 41, Secret(2)}));
  out.push_back(StreamRecord(EpochRecord{stream, false, 41, Secret(3)}));
  out.push_back(StreamRecord(SourceSegmentRecord{stream, {51, 52}, Secret(4)}));
  out.push_back(StreamRecord(DestinationRecord{stream, 61, {62, 63}, {64, 65}, 66}));
  out.push_back(StreamRecord(UnitBodyRecord{stream, {71, 72}, Secret(5)}));
  out.push_back(StreamRecord(
      UnitStateRecord{stream, {71, 72}, false, true, 64, {0xff, 0x01}, Duration{1'500'000'001}}));
  const KeyId key_id = {0x0f, 'a', '/', 0xff};
  out.push_back(StreamRecord(SupplyKeyRecord{stream, key_id, Secret(6)}));
  out.push_back(AnnounceRecord(WatchRecord{SaeId("sae"), false, {{NodeId("a"), {101, 102}}}}));
  WatchEntry gap;
  gap.gap_at = NodeId("a");
  out.push_back(AnnounceRecord(WatchChunkRecord{
      SaeId("sae"), 111, false, 112, {gap, {std::nullopt, KeyId{1, 2}, SaeId("master"), 256}}}));
  out.push_back(QuotaRecord{{SaeId("sae"), SaeId("slave")}, {131, 132, Duration::Millis(133), 1}});
  out.push_back(AnnounceRecord(AnnouncedRecord{NodeId("a"), {121, 122}, 123}));
  out.push_back(StreamRecord(SupplyRecord{stream,
                                          key_id,
                                          false,
                                          SaeId("master"),
                                          {SaeId("one"), SaeId("two/\xc3\xa9")},
                                          {0x02},
                                          Duration{2'500'000'001}}));
  out.push_back(DirectoryRecord{SaeId("sae \xc3\xa9"), NodeId("home"), 81});
  out.push_back(RoutingRecord{91, 92});
  out.push_back(LinkDownRecord{link});
  IdempotencyRecord answered{SaeId("sae \xc3\xa9"), "order 17", {}, Duration{2'500'000'002}, {}};
  answered.request_hash.fill(0xab);
  answered.answer = Secret(6);
  out.push_back(std::move(answered));
  // Longer than any other duration may be.
  out.push_back(RunTimeRecord{Duration::Seconds(2'000'000'000), Duration::Seconds(2'000'000'060)});
  out.push_back(SaeSuspendedRecord{SaeId("sae")});
  out.push_back(KeystreamRecord{.id = key_id,
                                .erased = false,
                                .saes = {SaeId("one"), SaeId("two/\xc3\xa9")},
                                .opened = {true, false},
                                .closed = {false, true},
                                .qos = {1, 2, 3, 4, 5, 6, 7, "application/json"},
                                .next_index = 101,
                                .settled_below = 99});
  out.push_back(KeystreamChunkRecord{.id = key_id,
                                     .index = 100,
                                     .erased = false,
                                     .key_id = {0xee, 1},
                                     .hops = 2,
                                     .taken = {true, false},
                                     .life_left = Duration{2'500'000'003}});
  return out;
}

std::optional<SecretBytes> CopyOf(const SecretBytes* secret) {
  if (secret == nullptr) return std::nullopt;
  return secret->Duplicate(SecretAccess::ForTest());
}

TEST(RecordsTest, EveryRecordMakesTheRoundTrip) {
  for (const Record& record : OneOfEach()) {
    const StoredRecord stored = ToStored(record);
    EXPECT_FALSE(stored.erase);
    const absl::StatusOr<Record> again =
        FromStored(stored.key, stored.public_bytes, CopyOf(stored.secret));
    ASSERT_TRUE(again.ok()) << again.status();
    const StoredRecord twice = ToStored(*again);
    EXPECT_EQ(twice.key, stored.key);
    EXPECT_EQ(twice.public_bytes, stored.public_bytes);
    ASSERT_EQ(twice.secret == nullptr, stored.secret == nullptr);
    if (stored.secret != nullptr) {
      EXPECT_TRUE(twice.secret->EqualsConstantTime(*stored.secret));
    }
  }
}

TEST(RecordsTest, EveryRecordHasAKeyOfItsOwn) {
  std::set<std::string> keys;
  for (const Record& record : OneOfEach()) keys.insert(ToStored(record).key);
  EXPECT_EQ(keys.size(), OneOfEach().size());
}

TEST(RecordsTest, NoTwoPairsOfNodesShareAKey) {
  const auto key = [](const char* source, const char* destination) {
    return ToStored(StreamRecord(SourceRecord{{NodeId(source), NodeId(destination)}})).key;
  };
  EXPECT_NE(key("a", "bc"), key("ab", "c"));
  EXPECT_NE(key("a/source", "b"), key("a", "source/b"));
}

TEST(RecordsTest, KeysOfOneBookAreInOrderOfBlock) {
  std::vector<std::string> keys;
  for (uint64_t block : {0ull, 1ull, 255ull, 256ull, 65'536ull, 1ull << 40}) {
    keys.push_back(ToStored(LinkRecordVariant(PadRecord{LinkId("l"), {1, 2}, block, {}})).key);
  }
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
}

TEST(RecordsTest, ARecordWithoutItsSecretErasesItsKey) {
  const StoredRecord pad = ToStored(LinkRecordVariant(PadRecord{LinkId("l"), {1, 2}, 3, {}}));
  EXPECT_TRUE(pad.erase);
  EXPECT_TRUE(pad.public_bytes.empty());
  UnitStateRecord gone;
  gone.stream = {NodeId("a"), NodeId("b")};
  gone.erased = true;
  EXPECT_TRUE(ToStored(StreamRecord(gone)).erase);
}

TEST(RecordsTest, RefusesPartsThatDoNotFit) {
  const Record record(LinkRecordVariant(PadRecord{LinkId("l"), {1, 2}, 3, Secret(1)}));
  const StoredRecord stored = ToStored(record);
  const auto code = [](const absl::StatusOr<Record>& result) { return result.status().code(); };
  EXPECT_EQ(code(FromStored(stored.key, stored.public_bytes, std::nullopt)),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(FromStored(stored.key + "x", stored.public_bytes, Secret(1))),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(FromStored(stored.key, "\xff\xff", Secret(1))), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(FromStored(stored.key, "", Secret(1))), absl::StatusCode::kDataLoss);
  const StoredRecord node = ToStored(Record(NodeRecord{1}));
  EXPECT_EQ(code(FromStored(node.key, node.public_bytes, Secret(1))), absl::StatusCode::kDataLoss);
}

TEST(RecordsTest, EachRecordSaysTheOldestFormatThatHasItsKind) {
  std::map<uint8_t, int> formats;
  for (const Record& record : OneOfEach()) {
    const std::string bytes = ToStored(record).public_bytes;
    ASSERT_EQ(bytes[0], '\x08');  // Field 1, the format.
    ++formats[static_cast<uint8_t>(bytes[1])];
  }
  EXPECT_EQ(formats[2], 8);  // Of supply notices, of key streams, of announcements, of quotas.
  EXPECT_EQ(formats[1], static_cast<int>(OneOfEach().size()) - 8);
}

TEST(RecordsTest, AQuotaComesBackAsItWasSet) {
  const QuotaRecord records[] = {
      {{SaeId("sae \xc3\xa9"), SaeId("a/b")}, {131, 132, Duration{1'500'000'001}, 1}},
      {{SaeId(kEverySae)}, {0, TokenBucket::kRateMax, kQuotaBurstMax, kShareMax}},
      {{SaeId(std::string(300, 'a')), SaeId(std::string(300, 'b'))}, {}}};
  for (const QuotaRecord& record : records) {
    const StoredRecord stored = ToStored(record);
    const auto again = FromStored(stored.key, stored.public_bytes, std::nullopt);
    ASSERT_TRUE(again.ok()) << again.status();
    const auto& read = std::get<QuotaRecord>(*again);
    EXPECT_TRUE(read.of == record.of && read.quota == record.quota) << record.of.sae.value;
    EXPECT_FALSE(read.erased);
  }
  EXPECT_TRUE(ToStored(QuotaRecord{{SaeId("sae")}, {}, /*erased=*/true}).erase);
}

TEST(RecordsTest, RefusesARecordOfWhatIsNoQuota) {
  for (const Quota& bad :
       {Quota{.share = 0}, Quota{.burst = {}}, Quota{.keys_per_s = UINT64_MAX}}) {
    const StoredRecord stored = ToStored(QuotaRecord{{SaeId("sae")}, bad});
    EXPECT_EQ(FromStored(stored.key, stored.public_bytes, std::nullopt).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(RecordsTest, RefusesAFormatFromTheFuture) {
  const StoredRecord node = ToStored(Record(NodeRecord{1}));
  std::string bytes = node.public_bytes;
  ASSERT_EQ(bytes.substr(0, 2), std::string("\x08\x01"));  // Field 1, format 1.
  bytes[1] = kRecordFormat + 1;
  EXPECT_EQ(FromStored(node.key, bytes, std::nullopt).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace keyhop
