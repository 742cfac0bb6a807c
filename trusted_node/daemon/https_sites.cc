#include "trusted_node/daemon/https_sites.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/config/config.h"
#include "kms/skip/entropy_device.h"
#include "trusted_node/daemon/checks.h"
#include "trusted_node/daemon/grpc_servers.h"
#include "trusted_node/daemon/ports.h"

namespace keyhop {
namespace {

SkipPeers SkipPeersOf(const config::v1::Skip& skip) {
  std::vector<SkipEncryptor> encryptors;
  for (const config::v1::SkipEncryptor& encryptor : skip.encryptors()) {
    const std::string& own = encryptor.local_system_id();
    encryptors.push_back({.sae = SaeId(encryptor.sae()),
                          .psk_identity = encryptor.psk_identity(),
                          .local_system_id = own.empty() ? skip.local_system_id() : own});
  }
  std::vector<SkipRemoteSystem> remotes;
  for (const config::v1::SkipRemoteSystem& remote : skip.remote_systems()) {
    SkipRemoteSystem& added = remotes.emplace_back(
        SkipRemoteSystem{.system_id = remote.system_id(), .sae = SaeId(remote.sae())});
    for (const std::string& sae : remote.encryptors()) added.encryptors.emplace_back(sae);
  }
  return {std::move(encryptors),
          std::move(remotes),
          {skip.advertise().begin(), skip.advertise().end()}};
}

}  // namespace

int RestThreads(const config::v1::Rest& rest) {
  if (rest.threads() > 0) return static_cast<int>(rest.threads());
  constexpr unsigned kThreadsMax = 8;
  // 0, where nobody knows how many processors there are.
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, kThreadsMax));
}

HttpsConfig HttpsConfigOf(const config::v1::Config& config, const std::string& address,
                          const std::string& client_ca) {
  HttpsConfig out;
  out.listen = address;
  out.tls = FilesFor(config, client_ca);
  out.tls_groups.assign(config.tls().groups().begin(), config.tls().groups().end());
  // The gRPC listeners need some descriptors too.
  const uint32_t share = static_cast<uint32_t>(std::max(4, DescriptorsForClients() / 2));
  const config::v1::Rest& limits = config.rest();
  out.admission = {.connections_max = std::min(limits.connections_max(), share - share / 4),
                   .address_connections_max = limits.connections_per_address_max(),
                   .caller_connections_max = limits.connections_per_sae_max(),
                   .requests_per_second = limits.requests_per_second_per_sae(),
                   .requests_burst = limits.requests_burst_per_sae()};
  out.handshakes_max = std::min(limits.handshakes_max(), share / 4);
  out.body_max_bytes = limits.body_bytes_max();
  out.header_max_bytes = limits.header_bytes_max();
  out.handshake_timeout = FromProto(limits.handshake_timeout());
  out.idle_timeout = FromProto(limits.idle_timeout());
  out.header_timeout = FromProto(limits.header_timeout());
  out.body_timeout = FromProto(limits.body_timeout());
  out.write_timeout = FromProto(limits.write_timeout());
  return out;
}

void AddHttpsCounts(const std::string& prefix, const HttpsCounts& counts,
                    std::map<std::string, uint64_t>& counters) {
  counters[prefix + "_connections_over_limit"] += counts.refused_over_limit;
  counters[prefix + "_handshakes_failed"] += counts.failed_handshakes;
  counters[prefix + "_handshakes_dropped"] += counts.dropped_handshakes;
  counters[prefix + "_requests_over_rate"] += counts.requests_over_rate;
  counters[prefix + "_timeouts"] += counts.timeouts;
  for (const auto& [status, count] : counts.answers) {
    counters[absl::StrCat(prefix, "_answers_", status)] += count;
  }
}

absl::StatusOr<std::unique_ptr<SkipServer>> StartSkip(
    const config::v1::Config& config, HttpsConfig https,
    const std::function<void(const std::string& text)>& tell, DeliveryPort& port) {
  const config::v1::Skip& skip = config.skip();
  if (skip.listen().empty()) return std::unique_ptr<SkipServer>();
  KEYHOP_RETURN_IF_ERROR(WaitForPort(skip.listen(), FromProto(config.node().start_retry_window())));
  PskSetUp psk;
  psk.cbc_suites = skip.cbc_suites();
  if (!skip.psk_file().empty()) {
    KEYHOP_ASSIGN_OR_RETURN(psk.keys,
                            PskFile::Open(skip.psk_file(), skip.psk_file_bytes_max(), tell));
  }
  std::unique_ptr<TrueRandom> random;
  if (!skip.entropy_device().empty()) {
    KEYHOP_ASSIGN_OR_RETURN(
        random, EntropyDevice::Open(skip.entropy_device(), skip.entropy_pool_bytes(), tell));
  }
  const SkipOptions options{.algorithm = skip.algorithm(),
                            .unavailable_status = static_cast<int>(skip.unavailable_status())};
  return SkipServer::Start(std::move(https), std::move(psk), SkipPeersOf(skip), options,
                           std::move(random), port);
}

absl::Status CheckSkipFiles(const config::v1::Skip& skip) {
  if (!skip.psk_file().empty()) {
    KEYHOP_RETURN_IF_ERROR(
        At("skip.psk_file",
           PskFile::Open(skip.psk_file(), skip.psk_file_bytes_max(), nullptr).status()));
  }
  if (skip.entropy_device().empty()) return absl::OkStatus();
  return At("skip.entropy_device", CheckEntropyDevice(skip.entropy_device()));
}

}  // namespace keyhop
