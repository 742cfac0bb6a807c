#ifndef KEYHOP_KMS_KS004_CODEC_H_
#define KEYHOP_KMS_KS004_CODEC_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/keystream/request.h"

// The two binary forms of ETSI GS QKD 004 that clients speak over TLS. The standard fixes none;
// they differ in details and are told apart by the version in each message. A message is a header
// of 8 bytes (version, 3; service, 1; length of the payload, 4) and its payload; all integers are
// big-endian. docs/etsi004.md lays them out.

namespace keyhop {

enum class Dialect : uint8_t {
  kA,  // Version 1.0.1.
  kB,  // Version 2.1.1.
};
enum class Service : uint8_t {
  kError = 0x00,
  kOpenRequest = 0x02,
  kOpenResponse = 0x03,
  kGetRequest = 0x04,
  kGetResponse = 0x05,
  kCloseRequest = 0x08,
  kCloseResponse = 0x09,
};
inline constexpr size_t kHeaderBytes = 8;
// Of a request's payload: two URIs, QoS and ID, or the metadata that a client sends along.
inline constexpr size_t kPayloadBytesMax = 16 * 1024;

struct StreamHeader {
  Dialect dialect = Dialect::kA;
  Service service = Service::kError;
  uint32_t payload_bytes = 0;
};

// INVALID_ARGUMENT: a version or service that is not served here, or a payload over the limit.
absl::StatusOr<StreamHeader> ParseStreamHeader(std::span<const uint8_t, kHeaderBytes> bytes);

// As it stands in an OPEN_CONNECT: URIs say whom a stream joins.
struct OpenMessage {
  std::string source;
  std::string destination;
  KeystreamQos qos = {};
  std::optional<KeyId> id = {};
};
struct GetMessage {
  KeyId id = {};
  uint32_t index = 0;
  uint32_t metadata_bytes_max = 0;
};
struct CloseMessage {
  KeyId id = {};
};
using StreamMessageIn = std::variant<OpenMessage, GetMessage, CloseMessage>;

// Reads a payload whole. INVALID_ARGUMENT for one that is too short or has bytes over, for a text
// without its end, and for a service that is no request.
absl::StatusOr<StreamMessageIn> ParseStreamMessage(const StreamHeader& header,
                                                   std::span<const uint8_t> payload);

// Whole messages, header included.
SecretBytes WriteOpenResponse(Dialect dialect, const KeystreamAnswer& answer);
SecretBytes WriteGetResponse(Dialect dialect, const KeystreamAnswer& answer);
SecretBytes WriteCloseResponse(Dialect dialect, KeystreamStatus status);
SecretBytes WriteErrorMessage(Dialect dialect);

}  // namespace keyhop

#endif  // KEYHOP_KMS_KS004_CODEC_H_
