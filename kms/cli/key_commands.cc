#include <cstdio>

#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/ak/answer_writer.h"
#include "kms/cli/commands.h"
#include "kms/cli/exit_code.h"
#include "kms/cli/output.h"
#include "kms/cli/table.h"
#include "kms/client/messages.h"
#include "kms/core/uuid.h"

namespace keyhop::cli {
namespace {

namespace pb = ::keyhop::delivery::v1;

SecretText HumanKeys(const KeyContainer& container) {
  size_t size = 128;
  for (const DeliveredKey& key : container.keys) size += kUuidTextSize + key.key.size() * 2 + 16;
  SecretText out(size);
  out.Append("KEY_ID                                BITS  KEY (BASE64)\n");
  for (const DeliveredKey& key : container.keys) {
    char bits[24];
    std::snprintf(bits, sizeof bits, "  %4zu  ", key.key.size() * 8);
    out.Append(FormatUuid(key.id));
    out.Append(bits);
    out.AppendBase64(key.key);
    out.Append("\n");
  }
  return out;
}

int PrintKeys(const Options& options, pb::KeyContainer& answer) {
  const absl::StatusOr<KeyContainer> container = TakeKeys(answer);
  if (!container.ok()) {
    std::fprintf(stderr, "keyhop: %s\n", std::string(container.status().message()).c_str());
    return kRefused;
  }
  SecretText text = options.json ? WriteKeyContainer(*container) : HumanKeys(*container);
  if (options.json) text.Append("\n");
  if (!WriteAll(text.Expose(SecretAccess::ForDelivery()))) {
    std::perror("keyhop: cannot write the keys to standard output");
    return kRefused;
  }
  return kDone;
}

void Prepare(const Options& options, const Connection& node, grpc::ClientContext& context) {
  node.SetDeadline(context);
  if (!options.idempotency_key.empty()) {
    context.AddMetadata("idempotency-key", options.idempotency_key);
  }
}

}  // namespace

int RunKeyGet(const Options& options, const Connection& node) {
  pb::KeyRequest request;
  request.set_slave_sae_id(options.sae);
  if (options.number.has_value()) request.set_number(*options.number);
  if (options.size_bits.has_value()) request.set_size(*options.size_bits);
  for (const std::string& sae : options.additional_slaves)
    request.add_additional_slave_sae_ids(sae);
  pb::KeyContainer answer;
  grpc::ClientContext context;
  Prepare(options, node, context);
  const grpc::Status status =
      pb::KeyDelivery::NewStub(node.channel())->GetKey(&context, request, &answer);
  if (!status.ok()) return node.Finish(status, context);
  return PrintKeys(options, answer);
}

int RunKeyFetch(const Options& options, const Connection& node) {
  pb::KeyIdsRequest request;
  request.set_master_sae_id(options.sae);
  for (const std::string& id : options.key_ids) request.add_key_ids()->set_key_id(id);
  pb::KeyContainer answer;
  grpc::ClientContext context;
  Prepare(options, node, context);
  const grpc::Status status =
      pb::KeyDelivery::NewStub(node.channel())->GetKeyWithKeyIds(&context, request, &answer);
  if (!status.ok()) return node.Finish(status, context);
  return PrintKeys(options, answer);
}

int RunPairStatus(const Options& options, const Connection& node) {
  pb::GetStatusRequest request;
  request.set_slave_sae_id(options.sae);
  pb::Status answer;
  grpc::ClientContext context;
  node.SetDeadline(context);
  const grpc::Status status =
      pb::KeyDelivery::NewStub(node.channel())->GetStatus(&context, request, &answer);
  if (!status.ok()) return node.Finish(status, context);
  Table table({{"source_KME_ID", "Your node"},
               {"target_KME_ID", "The slave's node"},
               {"master_SAE_ID", "Master (you)"},
               {"slave_SAE_ID", "Slave"},
               {"key_size", "Default key size, bits"},
               {"stored_key_count", "Keys at hand"},
               {"max_key_count", "Keys at hand, at most"},
               {"max_key_per_request", "Keys in one request, at most"},
               {"max_key_size", "Largest key, bits"},
               {"min_key_size", "Smallest key, bits"},
               {"max_SAE_ID_count", "Additional slaves, at most"}});
  table.Add({Cell::Text(answer.source_kme_id()), Cell::Text(answer.target_kme_id()),
             Cell::Text(answer.master_sae_id()), Cell::Text(answer.slave_sae_id()),
             Cell::Number(answer.key_size()), Cell::Number(answer.stored_key_count()),
             Cell::Number(answer.max_key_count()), Cell::Number(answer.max_key_per_request()),
             Cell::Number(answer.max_key_size()), Cell::Number(answer.min_key_size()),
             Cell::Number(answer.max_sae_id_count())});
  const bool tty = isatty(STDOUT_FILENO) == 1;
  std::fputs((options.json ? table.JsonObject() : table.HumanList(tty)).c_str(), stdout);
  return kDone;
}

}  // namespace keyhop::cli
