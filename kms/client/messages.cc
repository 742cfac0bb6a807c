#include "kms/client/messages.h"

#include <utility>

#include "kms/core/uuid.h"

namespace keyhop {
namespace {

namespace pb = ::keyhop::delivery::v1;

void Add(const std::map<std::string, std::string>& extensions,
         google::protobuf::RepeatedPtrField<pb::ExtensionParameter>& out) {
  for (const auto& [name, json] : extensions) {
    pb::ExtensionParameter& parameter = *out.Add();
    parameter.set_name(name);
    parameter.set_value_json(json);
  }
}

}  // namespace

pb::KeyRequest ToMessage(const SaeId& slave, const DrawOptions& options) {
  pb::KeyRequest out;
  out.set_slave_sae_id(slave.value);
  out.set_number(options.number);
  if (options.size_bits.has_value()) out.set_size(*options.size_bits);
  for (const SaeId& sae : options.additional_slaves) out.add_additional_slave_sae_ids(sae.value);
  Add(options.extension_mandatory, *out.mutable_extension_mandatory());
  Add(options.extension_optional, *out.mutable_extension_optional());
  return out;
}

PairStatus FromMessage(const pb::Status& answer) {
  PairStatus out{.source_kme = NodeId(answer.source_kme_id()),
                 .target_kme = NodeId(answer.target_kme_id()),
                 .master = SaeId(answer.master_sae_id()),
                 .slave = SaeId(answer.slave_sae_id()),
                 .key_size_bits = answer.key_size(),
                 .stored_key_count = answer.stored_key_count(),
                 .max_key_count = answer.max_key_count(),
                 .max_key_per_request = answer.max_key_per_request(),
                 .max_key_size_bits = answer.max_key_size(),
                 .min_key_size_bits = answer.min_key_size(),
                 .max_sae_id_count = answer.max_sae_id_count()};
  for (const auto& [name, text] : answer.status_extension()) out.extension.emplace(name, text);
  return out;
}

absl::StatusOr<KeyContainer> TakeKeys(pb::KeyContainer& answer) {
  KeyContainer out;
  bool good = answer.keys_size() > 0;
  for (pb::Key& key : *answer.mutable_keys()) {
    const std::optional<KeyId> id = ParseUuid(key.key_id());
    good = good && id.has_value() && !key.key().empty();
    out.keys.push_back(
        {.id = id.value_or(KeyId{}),
         .key = SecretBytes::CopyOf(
             {reinterpret_cast<const uint8_t*>(key.key().data()), key.key().size()})});
    Cleanse(*key.mutable_key());
  }
  answer.Clear();
  if (!good) return absl::InternalError("the node's answer is not a key container");
  return out;
}

}  // namespace keyhop
