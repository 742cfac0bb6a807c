#ifndef KEYHOP_TRUSTED_NODE_ADMIN_ADMIN_SERVICE_H_
#define KEYHOP_TRUSTED_NODE_ADMIN_ADMIN_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/server_context.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/base/instant.h"
#include "kms/crypto/secure_heap.h"
#include "trusted_node/core/node/port.h"

namespace keyhop {

// What the admin service asks beside the core. All are called on any thread.
struct AdminHooks {
  // OK if the caller's certificate is an operator's.
  std::function<absl::Status(const grpc::ServerContextBase&)> check_operator;
  // Takes a link out of use or back into it, for good when it returns OK. NOT_FOUND: no such link
  // here; UNAVAILABLE: it is not known whether that is done.
  std::function<absl::Status(const LinkId&, bool up)> set_link;
  // Suspends an SAE or takes it back, for good when it returns OK. NOT_FOUND: no such SAE here;
  // UNAVAILABLE: it is not known whether that is done.
  std::function<absl::Status(const SaeId&, bool active)> set_sae;
  // Sets an operator's quota, or has the configured one again, for good when it returns OK.
  // NOT_FOUND: no such SAE here, or no operator's quota to take back; INVALID_ARGUMENT: no quota;
  // UNAVAILABLE: it is not known whether that is done.
  std::function<absl::Status(const QuotaOf&, const std::optional<Quota>&)> set_quota;
  // Replaces the store key; returns the new one's number.
  std::function<absl::StatusOr<uint64_t>()> rotate_store_key;
  std::function<bool()> ready;
  std::string version;
  SecureHeap secure_heap;
  Instant started;
  std::function<Instant()> now;
};

// The service keyhop.admin.v1.Admin over the core's snapshots. `port` outlives the service and the
// server that it is registered with, and answers until that server has shut down. Thread-safe.
std::unique_ptr<grpc::Service> MakeAdminService(NodePort& port, AdminHooks hooks);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_ADMIN_ADMIN_SERVICE_H_
