#include "kms/ks004/codec.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

constexpr size_t kMimetypeBytes = 256;  // Dialect A: padded to this; B: at most, with its NUL.
constexpr size_t kUriBytesMax = 2048;

std::array<uint8_t, 3> VersionOf(Dialect dialect) {
  if (dialect == Dialect::kA) return {1, 0, 1};
  return {2, 1, 1};
}

// Reads a payload from the front and remembers whether it ever fell short.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  uint32_t U32() {
    uint32_t value = 0;
    for (const uint8_t byte : Take(4)) value = value << 8 | byte;
    return value;
  }
  KeyId Id() {
    KeyId id = {};
    const auto bytes = Take(id.size());
    std::copy(bytes.begin(), bytes.end(), id.begin());
    return id;
  }
  // Up to a NUL, which is read too.
  std::string Text(size_t most) {
    const auto end = std::find(bytes_.begin(), bytes_.end(), uint8_t{0});
    const size_t size = static_cast<size_t>(end - bytes_.begin());
    if (end == bytes_.end() || size > most) {
      good_ = false;
      return "";
    }
    const auto bytes = Take(size + 1);
    return {bytes.begin(), bytes.end() - 1};
  }
  // A field of `width` bytes, filled up with NULs.
  std::string Padded(size_t width) {
    const auto bytes = Take(width);
    const auto end = std::find(bytes.begin(), bytes.end(), uint8_t{0});
    good_ = good_ && std::all_of(end, bytes.end(), [](uint8_t b) { return b == 0; });
    return {bytes.begin(), end};
  }
  void Skip(size_t count) { Take(count); }
  // All was there, and nothing is left.
  bool whole() const { return good_ && bytes_.empty(); }

 private:
  std::span<const uint8_t> Take(size_t count) {
    if (count > bytes_.size()) {
      good_ = false;
      bytes_ = {};
      return {};
    }
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  std::span<const uint8_t> bytes_;
  bool good_ = true;
};

// Writes a message of a size that is known beforehand, so that no copy of a key is left behind.
class Writer {
 public:
  Writer(Dialect dialect, Service service, size_t payload) : out_(kHeaderBytes + payload) {
    Bytes(VersionOf(dialect));
    const uint8_t code[] = {static_cast<uint8_t>(service)};
    Bytes(code);
    U32(static_cast<uint32_t>(payload));
  }
  Writer& U32(uint32_t value) {
    const uint8_t bytes[] = {static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
                             static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
    return Bytes(bytes);
  }
  Writer& Bytes(std::span<const uint8_t> bytes) {
    const auto out = out_.ExposeMutable(SecretAccess::ForDelivery());
    std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += bytes.size();
    return *this;
  }
  Writer& Text(const std::string& text) {
    return Bytes({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  Writer& Nuls(size_t count) {
    at_ += count;  // They are there already.
    return *this;
  }
  SecretBytes Take() { return std::move(out_); }

 private:
  SecretBytes out_;
  size_t at_ = 0;
};

absl::Status Malformed(const char* what) { return absl::InvalidArgumentError(what); }

}  // namespace

absl::StatusOr<StreamHeader> ParseStreamHeader(std::span<const uint8_t, kHeaderBytes> bytes) {
  StreamHeader header;
  const std::array<uint8_t, 3> version = {bytes[0], bytes[1], bytes[2]};
  if (version == VersionOf(Dialect::kA)) {
    header.dialect = Dialect::kA;
  } else if (version == VersionOf(Dialect::kB)) {
    header.dialect = Dialect::kB;
  } else {
    return Malformed("a version that is neither 1.0.1 nor 2.1.1");
  }
  header.service = static_cast<Service>(bytes[3]);
  if (header.service != Service::kOpenRequest && header.service != Service::kGetRequest &&
      header.service != Service::kCloseRequest) {
    return Malformed("a service that is no request");
  }
  for (size_t i = 4; i < kHeaderBytes; ++i) {
    header.payload_bytes = header.payload_bytes << 8 | bytes[i];
  }
  if (header.payload_bytes > kPayloadBytesMax) return Malformed("a payload over 16 KiB");
  return header;
}

absl::StatusOr<StreamMessageIn> ParseStreamMessage(const StreamHeader& header,
                                                   std::span<const uint8_t> payload) {
  Reader in(payload);
  StreamMessageIn out;
  if (header.service == Service::kOpenRequest) {
    OpenMessage open;
    open.source = in.Text(kUriBytesMax);
    open.destination = in.Text(kUriBytesMax);
    KeystreamQos& q = open.qos;
    for (uint32_t* field : {&q.chunk_bytes, &q.max_bps, &q.min_bps, &q.jitter_bps, &q.priority,
                            &q.timeout_ms, &q.ttl_s}) {
      *field = in.U32();
    }
    q.metadata_mimetype =
        header.dialect == Dialect::kA ? in.Padded(kMimetypeBytes) : in.Text(kMimetypeBytes - 1);
    const KeyId id = in.Id();
    if (id != KeyId{}) open.id = id;
    out = std::move(open);
  } else if (header.service == Service::kGetRequest) {
    GetMessage get;
    get.id = in.Id();
    get.index = in.U32();
    get.metadata_bytes_max = in.U32();
    if (header.dialect == Dialect::kB) in.Skip(get.metadata_bytes_max);
    out = get;
  } else if (header.service == Service::kCloseRequest) {
    out = CloseMessage{in.Id()};
  } else {
    return Malformed("a service that is no request");
  }
  if (!in.whole()) return Malformed("a payload that is too short, too long or has no end of text");
  return out;
}

SecretBytes WriteOpenResponse(Dialect dialect, const KeystreamAnswer& answer) {
  KeystreamStatus status = answer.status;
  // Clients of A read the ID with 0 and 7 only.
  if (dialect == Dialect::kA && status == KeystreamStatus::kPeerNotConnected) {
    status = KeystreamStatus::kSuccessful;
  }
  const bool with_rest = dialect == Dialect::kB || status == KeystreamStatus::kSuccessful ||
                         status == KeystreamStatus::kQosNotMet;
  const KeystreamQos& q = answer.qos;
  // 256 bytes have room for a text of 255 and its end.
  const std::string mimetype = q.metadata_mimetype.substr(0, kMimetypeBytes - 1);
  const size_t text = dialect == Dialect::kA ? kMimetypeBytes : mimetype.size() + 1;
  Writer out(dialect, Service::kOpenResponse, 4 + (with_rest ? 7 * 4 + text + 16 : 0));
  out.U32(static_cast<uint32_t>(status));
  if (!with_rest) return out.Take();
  for (const uint32_t field :
       {q.chunk_bytes, q.max_bps, q.min_bps, q.jitter_bps, q.priority, q.timeout_ms, q.ttl_s}) {
    out.U32(field);
  }
  return out.Text(mimetype).Nuls(text - mimetype.size()).Bytes(answer.id).Take();
}

SecretBytes WriteGetResponse(Dialect dialect, const KeystreamAnswer& answer) {
  const bool good = answer.status == KeystreamStatus::kSuccessful;
  const bool small = answer.status == KeystreamStatus::kMetadataTooSmall;
  const uint32_t status = static_cast<uint32_t>(answer.status);
  if (dialect == Dialect::kA && !good) {
    Writer out(dialect, Service::kGetResponse, small ? 8 : 4);
    out.U32(status);
    if (small) out.U32(answer.metadata_bytes_needed);
    return out.Take();
  }
  // B with status 8: as many NULs as metadata would take, so that its length says what is needed.
  const size_t metadata = small ? answer.metadata_bytes_needed : answer.metadata.size();
  Writer out(dialect, Service::kGetResponse, 16 + answer.key.size() + metadata);
  out.U32(status).U32(answer.index).U32(static_cast<uint32_t>(answer.key.size()));
  out.Bytes(answer.key.Expose(SecretAccess::ForDelivery()));
  out.U32(static_cast<uint32_t>(metadata));
  if (!small) out.Text(answer.metadata);
  return out.Take();
}

SecretBytes WriteCloseResponse(Dialect dialect, KeystreamStatus status) {
  return Writer(dialect, Service::kCloseResponse, 4).U32(static_cast<uint32_t>(status)).Take();
}

SecretBytes WriteErrorMessage(Dialect dialect) {
  return Writer(dialect, Service::kError, 0).Take();
}

}  // namespace keyhop
