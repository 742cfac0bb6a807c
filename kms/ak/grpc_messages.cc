#include "kms/ak/grpc_messages.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "keyhop/delivery/v1/delivery.pb.h"
#include "kms/ak/answer_writer.h"
#include "kms/ak/request_reader.h"
#include "kms/core/uuid.h"

namespace keyhop {

namespace pb = ::keyhop::delivery::v1;

DrawRequest ReadDraw(const pb::KeyRequest& request, SaeId caller) {
  DrawRequest draw{.caller = std::move(caller), .slave = SaeId(request.slave_sae_id())};
  if (request.has_number()) draw.number = request.number();
  if (request.has_size()) draw.size_bits = request.size();
  for (const std::string& id : request.additional_slave_sae_ids()) {
    draw.additional_slaves.emplace_back(id);
  }
  for (const auto& p : request.extension_mandatory()) {
    draw.extension_mandatory.push_back(ReadExtension(p.name(), p.value_json()));
  }
  for (const auto& p : request.extension_optional()) {
    draw.extension_optional.push_back(ReadExtension(p.name(), p.value_json()));
  }
  return draw;
}

void Fill(const PairStatus& status, pb::Status& out) {
  out.set_source_kme_id(status.source_kme.value);
  out.set_target_kme_id(status.target_kme.value);
  out.set_master_sae_id(status.master.value);
  out.set_slave_sae_id(status.slave.value);
  out.set_key_size(status.key_size_bits);
  out.set_stored_key_count(status.stored_key_count);
  out.set_max_key_count(status.max_key_count);
  out.set_max_key_per_request(status.max_key_per_request);
  out.set_max_key_size(status.max_key_size_bits);
  out.set_min_key_size(status.min_key_size_bits);
  out.set_max_sae_id_count(status.max_sae_id_count);
  for (const auto& [name, fact] : status.extension) {
    (*out.mutable_status_extension())[name] = FactText(fact);
  }
}

void Fill(const KeyContainer& container, pb::KeyContainer& out) {
  out.mutable_keys()->Reserve(static_cast<int>(container.keys.size()));
  for (const DeliveredKey& delivered : container.keys) {
    pb::Key& key = *out.add_keys();
    key.set_key_id(FormatUuid(delivered.id));
    const std::span<const uint8_t> bytes = delivered.key.Expose(SecretAccess::ForDelivery());
    key.set_key(bytes.data(), bytes.size());
  }
}

void CleanseKeys(pb::KeyContainer& container) {
  for (pb::Key& key : *container.mutable_keys()) Cleanse(*key.mutable_key());
}

std::optional<Duration> PatienceOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return std::nullopt;
  const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(
      deadline - std::chrono::system_clock::now());
  const Duration patience{left.count()};
  // A key that is drawn for a call whose time is up is lost.
  return patience - std::min(patience / 4, Duration::Millis(50));
}

}  // namespace keyhop
