#ifndef KEYHOP_TRUSTED_NODE_DAEMON_CORE_CONFIG_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_CORE_CONFIG_H_

#include "absl/status/statusor.h"
#include "kms/config/config.h"
#include "trusted_node/core/node/node.h"

namespace keyhop {

// The checked configuration in the words of the core, but for the links' keys, which are in files.
// INVALID_ARGUMENT for a quota that is none.
absl::StatusOr<NodeConfig> CoreConfigOf(const config::v1::Config& config);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_CORE_CONFIG_H_
