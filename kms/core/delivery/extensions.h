#ifndef KEYHOP_KMS_CORE_DELIVERY_EXTENSIONS_H_
#define KEYHOP_KMS_CORE_DELIVERY_EXTENSIONS_H_

#include <map>
#include <optional>
#include <string>

#include "kms/base/instant.h"
#include "kms/core/delivery/config.h"
#include "kms/core/delivery/request.h"

// The extensions of Get key (ETSI GS QKD 014 V1.1.1 §6.2) that this KME knows. Pure functions.

namespace keyhop {

// A whole number of milliseconds: how long the draw may wait for fresh key, instead of
// `DeliveryConfig::draw_wait`; 0: not at all.
inline constexpr char kDeadlineExtension[] = "keyhop_deadline_ms";

// A whole number from 1 to kPathsMax: over so many node-disjoint paths at least the key comes, in
// shares whose XOR it is.
inline constexpr char kPathsExtension[] = "keyhop_paths_min";

// Every extension that is known here, and what becomes of it, for status_extension.
std::map<std::string, std::string> ExtensionStates();

// Refuses, with the texts of the standard, a mandatory extension that is not known or cannot be
// met, and, where the config says so, an optional one that would be ignored.
std::optional<Refusal> CheckExtensions(const DrawRequest& request, const DeliveryConfig& config);

// The pair whose key a draw for an SAE at `home` takes: over as many paths as the request and the
// configuration ask for. At `self` no node is in between.
PairWith PairOf(const DrawRequest& request, const NodeId& self, const NodeId& home,
                const DeliveryConfig& config);

// How long this draw may wait for fresh key: at most `config.deadline_max`, and no longer than its
// caller waits.
Duration WaitOf(const DrawRequest& request, const DeliveryConfig& config);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_EXTENSIONS_H_
