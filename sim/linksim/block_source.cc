#include "sim/linksim/block_source.h"

#include <algorithm>
#include <cstring>

#include "kms/base/byte_writer.h"
#include "kms/crypto/mac.h"
#include "kms/crypto/os_entropy.h"

namespace keyhop {

BlockSource::BlockSource(absl::string_view link_id, uint32_t module_pair,
                         const std::optional<std::string>& seed)
    : link_id_(link_id), module_pair_(module_pair) {
  if (!seed.has_value()) return;
  seed_ = SecretBytes::CopyOf({reinterpret_cast<const uint8_t*>(seed->data()), seed->size()});
}

SecretBytes BlockSource::Make(uint64_t run, uint64_t block, size_t size_bytes) const {
  SecretBytes key(size_bytes);
  const std::span<uint8_t> out = key.ExposeMutable(SecretAccess::ForSimulation());
  if (!seed_.has_value()) {
    OsEntropy().Fill(out);
    return key;
  }
  for (size_t at = 0; at < out.size(); at += Mac().size()) {
    ByteWriter name;
    name.Text(link_id_).U32(module_pair_).U64(run).U64(block).U64(at);
    const Mac part = HmacSha256(*seed_, name.bytes());
    std::memcpy(out.data() + at, part.data(), std::min(part.size(), out.size() - at));
  }
  return key;
}

void BlockPace::Advance(Instant now) {
  const Duration passed = last_.has_value() ? std::min(now - *last_, kCatchUp) : Duration();
  last_ = now;
  const double most =
      std::max(block_bits_, bits_per_second_ * static_cast<double>(kCatchUp.ns) / 1e9);
  tokens_ = std::min(most, tokens_ + bits_per_second_ * static_cast<double>(passed.ns) / 1e9);
}

bool BlockPace::Take() {
  if (tokens_ < block_bits_) return false;
  tokens_ -= block_bits_;
  return true;
}

}  // namespace keyhop
