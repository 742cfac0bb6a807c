#include "trusted_node/daemon/daemon.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "kms/ak/grpc_service.h"
#include "kms/ak/rest_server.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"
#include "kms/crypto/os_entropy.h"
#include "kms/ks004/grpc_keystreams.h"
#include "kms/storage/rocks_store.h"
#include "kms/storage/sealed_store.h"
#include "kms/storage/secret_file.h"
#include "kms/tls/grpc_credentials.h"
#include "trusted_node/admin/admin_service.h"
#include "trusted_node/admin/ask_core.h"
#include "trusted_node/daemon/checks.h"
#include "trusted_node/daemon/core_loop.h"
#include "trusted_node/daemon/etsi004.h"
#include "trusted_node/daemon/grpc_reflection.h"
#include "trusted_node/daemon/grpc_servers.h"
#include "trusted_node/daemon/https_sites.h"
#include "trusted_node/daemon/node_config.h"
#include "trusted_node/daemon/node_machine.h"
#include "trusted_node/daemon/ports.h"
#include "trusted_node/daemon/refusal_log.h"
#include "trusted_node/daemon/store_log.h"
#include "trusted_node/kq1/kq1_server.h"
#include "trusted_node/kx/kx_exchange.h"
#include "trusted_node/telemetry/metrics.h"

namespace keyhop {
namespace {

using config::v1::Config;

constexpr int kExitStorage = 74;  // EX_IOERR

Instant MonotonicNow() {
  return {std::chrono::duration_cast<std::chrono::nanoseconds>(
              std::chrono::steady_clock::now().time_since_epoch())
              .count()};
}

absl::Status MakeStateDir(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);  // umask 077: mode 0700.
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("node.state_dir ", path, ": ", error.message()));
  }
  return absl::OkStatus();
}

void Log(absl::string_view line) { spdlog::info("{}", std::string(line)); }

}  // namespace

struct Daemon::Impl {
  Impl(const Config& c, const SecureHeap& h)
      : config(c),
        heap(h),
        rules(IdentityRules::From(c.identity())),
        refusals(static_cast<int>(c.log().refusals_max()), MonotonicNow) {}
  ~Impl() { Stop(); }

  absl::Status OpenTrust();
  absl::Status OpenStore();
  absl::Status MakeCore();
  absl::Status Listen();
  absl::Status StartHttps();
  // Lets tools ask what `site` serves.
  void AddReflection(GrpcServers::Site& site);
  // One gRPC listener; the first of `clients` is the kind whose trust store clients are told of.
  GrpcServers::Site Site(const char* what, const std::string& address,
                         const std::vector<CertificateKind>& clients);
  HttpsConfig HttpsFor(const char* what, const std::string& address, const std::string& client_ca,
                       CertificateKind clients);
  HttpsSite::Page Metrics();
  const std::string& CaOf(CertificateKind clients) const;
  absl::Status SwitchLink(const LinkId& link, bool up);
  absl::Status SwitchSae(const SaeId& sae, bool active);
  absl::Status SetQuota(const QuotaOf& of, const std::optional<Quota>& quota);
  void Stop();

  const Config config;
  const SecureHeap heap;
  const IdentityRules rules;
  const Instant started = MonotonicNow();
  OsEntropy entropy;
  DiskFileOps files;
  std::map<CertificateKind, std::shared_ptr<TrustFile>> trust;
  std::unique_ptr<GrpcPeers> peers;
  std::atomic<bool> ready = false;
  Mutex switching;  // A link, by an operator.
  RefusalLog refusals;

  // In the order of use; a later one may use those before it.
  std::unique_ptr<RocksStore> rocks;
  std::unique_ptr<SealedStore> sealed;
  std::unique_ptr<StoreLog> log;
  std::unique_ptr<CertificateAuthority> authority;
  std::unique_ptr<NodeMachine> machine;
  std::unique_ptr<KxExchange> kx;
  std::unique_ptr<CoreLoop> loop;
  std::unique_ptr<Kq1Server> kq1;
  std::unique_ptr<grpc::Service> delivery_service;
  std::unique_ptr<grpc::Service> keystream_service;
  std::unique_ptr<grpc::Service> admin_service;
  std::vector<std::unique_ptr<grpc::Service>> reflection_services;
  std::unique_ptr<GrpcServers> node_servers;    // Kx, Kq-1.
  std::unique_ptr<GrpcServers> client_servers;  // Ak, admin.
  std::unique_ptr<RestServer> rest;
  std::unique_ptr<SkipServer> skip;          // Null: off.
  std::unique_ptr<KeystreamServer> etsi004;  // Null: off.
  std::unique_ptr<HttpsSite> metrics;
};

absl::Status Daemon::Impl::OpenTrust() {
  const config::v1::Tls& tls = config.tls();
  KEYHOP_ASSIGN_OR_RETURN(const auto nodes, TrustFile::Open(tls.node_ca()));
  KEYHOP_ASSIGN_OR_RETURN(const auto saes, TrustFile::Open(tls.sae_ca()));
  KEYHOP_ASSIGN_OR_RETURN(const auto operators, TrustFile::Open(tls.operator_ca()));
  trust = {{CertificateKind::kNode, nodes},
           {CertificateKind::kModule, nodes},
           {CertificateKind::kSae, saes},
           {CertificateKind::kOperator, operators}};
  std::vector<ClientTrust> clients;
  for (const auto& [kind, store] : trust) clients.push_back({kind, store});
  peers = std::make_unique<GrpcPeers>(rules, std::move(clients));
  return absl::OkStatus();
}

absl::Status Daemon::Impl::OpenStore() {
  const std::string& dir = config.node().state_dir();
  KEYHOP_RETURN_IF_ERROR(MakeStateDir(dir));
  RocksStoreOptions rocks_options;
  rocks_options.path = dir + "/store";
  rocks_options.lock_wait = FromProto(config.node().start_retry_window());
  rocks_options.write_buffer_bytes = config.storage().cache_bytes() / 4;
  rocks_options.block_cache_bytes = config.storage().cache_bytes() / 2;
  auto opened = RocksStore::Open(rocks_options);
  if (!opened.ok()) return At("store", opened.status());
  rocks = *std::move(opened);
  SealedStoreOptions sealed_options;
  sealed_options.key_path = dir + "/store-key";
  KEYHOP_ASSIGN_OR_RETURN(sealed_options.kek, ReadKeyFile(config.node().kek_file(), 32));
  auto unsealed = SealedStore::Open(std::move(sealed_options), *rocks, files, entropy);
  if (!unsealed.ok()) return At("store key", unsealed.status());
  sealed = *std::move(unsealed);
  log = std::make_unique<StoreLog>(*sealed);
  return absl::OkStatus();
}

absl::Status Daemon::Impl::MakeCore() {
  KEYHOP_ASSIGN_OR_RETURN(authority, CertificateAuthority::Create(config));
  auto records = log->Recover();
  if (!records.ok()) return At("recovery", records.status());
  spdlog::info("recovered {} records", records->size());
  KEYHOP_ASSIGN_OR_RETURN(NodeConfig node, NodeConfigOf(config));
  auto core = NodeCore::Create(std::move(node), entropy, *authority, *std::move(records));
  if (!core.ok()) return At("core", core.status());
  machine = std::make_unique<NodeMachine>(*std::move(core));

  KEYHOP_ASSIGN_OR_RETURN(GrpcTls tls, GrpcTls::Create(FilesFor(config, config.tls().node_ca())));
  KxOptions kx_options;
  kx_options.self = NodeId(config.node().id());
  kx_options.neighbours = NeighboursOf(config);
  kx_options.limits.queue_bytes_max = config.relay().queue_bytes_max();
  kx_options.credentials = [this, tls](const NodeId& peer) {
    return tls.ChannelToNode(peer, rules, refusals.For("kx_dialling"));
  };
  kx_options.identify = [this](const grpc::AuthContext& context) {
    return peers->PeerNode(context);
  };
  kx_options.log = Log;
  kx = std::make_unique<KxExchange>(std::move(kx_options));

  CoreLoopOptions loop_options;
  loop_options.requests_pending_max = config.delivery().requests_pending_max();
  loop_options.on_storage_failure = [](const absl::Status& status) {
    // Memory is ahead of the disk: the next start recovers what is durable.
    spdlog::critical("a write failed, the process ends: {}", std::string(status.message()));
    spdlog::default_logger()->flush();
    _exit(kExitStorage);
  };
  loop_options.on_alarm = [](const AlarmRaised& alarm) {
    spdlog::warn("alarm {}: {}", alarm.kind, alarm.text);
  };
  loop = std::make_unique<CoreLoop>(*machine, *log, *kx, std::move(loop_options));

  Kq1Options kq1_options;
  kq1_options.links = Kq1LinksOf(config);
  const std::set<LinkId> down = machine->Snapshot(MonotonicNow()).links_down;
  for (Kq1Link& link : kq1_options.links) link.admin_up = !down.contains(link.id);
  kq1_options.identify = [this](const grpc::AuthContext& context) -> absl::StatusOr<std::string> {
    KEYHOP_ASSIGN_OR_RETURN(const ModuleId module, peers->PeerModule(context));
    return module.value;
  };
  kq1_options.log = Log;
  kq1 = std::make_unique<Kq1Server>(std::move(kq1_options));
  return absl::OkStatus();
}

const std::string& Daemon::Impl::CaOf(CertificateKind clients) const {
  if (clients == CertificateKind::kSae) return config.tls().sae_ca();
  return clients == CertificateKind::kOperator ? config.tls().operator_ca()
                                               : config.tls().node_ca();
}

GrpcServers::Site Daemon::Impl::Site(const char* what, const std::string& address,
                                     const std::vector<CertificateKind>& clients) {
  GrpcServers::Site site;
  site.what = what;
  site.address = address;
  site.port_wait = FromProto(config.node().start_retry_window());
  site.files = FilesFor(config, CaOf(clients.front()));
  for (const CertificateKind kind : clients) site.clients.push_back({kind, trust.at(kind)});
  site.on_refusal = refusals.For(what);
  return site;
}

void Daemon::Impl::AddReflection(GrpcServers::Site& site) {
  std::vector<std::string> names = {"grpc.health.v1.Health", kReflectionService};
  for (const GrpcServers::Service& service : site.services) names.emplace_back(service.name);
  reflection_services.push_back(MakeReflectionService(std::move(names)));
  site.services.push_back({reflection_services.back().get(), kReflectionService});
}

absl::Status Daemon::Impl::Listen() {
  const auto limits = [this](grpc::ServerBuilder& builder) {
    builder.SetMaxReceiveMessageSize(static_cast<int>(config.grpc().message_bytes_max()));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                               static_cast<int>(config.grpc().streams_per_connection_max()));
  };
  const GrpcPeerReader sae_of = [this](const grpc::ServerContextBase& context) {
    return peers->PeerSae(*context.auth_context());
  };
  delivery_service = MakeDeliveryGrpcService(*loop, sae_of);
  keystream_service = MakeKeystreamGrpcService(*loop, sae_of);
  AdminHooks hooks;
  hooks.check_operator = [this](const grpc::ServerContextBase& context) {
    const auto caller = peers->PeerOperator(*context.auth_context());
    return caller.ok() ? absl::OkStatus() : absl::PermissionDeniedError(caller.status().message());
  };
  hooks.set_link = [this](const LinkId& link, bool up) { return SwitchLink(link, up); };
  hooks.set_quota = [this](const QuotaOf& of, const std::optional<Quota>& quota) {
    return SetQuota(of, quota);
  };
  hooks.set_sae = [this](const SaeId& sae, bool active) { return SwitchSae(sae, active); };
  hooks.rotate_store_key = [this]() -> absl::StatusOr<uint64_t> {
    KEYHOP_RETURN_IF_ERROR(sealed->Rotate());
    const uint64_t number = sealed->store_key_number();
    spdlog::info("the store key was replaced: number {}", number);
    return number;
  };
  hooks.ready = [this] { return ready.load(); };
  hooks.version = kVersion;
  hooks.secure_heap = heap;
  hooks.started = started;
  hooks.now = MonotonicNow;
  admin_service = MakeAdminService(*loop, std::move(hooks));

  const config::v1::Listeners& at = config.listeners();
  GrpcListenerLimits listener;
  listener.descriptors_max = DescriptorsForClients();
  listener.unfinished_max = config.grpc().unfinished_connections_max();
  listener.handshake_timeout = std::chrono::milliseconds(
      FromProto(config.grpc().handshake_timeout()).ns / Duration::Millis(1).ns);
  node_servers = std::make_unique<GrpcServers>(rules, listener);
  client_servers = std::make_unique<GrpcServers>(rules, listener);

  const GrpcServers::Service delivery{delivery_service.get(), "keyhop.delivery.v1.KeyDelivery"};
  const GrpcServers::Service admin{admin_service.get(), "keyhop.admin.v1.Admin"};
  GrpcServers::Site kx_site = Site("kx", at.kx(), {CertificateKind::kNode});
  kx_site.services = {{kx->service(), "keyhop.kx.v1.Kx"}};
  kx_site.configure = KxExchange::Configure;
  GrpcServers::Site kq1_site = Site("kq1", at.kq1(), {CertificateKind::kModule});
  kq1_site.services = {{kq1->service(), "keyhop.kq1.v1.KeyManagerQ"}};
  kq1_site.configure = Kq1Server::Configure;
  // Operators find the admin API at the SAEs' address too: some know no other one of a node.
  GrpcServers::Site ak_site =
      Site("grpc", at.grpc(), {CertificateKind::kSae, CertificateKind::kOperator});
  ak_site.services = {delivery, {keystream_service.get(), "keyhop.etsi004.v2.KeyStreams"}, admin};
  ak_site.configure = limits;
  GrpcServers::Site admin_site = Site("admin", at.admin(), {CertificateKind::kOperator});
  admin_site.services = {admin};
  admin_site.configure = limits;
  for (GrpcServers::Site* site : {&kx_site, &kq1_site}) {
    KEYHOP_RETURN_IF_ERROR(node_servers->Add(std::move(*site)));
  }
  for (GrpcServers::Site* site : {&ak_site, &admin_site}) {
    if (config.grpc().reflection()) AddReflection(*site);
    KEYHOP_RETURN_IF_ERROR(client_servers->Add(std::move(*site)));
  }
  spdlog::info("listens: kx {}, kq1 {}, grpc {}, admin {}", at.kx(), at.kq1(), at.grpc(),
               at.admin());
  return StartHttps();
}

// The record first, then the modules, and one call after the other: both say the same at the end.
absl::Status Daemon::Impl::SwitchLink(const LinkId& link, bool up) {
  MutexLock lock(switching);
  KEYHOP_RETURN_IF_ERROR(AskCore<absl::Status>([&](auto done) {
                           loop->SwitchLink(link, up, std::move(done));
                         }).value_or(absl::UnavailableError(kCoreTooLate)));
  spdlog::info("link {}: {} by an operator", link.value, up ? "up" : "down");
  return kq1->SetLink(link, up);
}

absl::Status Daemon::Impl::SwitchSae(const SaeId& sae, bool active) {
  KEYHOP_RETURN_IF_ERROR(AskCore<absl::Status>([&](auto done) {
                           loop->SwitchSae(sae, active, std::move(done));
                         }).value_or(absl::UnavailableError(kCoreTooLate)));
  spdlog::info("SAE {}: {} by an operator", sae.value, active ? "resumed" : "suspended");
  return absl::OkStatus();
}

absl::Status Daemon::Impl::SetQuota(const QuotaOf& of, const std::optional<Quota>& quota) {
  KEYHOP_RETURN_IF_ERROR(AskCore<absl::Status>([&](auto done) {
                           loop->SetQuota(of, quota, std::move(done));
                         }).value_or(absl::UnavailableError(kCoreTooLate)));
  spdlog::info("quota of SAE {}{}{}: {} by an operator", of.sae.value,
               of.slave.empty() ? "" : " for ", of.slave.value, quota ? "set" : "taken back");
  return absl::OkStatus();
}

HttpsConfig Daemon::Impl::HttpsFor(const char* what, const std::string& address,
                                   const std::string& client_ca, CertificateKind clients) {
  HttpsConfig out = HttpsConfigOf(config, address, client_ca);
  out.read_certificate = [clients, rules = rules,
                          tell = refusals.For(what)](const std::string& der) {
    const absl::StatusOr<CertificateFacts> facts = ReadCertificate(der, "client certificate");
    absl::StatusOr<std::string> id = facts.ok() ? IdOf(clients, *facts, rules) : facts.status();
    if (!id.ok()) tell(std::string(id.status().message()));
    return id;
  };
  out.on_failed_handshake = refusals.For(what);
  return out;
}

absl::Status Daemon::Impl::StartHttps() {
  const config::v1::Listeners& at = config.listeners();
  const Duration window = FromProto(config.node().start_retry_window());
  KEYHOP_RETURN_IF_ERROR(At("rest", WaitForPort(at.rest(), window)));
  HttpsConfig https = HttpsFor("rest", at.rest(), config.tls().sae_ca(), CertificateKind::kSae);
  https.threads = RestThreads(config.rest());
  auto rest_server = RestServer::Start(std::move(https), *loop);
  if (!rest_server.ok()) return At("rest", rest_server.status());
  rest = *std::move(rest_server);
  spdlog::info("rest: listens at {}", at.rest());
  KEYHOP_ASSIGN_OR_RETURN(
      etsi004, StartKeystreamServer(
                   HttpsFor("etsi004", at.etsi004(), config.tls().sae_ca(), CertificateKind::kSae),
                   window, *loop));
  auto skip_server = StartSkip(
      config,
      HttpsFor("skip", config.skip().listen(), config.tls().sae_ca(), CertificateKind::kSae),
      [](const std::string& text) { spdlog::error("skip: {}", text); }, *loop);
  if (!skip_server.ok()) return At("skip", skip_server.status());
  skip = *std::move(skip_server);
  if (skip != nullptr)
    spdlog::info("skip: listens at {}, port {}", config.skip().listen(), skip->port());
  KEYHOP_RETURN_IF_ERROR(At("metrics", WaitForPort(at.metrics(), window)));
  auto site = HttpsSite::Start(
      HttpsFor("metrics", at.metrics(), config.tls().operator_ca(), CertificateKind::kOperator),
      [this](const std::string& path) -> HttpsSite::Page {
        if (path == "/metrics") return Metrics();
        if (path == "/health") {
          const bool up = ready;
          return {up ? 200 : 503, "text/plain; charset=utf-8", up ? "ready\n" : "not ready\n"};
        }
        return {404, "text/plain; charset=utf-8", "there are /metrics and /health\n"};
      });
  if (!site.ok()) return At("metrics", site.status());
  metrics = *std::move(site);
  spdlog::info("metrics: listens at {}", at.metrics());
  return absl::OkStatus();
}

HttpsSite::Page Daemon::Impl::Metrics() {
  auto answer = AskCore<NodeSnapshot>([&](auto done) { loop->AskSnapshot(std::move(done)); });
  if (!answer) return {503, "text/plain; charset=utf-8", "the core is busy\n"};
  NodeSnapshot snapshot = *std::move(answer);
  for (const auto& [peer, status] : kx->Status()) {
    snapshot.counters["kx_messages_dropped"] += status.dropped_messages;
    snapshot.counters["kx_messages_refused"] += status.refused_messages;
  }
  snapshot.counters["kq1_streams_refused"] += kq1->refused();
  for (const GrpcServers* servers : {client_servers.get(), node_servers.get()}) {
    const GrpcListenerCounts counts = servers->counts();
    snapshot.counters["grpc_connections_accepted"] += counts.accepted;
    snapshot.counters["grpc_connections_over_limit"] += counts.refused_over_limit;
    snapshot.counters["grpc_unfinished_connections_dropped"] += counts.dropped_unfinished;
  }
  for (const auto& [what, count] : refusals.counts()) {
    snapshot.counters[absl::StrCat("handshakes_refused_", what)] += count;
  }
  if (rest != nullptr) AddHttpsCounts("rest", rest->counts(), snapshot.counters);
  if (skip != nullptr) AddHttpsCounts("skip", skip->counts(), snapshot.counters);
  if (etsi004 != nullptr) AddCounts(*etsi004, snapshot);
  HttpsSite::Page page;
  page.text = MetricsText(snapshot, {kVersion, __VERSION__});
  return page;
}

void Daemon::Impl::Stop() {
  ready = false;
  for (GrpcServers* servers : {client_servers.get(), node_servers.get()}) {
    if (servers != nullptr) servers->SayNotServing();
  }
  // Those who ask first, while the core still answers; then the neighbours; then the core.
  if (rest != nullptr) rest->Stop();
  if (skip != nullptr) skip->Stop();
  if (etsi004 != nullptr) etsi004->Stop();
  if (metrics != nullptr) metrics->Stop();
  if (client_servers != nullptr) client_servers->Stop();
  if (kq1 != nullptr) kq1->Stop();
  if (kx != nullptr) kx->Stop();
  if (node_servers != nullptr) node_servers->Stop();
  if (loop != nullptr) loop->Stop();
  client_servers.reset();
  node_servers.reset();
  rest.reset();
  skip.reset();
  etsi004.reset();
  metrics.reset();
  if (sealed != nullptr) {
    if (const absl::Status closed = sealed->Close(); !closed.ok()) {
      spdlog::warn("the store key was not replaced: {}", std::string(closed.message()));
    }
  }
  loop.reset();
  sealed.reset();
  rocks.reset();
}

Daemon::Daemon(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Daemon::~Daemon() = default;

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const Config& config,
                                                      const SecureHeap& heap) {
  grpc::EnableDefaultHealthCheckService(true);
  auto impl = std::make_unique<Impl>(config, heap);
  KEYHOP_RETURN_IF_ERROR(impl->OpenTrust());
  KEYHOP_RETURN_IF_ERROR(impl->OpenStore());
  KEYHOP_RETURN_IF_ERROR(impl->MakeCore());
  impl->loop->Start();
  KEYHOP_RETURN_IF_ERROR(impl->Listen());
  impl->kq1->Start(*impl->loop);
  impl->kx->Start(*impl->loop);
  impl->ready = true;
  return std::unique_ptr<Daemon>(new Daemon(std::move(impl)));
}

void Daemon::Stop() { impl_->Stop(); }

absl::Status Daemon::ReloadTls() {
  KEYHOP_RETURN_IF_ERROR(CheckSecretFiles(impl_->config));
  absl::Status status = impl_->rest->ReloadTls();
  status.Update(impl_->metrics->ReloadTls());
  if (impl_->skip != nullptr) status.Update(impl_->skip->ReloadTls());
  if (impl_->etsi004 != nullptr) status.Update(impl_->etsi004->ReloadTls());
  return status;
}

}  // namespace keyhop
