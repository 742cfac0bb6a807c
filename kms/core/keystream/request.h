#ifndef KEYHOP_KMS_CORE_KEYSTREAM_REQUEST_H_
#define KEYHOP_KMS_CORE_KEYSTREAM_REQUEST_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "kms/base/secret_bytes.h"
#include "kms/core/delivery/request.h"
#include "kms/core/types.h"

// The calls of ETSI GS QKD 004 V2.1.1 without their transport. `caller` always comes from the
// client certificate, never from a URI.

namespace keyhop {

// Status codes 0 to 8, numbered as there. What has no code is a Refusal.
enum class KeystreamStatus : uint8_t {
  kSuccessful = 0,
  kPeerNotConnected = 1,  // OPEN_CONNECT: made, the other application has not called yet.
  kInsufficientKey = 2,
  kPeerNotYetConnected = 3,  // GET_KEY.
  kNoConnection = 4,
  kIdInUse = 5,
  kTimeout = 6,
  kQosNotMet = 7,
  kMetadataTooSmall = 8,
};

// Table 2. 0, or empty, says no wish: the KME's default is granted.
struct KeystreamQos {
  uint32_t chunk_bytes = 0;
  uint32_t max_bps = 0;
  uint32_t min_bps = 0;
  uint32_t jitter_bps = 0;
  uint32_t priority = 0;  // The higher, the earlier (our choice).
  uint32_t timeout_ms = 0;
  uint32_t ttl_s = 0;
  std::string metadata_mimetype = {};
  friend bool operator==(const KeystreamQos&, const KeystreamQos&) = default;
};
inline constexpr uint64_t kKeystreamIndices = uint64_t{1} << 32;  // An index has 32 bits.
inline constexpr char kMetadataJson[] = "application/json";

struct KeystreamOpen {
  SaeId caller;
  SaeId source;
  SaeId destination;
  KeystreamQos qos = {};
  std::optional<KeyId> id = {};  // Absent: the KME makes one.
  // With status 7 the stream is opened all the same, with the QoS that is offered.
  bool take_counter_offer = false;
};
struct KeystreamGet {
  SaeId caller;
  KeyId id = {};
  uint32_t index = 0;
  uint32_t metadata_bytes_max = 0;  // 0: no metadata is wanted.
};
struct KeystreamClose {
  SaeId caller;
  KeyId id = {};
};
using KeystreamRequest = std::variant<KeystreamOpen, KeystreamGet, KeystreamClose>;

// What belongs to another call is empty.
struct KeystreamAnswer {
  KeystreamStatus status = KeystreamStatus::kSuccessful;
  KeyId id = {};
  KeystreamQos qos = {};  // OPEN_CONNECT: what is honoured; with status 7 what could be.
  uint32_t index = 0;     // GET_KEY.
  // GET_KEY: all indices below were drawn; one that is asked for in vain is gone if it is below,
  // and not there yet if it is not.
  uint64_t next_index = 0;
  SecretBytes key = {};                // GET_KEY, only with status 0.
  std::string metadata = {};           // GET_KEY: JSON with `age` (ms) and `hops`.
  uint32_t metadata_bytes_needed = 0;  // GET_KEY, status 8.
};

// What the front ends call. The callback runs exactly once, inside the call or later on any thread,
// and must not block. Refusals: kNotFound for a stream that is not here or closed, kUnauthorized
// for a caller who is neither source nor destination or not at home here, kExhausted for a limit.
// Thread-safe.
class KeystreamPort {
 public:
  virtual ~KeystreamPort() = default;
  virtual void Keystream(KeystreamRequest request,
                         std::function<void(Outcome<KeystreamAnswer>)> done) = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_KEYSTREAM_REQUEST_H_
