// Key streams of ETSI GS QKD 004.
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "keyhop/etsi004/v2/etsi004.grpc.pb.h"
#include "kms/ak/answer_writer.h"
#include "kms/cli/commands.h"
#include "kms/cli/exit_code.h"
#include "kms/cli/output.h"

namespace keyhop::cli {
namespace {

namespace pb = ::keyhop::etsi004::v2;

// What each status says; of ETSI GS QKD 004 V2.1.1.
const char* Meaning(uint32_t status) {
  switch (status) {
    case 0:
      return "successful";
    case 1:
      return "open; the other application has not called yet";
    case 2:
      return "insufficient key, or this chunk is gone";
    case 3:
      return "the other application has not called yet";
    case 4:
      return "no QKD connection";
    case 5:
      return "the stream's ID is in use";
    case 6:
      return "timeout";
    case 7:
      return "the QoS cannot be met";
    case 8:
      return "the room for metadata is too small";
    default:
      return "unknown";
  }
}

// 2, 3, 4 and 6 may be over the next time.
int ExitOf(uint32_t status) {
  if (status == 0 || status == 1) return kDone;
  return status == 2 || status == 3 || status == 4 || status == 6 ? kUnavailable : kRefused;
}

int Report(uint32_t status) {
  const int code = ExitOf(status);
  if (code != kDone) std::fprintf(stderr, "keyhop: status %u: %s\n", status, Meaning(status));
  return code;
}

std::string QosJson(const pb::Qos& qos) {
  return absl::StrCat("{\"chunk_bytes\":", qos.chunk_bytes(), ",\"max_bps\":", qos.max_bps(),
                      ",\"min_bps\":", qos.min_bps(), ",\"jitter_bps\":", qos.jitter_bps(),
                      ",\"priority\":", qos.priority(), ",\"timeout_ms\":", qos.timeout_ms(),
                      ",\"ttl_seconds\":", qos.ttl_seconds(), "}");
}

}  // namespace

int RunStreamOpen(const Options& options, const Connection& node) {
  pb::OpenConnectRequest request;
  request.set_source(options.stream_source);
  request.set_destination(options.stream_destination);
  request.set_key_stream_id(options.stream_id);
  pb::Qos& qos = *request.mutable_qos();
  qos.set_chunk_bytes(options.chunk_bytes);
  qos.set_max_bps(options.max_bps);
  qos.set_min_bps(options.min_bps);
  qos.set_jitter_bps(options.jitter_bps);
  qos.set_priority(options.priority);
  qos.set_timeout_ms(options.stream_timeout_ms);
  qos.set_ttl_seconds(options.ttl_s);
  if (options.metadata) qos.set_metadata_mimetype("application/json");
  pb::OpenConnectResponse answer;
  grpc::ClientContext context;
  node.SetDeadline(context);
  const grpc::Status status =
      pb::KeyStreams::NewStub(node.channel())->OpenConnect(&context, request, &answer);
  if (!status.ok()) return node.Finish(status, context);
  const pb::Qos& granted = answer.qos();
  if (options.json) {
    std::printf("{\"status\":%u,\"key_stream_id\":\"%s\",\"qos\":%s}\n", answer.status(),
                answer.key_stream_id().c_str(), QosJson(granted).c_str());
  } else if (ExitOf(answer.status()) == kDone) {
    std::printf("%s\n", answer.key_stream_id().c_str());
  } else if (answer.status() == 7) {
    std::printf("offered: %s\n", QosJson(granted).c_str());
  }
  return Report(answer.status());
}

int RunStreamGet(const Options& options, const Connection& node) {
  pb::GetKeyRequest request;
  request.set_key_stream_id(options.stream_id);
  request.set_index(options.stream_index);
  request.set_metadata_size(options.metadata_size);
  pb::GetKeyResponse answer;
  grpc::ClientContext context;
  node.SetDeadline(context);
  const grpc::Status status =
      pb::KeyStreams::NewStub(node.channel())->GetKey(&context, request, &answer);
  if (!status.ok()) return node.Finish(status, context);
  const auto* key_bytes = reinterpret_cast<const uint8_t*>(answer.key_buffer().data());
  const SecretBytes key = SecretBytes::CopyOf({key_bytes, answer.key_buffer().size()});
  Cleanse(*answer.mutable_key_buffer());
  SecretText text(key.size() * 2 + answer.metadata().size() + 256);
  if (options.json) {
    text.Append(absl::StrCat(
        "{\"status\":", answer.status(), ",\"index\":", answer.index(),
        ",\"next_index\":", answer.next_index(), ",\"metadata_size\":", answer.metadata_size(),
        ",\"metadata\":", answer.metadata().empty() ? "null" : answer.metadata(), ",\"key\":\""));
    text.AppendBase64(key);
    text.Append("\"}\n");
  } else if (answer.status() == 0) {
    text.AppendBase64(key);
    text.Append("\n");
  }
  if (!WriteAll(text.Expose(SecretAccess::ForDelivery()))) {
    std::perror("keyhop: cannot write the key to standard output");
    return kRefused;
  }
  return Report(answer.status());
}

int RunStreamClose(const Options& options, const Connection& node) {
  pb::CloseRequest request;
  request.set_key_stream_id(options.stream_id);
  pb::CloseResponse answer;
  grpc::ClientContext context;
  node.SetDeadline(context);
  const grpc::Status status =
      pb::KeyStreams::NewStub(node.channel())->Close(&context, request, &answer);
  if (!status.ok()) return node.Finish(status, context);
  if (options.json) std::printf("{\"status\":%u}\n", answer.status());
  return Report(answer.status());
}

}  // namespace keyhop::cli
