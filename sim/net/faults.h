#ifndef KEYHOP_SIM_NET_FAULTS_H_
#define KEYHOP_SIM_NET_FAULTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace keyhop::sim {

// What the world does to its nodes. Each seed draws which kinds it uses.
enum class Fault : uint8_t {
  kDelay,         // A message is late by seconds.
  kLoss,          // A message is lost.
  kDoubling,      // A message arrives twice.
  kReorder,       // A message overtakes others.
  kBitFlip,       // A message is changed on its way.
  kOldMessage,    // A message kept for long, often of an older session, arrives again.
  kPartition,     // One direction between two neighbours is dead for a while.
  kDisconnect,    // A transport breaks; what it carried is lost.
  kCrash,         // A node stops between two effects.
  kBatchLost,     // ... and the batch under way is not on its disk.
  kBatchUnknown,  // ... and the batch under way is, though the node never heard so.
  kOldImage,      // ... and its disk becomes what it was some time ago.
  kSlowDisk,      // Commits take seconds.
  kRateCollapse,  // A QKD link makes next to nothing, or says that it is down.
  kBlockLost,     // A key block reaches one end only.
  kUnequalBlock,  // The two ends of a link got different bytes.
  kNewRun,        // A module pair starts a new run.
  kClientGone,    // A client does not hear its answer, and asks again.
  kCount,
};
inline constexpr size_t kFaultCount = static_cast<size_t>(Fault::kCount);

inline constexpr std::array<const char*, kFaultCount> kFaultNames = {
    "delay",     "loss",          "doubling",   "reorder",       "bit_flip",      "old_message",
    "partition", "disconnect",    "crash",      "batch_lost",    "batch_unknown", "old_image",
    "slow_disk", "rate_collapse", "block_lost", "unequal_block", "new_run",       "client_gone"};

using FaultCounts = std::array<uint64_t, kFaultCount>;

// Named states worth reaching, seen from outside: how often.
using Probes = std::map<std::string, uint64_t, std::less<>>;

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_FAULTS_H_
