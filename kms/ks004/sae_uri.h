#ifndef KEYHOP_KMS_KS004_SAE_URI_H_
#define KEYHOP_KMS_KS004_SAE_URI_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "kms/core/types.h"

namespace keyhop {

// The SAE that a source or destination of ETSI GS QKD 004 names: keyhop://sae/ID, its ID
// percent-encoded once; the host of any other URI (scheme://host, with port and path or without);
// else the text itself. Nothing if that is no SAE ID (1 to 300 bytes of UTF-8). It says whom a
// stream joins, never who the caller is. Pure.
std::optional<SaeId> SaeOfUri(absl::string_view uri);

}  // namespace keyhop

#endif  // KEYHOP_KMS_KS004_SAE_URI_H_
