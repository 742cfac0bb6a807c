#ifndef KEYHOP_SIM_NET_FRAME_PADS_H_
#define KEYHOP_SIM_NET_FRAME_PADS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "sim/net/lease_watch.h"
#include "sim/net/pad_truth.h"
#include "trusted_node/core/node/messages.h"

// What can be made of a frame, which `from` sends over `link`, by who knows all pads. Pure.

namespace keyhop::sim {

// Payload head and body; empty where the frame names pads that do not exist or do not fit.
std::vector<uint8_t> PayloadOf(const PadTruth& truth, size_t link, size_t from,
                               const RelayFrame& frame);
// The 16 bytes of r of a lease; nullopt where it has no block that both ends hold.
std::optional<std::vector<uint8_t>> ROf(const PadTruth& truth, size_t link, size_t from,
                                        const LeaseWatch::Lease& lease);
// Encrypts and tags as the sender would have. False, and nothing changed, where that cannot be.
bool Seal(const PadTruth& truth, LeaseWatch& leases, size_t link, size_t from, RelayFrame& frame,
          const std::vector<uint8_t>& payload);

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_FRAME_PADS_H_
