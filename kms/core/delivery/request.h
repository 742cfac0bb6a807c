#ifndef KEYHOP_KMS_CORE_DELIVERY_REQUEST_H_
#define KEYHOP_KMS_CORE_DELIVERY_REQUEST_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/types.h"

// The one request type behind every front end (REST and gRPC): ETSI GS QKD 014 V1.1.1 §5, §6
// without its transport. `caller` always comes from the client certificate, never from a body.

namespace keyhop {

// Get status (§5.1).
struct StatusRequest {
  SaeId caller;
  SaeId slave;
};

// One parameter of extension_mandatory or extension_optional (§6.2).
struct ExtensionParameter {
  std::string name;
  std::optional<uint64_t> number = {};  // Its value, if that is a whole number of 0 or more.
};

// Get key (§5.2). The caller is the master.
struct DrawRequest {
  SaeId caller;
  SaeId slave;
  uint64_t number = 1;
  std::optional<uint64_t> size_bits = {};  // Absent: the KME's default.
  std::vector<SaeId> additional_slaves = {};
  std::vector<ExtensionParameter> extension_mandatory = {};
  std::vector<ExtensionParameter> extension_optional = {};
  // The caller waits for fresh key no longer than this, however long the KME would let it; zero or
  // less: not at all.
  std::optional<Duration> wait_max = {};
  // Names this call for DeliveryPort::Cancel; 0: it cannot be cancelled.
  uint64_t call = 0;
  // The identical request under the same key gets the identical answer (idempotency.h).
  std::optional<std::string> idempotency_key = {};
};

// Get key with key IDs (§5.3). The caller is the slave.
struct FetchRequest {
  SaeId caller;
  SaeId master;
  std::vector<KeyId> key_ids;
  std::optional<std::string> idempotency_key = {};  // As of a draw.
};

struct DeliveredKey {
  KeyId id = {};
  SecretBytes key;
};

struct KeyContainer {
  std::vector<DeliveredKey> keys;
};

// What status_extension tells beyond the standard: a text, a whole number, or texts by name.
using Fact = std::variant<std::string, uint64_t, std::map<std::string, std::string>>;

// "Which keys were drawn for me?" (ours; no such method in ETSI GS QKD 014.) The caller is the
// slave.
struct WatchRequest {
  // Where a watcher stands: the last entry that it saw, and the life of the list that gave it.
  struct Place {
    uint64_t life = 0;
    uint64_t number = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  SaeId caller;
  std::optional<Place> seen = {};  // Absent: from the oldest that is kept.
  uint64_t entries_max = 256;      // In one answer; at least 2.
  uint64_t call = 0;               // As in DrawRequest.
};
struct WatchEntry {
  // A gap: draws made at that KME (empty: at any) before this place in the list may be missing.
  std::optional<NodeId> gap_at = {};
  // Else a key that `master` drew for the caller.
  KeyId key_id = {};
  SaeId master;
  uint64_t size_bits = 0;
};
struct WatchAnswer {
  std::vector<WatchEntry> entries;  // At least one.
  WatchRequest::Place seen;         // Ask with this for what comes after.
};

// Table 9; sizes in bits.
struct PairStatus {
  NodeId source_kme;
  NodeId target_kme;
  SaeId master;
  SaeId slave;
  uint64_t key_size_bits = 0;
  uint64_t stored_key_count = 0;
  uint64_t max_key_count = 0;
  uint64_t max_key_per_request = 0;
  uint64_t max_key_size_bits = 0;
  uint64_t min_key_size_bits = 0;
  uint64_t max_sae_id_count = 0;
  std::map<std::string, Fact> extension = {};
};

// Why a request was refused; `message` is safe to show to the caller.
struct Refusal {
  enum class Kind {
    kBadRequest,  // REST 400, gRPC INVALID_ARGUMENT: can never succeed.
    kNotFound,    // REST 400, gRPC NOT_FOUND: unknown or used key_ID, or not held here for anyone.
    kUnauthorized,  // REST 401, gRPC PERMISSION_DENIED.
    kOtherRequest,  // REST 422, gRPC INVALID_ARGUMENT: the idempotency key is another request's.
    kUnavailable,   // REST 503, gRPC UNAVAILABLE: no key or no peer now; retry.
    kExhausted,     // REST 503, gRPC RESOURCE_EXHAUSTED: a limit.
    kInternal,      // REST 503, gRPC INTERNAL.
  };
  static constexpr Kind kKinds[] = {Kind::kBadRequest,   Kind::kNotFound,    Kind::kUnauthorized,
                                    Kind::kOtherRequest, Kind::kUnavailable, Kind::kExhausted,
                                    Kind::kInternal};
  // As metrics name it: "bad_request".
  static const char* NameOf(Kind kind);

  Kind kind = Kind::kInternal;
  std::string message;
  std::map<std::string, std::string> details = {};
  std::optional<Duration> retry_after = {};
};

template <typename T>
using Outcome = std::variant<T, Refusal>;

// What the front ends call; one implementation steps the core. Each callback runs exactly once,
// inside the call or later on any thread, and must not block; so no caller holds a lock that its
// callback takes. Thread-safe.
class DeliveryPort {
 public:
  virtual ~DeliveryPort() = default;
  virtual void Status(StatusRequest request, std::function<void(Outcome<PairStatus>)> done) = 0;
  virtual void Draw(DrawRequest request, std::function<void(Outcome<KeyContainer>)> done) = 0;
  virtual void Fetch(FetchRequest request, std::function<void(Outcome<KeyContainer>)> done) = 0;

  // Answers once there is at least one entry after the place of the request.
  virtual void Watch(WatchRequest request, std::function<void(Outcome<WatchAnswer>)> done) = 0;

  // A number for DrawRequest::call or WatchRequest::call that was never given before.
  virtual uint64_t NewCall() = 0;
  // Nobody waits for the answer to this call any more: if it has not drawn yet, it will not, and is
  // refused. Harmless after the answer.
  virtual void Cancel(uint64_t call) = 0;
};

// The texts that ETSI GS QKD 014 fixes.
inline constexpr char kSizeNotMultipleOf8[] = "size shall be a multiple of 8";
inline constexpr char kExtensionUnsupported[] =
    "not all extension_mandatory parameters are supported";
inline constexpr char kExtensionUnmet[] =
    "not all extension_mandatory request options could be met";
inline constexpr char kOptionalUnhandled[] = "not all extension_optional request options handled";
inline constexpr char kKeysNotFound[] = "one or more keys specified are not found on KME";

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_REQUEST_H_
