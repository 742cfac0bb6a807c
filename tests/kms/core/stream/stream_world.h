#ifndef KEYHOP_TESTS_KMS_CORE_STREAM_STREAM_WORLD_H_
#define KEYHOP_TESTS_KMS_CORE_STREAM_STREAM_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kms/base/overload.h"
#include "kms/core/stream/destination.h"
#include "kms/core/stream/source.h"
#include "kms/core/uuid.h"

namespace keyhop {

inline SecretBytes CopySecret(const SecretBytes& bytes) {
  return bytes.Duplicate(SecretAccess::ForTest());
}

inline std::optional<SecretBytes> CopySecret(const std::optional<SecretBytes>& bytes) {
  if (!bytes) return std::nullopt;
  return CopySecret(*bytes);
}

inline StreamRecord CopyRecord(const StreamRecord& record) {
  return std::visit(Overload{
                        [](const EpochRecord& r) -> StreamRecord {
                          return EpochRecord{r.stream, r.at_source, r.number, CopySecret(r.keys)};
                        },
                        [](const SourceSegmentRecord& r) -> StreamRecord {
                          return SourceSegmentRecord{r.stream, r.at, CopySecret(r.body)};
                        },
                        [](const UnitBodyRecord& r) -> StreamRecord {
                          return UnitBodyRecord{r.stream, r.at, CopySecret(r.body)};
                        },
                        [](const SupplyKeyRecord& r) -> StreamRecord {
                          return SupplyKeyRecord{r.stream, r.id, CopySecret(r.body)};
                        },
                        [](const auto& r) -> StreamRecord { return r; },
                    },
                    record);
}

// One end's disk: records by key, as the store keeps them.
class StreamDisk {
 public:
  void Apply(const StreamRecord& record) {
    const std::string key = KeyOf(record);
    if (Erases(record)) {
      records_.erase(key);
    } else {
      records_.insert_or_assign(key, CopyRecord(record));
    }
  }
  std::vector<StreamRecord> Read() const {
    std::vector<StreamRecord> out;
    for (const auto& [key, record] : records_) out.push_back(CopyRecord(record));
    return out;
  }
  StreamDisk Image() const {
    StreamDisk image;
    for (const auto& [key, record] : records_) image.records_.emplace(key, CopyRecord(record));
    return image;
  }
  size_t size() const { return records_.size(); }

 private:
  static std::string At(const char* kind, uint64_t a, uint64_t b) {
    return std::string(kind) + "/" + std::to_string(a) + "/" + std::to_string(b);
  }
  static std::string KeyOf(const StreamRecord& record) {
    return std::visit(
        Overload{
            [](const SourceRecord&) { return std::string("source"); },
            [](const EpochRecord& r) { return At("epoch", r.at_source, r.number); },
            [](const SourceSegmentRecord& r) { return At("held", r.at.epoch, r.at.offset); },
            [](const DestinationRecord&) { return std::string("destination"); },
            [](const UnitBodyRecord& r) { return At("body", r.at.epoch, r.at.offset); },
            [](const UnitStateRecord& r) { return At("state", r.at.epoch, r.at.offset); },
            [](const SupplyKeyRecord& r) { return "supply-key/" + FormatUuid(r.id); },
            [](const SupplyRecord& r) { return "supply/" + FormatUuid(r.id); },
        },
        record);
  }
  static bool Erases(const StreamRecord& record) {
    return std::visit(Overload{
                          [](const EpochRecord& r) { return !r.keys; },
                          [](const SourceSegmentRecord& r) { return !r.body; },
                          [](const UnitBodyRecord& r) { return !r.body; },
                          [](const UnitStateRecord& r) { return r.erased; },
                          [](const SupplyKeyRecord& r) { return !r.body; },
                          [](const SupplyRecord& r) { return r.erased; },
                          [](const auto&) { return false; },
                      },
                      record);
  }
  std::map<std::string, StreamRecord> records_;
};

// splitmix64: the same numbers on every compiler.
class TestRandom {
 public:
  explicit TestRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  bool Chance(uint32_t permille) { return Below(1000) < permille; }

 private:
  uint64_t state_;
};

// One end's shell: numbers writes, makes them durable when told, and lets messages go that wait
// for nothing else.
class EndShell : public StreamOutbox {
 public:
  explicit EndShell(TestRandom& random) : random_(random) {}
  WriteSeq Write(StreamRecord record) override {
    waiting_.push_back(std::move(record));
    return taken_ + 1;
  }
  void Send(const NodeId&, StreamMessage message, WriteSeq after) override {
    held_.push_back({after, std::move(message)});
  }
  uint64_t Random() override { return random_.Next(); }
  void RollbackFound() override { ++rollbacks; }

  // A step is over: its writes become one batch.
  void Sync() {
    for (const StreamRecord& record : waiting_) disk.Apply(record);
    waiting_.clear();
    ++taken_;
  }
  std::vector<StreamMessage> Release() {
    std::vector<StreamMessage> out;
    std::vector<std::pair<WriteSeq, StreamMessage>> keep;
    for (auto& [after, message] : held_) {
      if (after <= taken_) {
        out.push_back(std::move(message));
      } else {
        keep.emplace_back(after, std::move(message));
      }
    }
    held_ = std::move(keep);
    return out;
  }
  void Crash() {
    waiting_.clear();
    held_.clear();
    taken_ = 0;
  }
  WriteSeq durable() const { return taken_; }

  StreamDisk disk;
  int rollbacks = 0;

 private:
  TestRandom& random_;
  std::vector<StreamRecord> waiting_;
  std::vector<std::pair<WriteSeq, StreamMessage>> held_;
  WriteSeq taken_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_CORE_STREAM_STREAM_WORLD_H_
