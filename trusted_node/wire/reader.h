#ifndef KEYHOP_TRUSTED_NODE_WIRE_READER_H_
#define KEYHOP_TRUSTED_NODE_WIRE_READER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/duration.pb.h"
#include "kms/base/instant.h"
#include "kms/core/types.h"
#include "trusted_node/core/link/messages.h"
#include "trusted_node/wire/limits.h"

namespace keyhop {

// Reads the fields of one message and remembers the first that is wrong; what it returns after that
// is of no use. Callers read everything and look at status() once.
class WireReader {
 public:
  const absl::Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }

  // The first complaint stays. `field` is the name in the .proto file.
  void Refuse(absl::string_view field, absl::string_view reason) {
    if (ok()) status_ = absl::InvalidArgumentError(absl::StrCat(field, ": ", reason));
  }
  void Require(bool condition, absl::string_view field, absl::string_view reason) {
    if (!condition) [[unlikely]]
      Refuse(field, reason);
  }

  NodeId Node(const std::string& id, absl::string_view field) {
    Id(id, kWireIdBytesMax, field);
    return NodeId(id);
  }
  LinkId Link(const std::string& id, absl::string_view field) {
    Id(id, kWireIdBytesMax, field);
    return LinkId(id);
  }
  SaeId Sae(const std::string& id, absl::string_view field) {
    Id(id, kWireSaeIdBytesMax, field);
    return SaeId(id);
  }
  // True when at most `max` entries are there; else they must not be read.
  bool Count(int count, size_t max, absl::string_view field) {
    Require(static_cast<size_t>(count) <= max, field, "too many entries");
    return static_cast<size_t>(count) <= max;
  }
  template <size_t kSize>
  std::array<uint8_t, kSize> Fixed(const std::string& bytes, absl::string_view field) {
    std::array<uint8_t, kSize> out = {};
    if (bytes.size() != kSize) {
      Refuse(field, absl::StrCat("expected ", kSize, " bytes, got ", bytes.size()));
      return out;
    }
    for (size_t i = 0; i < kSize; ++i) out[i] = static_cast<uint8_t>(bytes[i]);
    return out;
  }
  // An enum of the core whose values are 1 to `last`, numbered as in the .proto file.
  template <typename Enum>
  Enum EnumUpTo(int value, Enum last, absl::string_view field) {
    if (value < 1 || value > static_cast<int>(last)) {
      Refuse(field, "unknown value");
      return last;
    }
    return static_cast<Enum>(value);
  }
  // From 0 to a year.
  Duration Span(const google::protobuf::Duration& span, absl::string_view field) {
    if (span.seconds() < 0 || span.seconds() > kWireDurationSecondsMax || span.nanos() < 0 ||
        span.nanos() > 999'999'999) {
      Refuse(field, "not a duration between 0 and a year");
      return {};
    }
    return Duration{span.seconds() * 1'000'000'000 + span.nanos()};
  }

 private:
  void Id(const std::string& id, size_t max, absl::string_view field) {
    Require(!id.empty() && id.size() <= max, field,
            id.empty() ? "an ID is missing" : "an ID is too long");
  }
  absl::Status status_;
};

inline void SetSpan(Duration span, google::protobuf::Duration* out) {
  out->set_seconds(span.ns / 1'000'000'000);
  out->set_nanos(static_cast<int32_t>(span.ns % 1'000'000'000));
}

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_WIRE_READER_H_
