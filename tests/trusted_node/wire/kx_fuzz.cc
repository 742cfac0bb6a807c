// Whatever a neighbour sends is a well-formed message or refused; what is well formed says the same
// when it is sent on.
#include <cstdint>
#include <string>

#include "kms/base/check.h"
#include "trusted_node/wire/kx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  keyhop::kx::v1::KxMessage proto;
  if (!proto.ParseFromArray(data, static_cast<int>(size))) return 0;
  const absl::StatusOr<keyhop::KxMessage> message = keyhop::FromProto(proto);
  if (!message.ok()) return 0;
  const keyhop::kx::v1::KxMessage said = keyhop::ToProto(*message);
  const absl::StatusOr<keyhop::KxMessage> again = keyhop::FromProto(said);
  KEYHOP_CHECK(again.ok(), "what we say can be read");
  KEYHOP_CHECK(keyhop::ToProto(*again).SerializeAsString() == said.SerializeAsString(),
               "a second round trip changes nothing");
  return 0;
}
