// What a destination's records must say together: batches are atomic, so a part of one on the disk
// means that the store is not what it was trusted to be.
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kms/core/stream/destination.h"

namespace keyhop {
namespace {

constexpr uint32_t kUnitBytes = 64;
const StreamAddress kAt = {2, 128};

StreamId Stream() { return {NodeId("a"), NodeId("b")}; }
StreamRecord Account() {
  return DestinationRecord{.stream = Stream(),
                           .top_epoch = kAt.epoch,
                           .top = {kAt.epoch, kAt.offset + kUnitBytes},
                           .version = 3};
}
StreamRecord Epoch(uint64_t number) {
  return EpochRecord{Stream(), false, number, SecretBytes(kOpeningBodyBytes)};
}
StreamRecord Body(size_t size = kUnitBytes) {
  return UnitBodyRecord{Stream(), kAt, SecretBytes(size)};
}
StreamRecord State(size_t used_bytes = kUnitBytes / 32) {
  return UnitStateRecord{.stream = Stream(),
                         .at = kAt,
                         .leased = true,
                         .length_bytes = kUnitBytes,
                         .used = std::vector<uint8_t>(used_bytes)};
}

template <typename... Records>
absl::Status Check(Records... records) {
  std::vector<StreamRecord> all;
  (all.push_back(std::move(records)), ...);
  return StreamDestination::CheckRecovered(all);
}

TEST(RecoveredDestinationTest, TakesWhatWholeBatchesLeave) {
  EXPECT_TRUE(Check().ok());
  EXPECT_TRUE(Check(Epoch(1), Epoch(2), Account()).ok());
  EXPECT_TRUE(Check(State(), Epoch(2), Body(), Account()).ok());
}

TEST(RecoveredDestinationTest, RefusesAPartOfAnAppend) {
  EXPECT_TRUE(absl::IsDataLoss(Check(Epoch(2), Account(), Body())));
  EXPECT_TRUE(absl::IsDataLoss(Check(Body(), State())));
}

TEST(RecoveredDestinationTest, RefusesAPartOfAnErasure) {
  EXPECT_TRUE(absl::IsDataLoss(Check(Epoch(2), Account(), State())));
}

TEST(RecoveredDestinationTest, RefusesAUnitOfAnotherSizeThanItsAccount) {
  EXPECT_TRUE(absl::IsDataLoss(Check(Account(), State(), Body(kUnitBytes - 4))));
  EXPECT_TRUE(absl::IsDataLoss(Check(Account(), State(1), Body())));
}

TEST(RecoveredDestinationTest, RefusesAnEpochAboveItsAccount) {
  EXPECT_TRUE(absl::IsDataLoss(Check(Epoch(1))));
  EXPECT_TRUE(absl::IsDataLoss(Check(Account(), Epoch(3))));
}

}  // namespace
}  // namespace keyhop
