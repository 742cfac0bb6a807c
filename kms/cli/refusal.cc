#include "kms/cli/refusal.h"

#include <string>

#include "keyhop/rpc/v1/error_details.pb.h"
#include "kms/ak/target.h"

namespace keyhop::cli {
namespace {

namespace rpc = ::keyhop::rpc::v1;

constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";

// gRPC hands over the bytes of a message as they came.
std::string WellFormed(std::string text) {
  if (IsUtf8(text)) return text;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return text;
}

}  // namespace

Refusal RefusalOf(const grpc::Status& status) {
  Refusal refusal{.message = WellFormed(status.error_message())};
  rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return refusal;
  for (const google::protobuf::Any& detail : rich.details()) {
    rpc::ErrorInfo info;
    if (detail.type_url() != kErrorInfoUrl || !info.ParseFromString(detail.value())) continue;
    refusal.details.insert(info.metadata().begin(), info.metadata().end());
  }
  return refusal;
}

}  // namespace keyhop::cli
