#include "trusted_node/daemon/grpc_servers.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/health_check_service_interface.h"
#include "kms/base/status_macros.h"
#include "trusted_node/daemon/checks.h"
#include "trusted_node/daemon/ports.h"

namespace keyhop {
namespace {

constexpr auto kShutdownGrace = std::chrono::seconds(2);
constexpr rlim_t kDescriptorsUsedMax = 1'000'000;

}  // namespace

int DescriptorsForClients() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  const int all = static_cast<int>(std::min(limit.rlim_cur, kDescriptorsUsedMax));
  return all - all / 8;
}

absl::Status GrpcServers::Add(Site site) {
  KEYHOP_RETURN_IF_ERROR(At(site.what, WaitForPort(site.address, site.port_wait)));
  auto listener = GrpcListener::Listen(site.address, limits_);
  if (!listener.ok()) return At(site.what, listener.status());
  KEYHOP_ASSIGN_OR_RETURN(const GrpcTls tls, GrpcTls::Create(site.files));
  grpc::ServerBuilder builder;
  site.configure(builder);
  (*listener)->AddTo(builder,
                     tls.Server(std::move(site.clients), rules_, std::move(site.on_refusal)));
  for (const Service& service : site.services) builder.RegisterService(service.service);
  Running running{*std::move(listener), builder.BuildAndStart()};
  if (running.server == nullptr) {
    return absl::UnavailableError(absl::StrCat(site.what, ": cannot serve at ", site.address));
  }
  if (auto* health = running.server->GetHealthCheckService(); health != nullptr) {
    for (const Service& service : site.services) health->SetServingStatus(service.name, true);
  }
  running.listener->Start();
  running_.push_back(std::move(running));
  return absl::OkStatus();
}

void GrpcServers::SayNotServing() {
  for (const Running& running : running_) {
    auto* const health = running.server->GetHealthCheckService();
    if (health != nullptr) health->SetServingStatus(false);
  }
}

void GrpcServers::Stop() {
  const auto deadline = std::chrono::system_clock::now() + kShutdownGrace;
  for (const Running& running : running_) running.listener->Stop();
  for (const Running& running : running_) running.server->Shutdown(deadline);
}

GrpcListenerCounts GrpcServers::counts() const {
  GrpcListenerCounts sum;
  for (const Running& running : running_) {
    const GrpcListenerCounts counts = running.listener->counts();
    sum.accepted += counts.accepted;
    sum.refused_over_limit += counts.refused_over_limit;
    sum.dropped_unfinished += counts.dropped_unfinished;
  }
  return sum;
}

}  // namespace keyhop
