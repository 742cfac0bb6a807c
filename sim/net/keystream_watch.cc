#include "sim/net/keystream_watch.h"

#include "kms/core/uuid.h"

namespace keyhop::sim {
namespace {

// Shorter ones may be equal by chance.
constexpr size_t kTellingBytes = 12;

}  // namespace

KeystreamWatch::Finding KeystreamWatch::OnChunk(const KeyId& stream, uint32_t index,
                                                const SaeId& sae, std::span<const uint8_t> bytes) {
  Finding finding;
  const std::string at = "chunk " + std::to_string(index) + " of key stream " + FormatUuid(stream);
  const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  const auto [it, first] = chunks_.try_emplace(At{stream, index}, Chunk{copy, {}});
  Chunk& chunk = it->second;
  if (chunk.bytes != copy) {
    finding.wrong = {"G1", at + " differs at its two ends"};
  } else if (!chunk.got.insert(sae).second && !uncertain_.contains(sae)) {
    finding.wrong = {"G2", at + " left twice to " + sae.value};
  }
  finding.both = chunk.got.size() == 2;
  if (first && copy.size() >= kTellingBytes && !owners_.emplace(copy, At{stream, index}).second) {
    finding.wrong = {"G2", at + " has the bytes of another chunk"};
  }
  return finding;
}

}  // namespace keyhop::sim
