// The two ends' word for messages of their stream that other parts of the node say.
#include "kms/base/check.h"
#include "kms/core/stream/destination.h"
#include "kms/core/stream/source.h"
#include "kms/crypto/mac.h"

namespace keyhop {

Mac StreamSource::Vouch(uint64_t epoch, const ByteWriter& layout) const {
  const auto it = epochs_.find(epoch);
  KEYHOP_CHECK(it != epochs_.end(), "an epoch that Levels() names");
  return HmacSha256(it->second.stream_key, layout.bytes());
}

bool StreamSource::Vouches(uint64_t epoch, const ByteWriter& layout, const Mac& mac) const {
  return epochs_.contains(epoch) && EqualConstantTime(Vouch(epoch, layout), mac);
}

Mac StreamDestination::Vouch(uint64_t epoch, const ByteWriter& layout) const {
  const auto it = epochs_.find(epoch);
  KEYHOP_CHECK(it != epochs_.end(), "an epoch that Epochs() names");
  return HmacSha256(it->second.stream_key, layout.bytes());
}

bool StreamDestination::Vouches(uint64_t epoch, const ByteWriter& layout, const Mac& mac) const {
  return epochs_.contains(epoch) && EqualConstantTime(Vouch(epoch, layout), mac);
}

}  // namespace keyhop
