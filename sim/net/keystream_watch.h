#ifndef KEYHOP_SIM_NET_KEYSTREAM_WATCH_H_
#define KEYHOP_SIM_NET_KEYSTREAM_WATCH_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kms/core/types.h"

namespace keyhop::sim {

// The chunks that left towards applications: an index of a stream has the same bytes for both SAEs,
// each gets them at most once, and no two indices of any stream have the same. Not thread-safe.
class KeystreamWatch {
 public:
  struct Finding {
    bool both = false;                                              // The other SAE got it before.
    std::optional<std::pair<const char*, std::string>> wrong = {};  // Invariant, what.
  };
  Finding OnChunk(const KeyId& stream, uint32_t index, const SaeId& sae,
                  std::span<const uint8_t> bytes);
  // This SAE's node forgot more than anybody tells it: it may give a chunk again.
  void OnForgotten(const SaeId& sae) { uncertain_.insert(sae); }

 private:
  struct Chunk {
    std::vector<uint8_t> bytes;
    std::set<SaeId> got;
  };
  using At = std::pair<KeyId, uint32_t>;
  std::map<At, Chunk> chunks_;
  std::map<std::vector<uint8_t>, At> owners_;
  std::set<SaeId> uncertain_;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_KEYSTREAM_WATCH_H_
