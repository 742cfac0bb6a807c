#include "trusted_node/admin/admin_service.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "keyhop/admin/v1/admin.grpc.pb.h"
#include "trusted_node/admin/ask_core.h"
#include "trusted_node/admin/topology.h"
#include "trusted_node/admin/workers.h"

namespace keyhop {
namespace {

using Context = grpc::CallbackServerContext;
using Reactor = grpc::ServerUnaryReactor;

constexpr size_t kWorkers = 2;
constexpr size_t kCallsWaitingMax = 64;

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

// Whether `node` told by link state that its end of the link is up.
bool SaysUp(const NodeSnapshot& snapshot, const NodeId& node, const LinkId& id) {
  for (const LinkState& state : snapshot.database) {
    if (state.origin != node) continue;
    return std::any_of(state.links.begin(), state.links.end(),
                       [&](const LinkAdvert& link) { return link.link == id && link.up; });
  }
  return false;
}

void Fill(google::protobuf::Duration& out, Duration duration) {
  out.set_seconds(duration.ns / 1'000'000'000);
  out.set_nanos(static_cast<int32_t>(duration.ns % 1'000'000'000));
}

void FillQuota(const QuotaOf& of, const Quota& quota, bool by_operator, admin::v1::Quota& out) {
  out.set_sae_id(of.sae.value);
  out.set_slave_sae_id(of.slave.value);
  out.mutable_limits()->set_keys_per_second(quota.keys_per_s);
  out.mutable_limits()->set_bits_per_second(quota.bits_per_s);
  Fill(*out.mutable_limits()->mutable_burst(), quota.burst);
  out.mutable_limits()->set_share(quota.share);
  out.set_by_operator(by_operator);
}

// The core checks it. What is longer than any burst stays that.
Quota QuotaOfProto(const admin::v1::QuotaLimits& in) {
  Quota out;
  out.keys_per_s = in.keys_per_second();
  out.bits_per_s = in.bits_per_second();
  if (in.has_burst()) {
    const int64_t seconds = std::clamp<int64_t>(in.burst().seconds(), 0, 1'000'000);
    out.burst = Duration::Seconds(seconds) + Duration{in.burst().nanos()};
  }
  if (in.share() > 0) out.share = in.share();
  return out;
}

// The methods, each of which may block.
class AdminCalls {
 public:
  AdminCalls(NodePort& port, AdminHooks hooks) : port_(port), hooks_(std::move(hooks)) {}

  grpc::Status GetStatus(Context* context, const admin::v1::GetStatusRequest*,
                         admin::v1::GetStatusResponse* response) {
    std::optional<NodeSnapshot> snapshot;
    if (auto status = Ask(*context, snapshot); !status.ok()) return status;
    response->set_node_id(snapshot->self.value);
    response->set_version(hooks_.version);
    Fill(*response->mutable_uptime(), hooks_.now() - hooks_.started);
    response->set_secure_heap_locked(hooks_.secure_heap.locked);
    response->set_secure_heap_bytes(hooks_.secure_heap.size_bytes);
    response->set_secure_heap_used_bytes(SecureHeapUsedBytes());
    response->set_ready(hooks_.ready());
    return grpc::Status::OK;
  }

  grpc::Status ListNodes(Context* context, const admin::v1::ListNodesRequest*,
                         admin::v1::ListNodesResponse* response) {
    std::optional<NodeSnapshot> snapshot;
    if (auto status = Ask(*context, snapshot); !status.ok()) return status;
    const auto hops = HopsFrom(snapshot->self, snapshot->database);
    for (const LinkState& state : snapshot->database) {
      admin::v1::Node& node = *response->add_nodes();
      node.set_id(state.origin.value);
      node.set_self(state.origin == snapshot->self);
      const auto it = hops.find(state.origin);
      node.set_reachable(it != hops.end());
      if (it != hops.end()) node.set_hops(it->second);
      for (const SaeAdvert& sae : state.saes) node.add_sae_ids(sae.sae.value);
    }
    return grpc::Status::OK;
  }

  grpc::Status ListLinks(Context* context, const admin::v1::ListLinksRequest*,
                         admin::v1::ListLinksResponse* response) {
    std::optional<NodeSnapshot> snapshot;
    if (auto status = Ask(*context, snapshot); !status.ok()) return status;
    for (const auto& [id, link] : snapshot->links) FillLink(*snapshot, id, *response->add_links());
    return grpc::Status::OK;
  }

  grpc::Status ListPools(Context* context, const admin::v1::ListPoolsRequest*,
                         admin::v1::ListPoolsResponse* response) {
    std::optional<NodeSnapshot> snapshot;
    if (auto status = Ask(*context, snapshot); !status.ok()) return status;
    for (const PoolLevels& levels : snapshot->pools) {
      admin::v1::Pool& pool = *response->add_pools();
      pool.set_source_id(levels.stream.source.value);
      pool.set_destination_id(levels.stream.destination.value);
      pool.set_paths(levels.stream.paths);
      pool.set_epoch(levels.epoch);
      pool.set_at_hand_bytes(levels.open_bytes);
      pool.set_target_bytes(levels.target_bytes);
      pool.set_fill_rate_bytes_per_second(static_cast<double>(levels.refill_bytes_per_s));
      for (const NodeId& node : levels.last_path) pool.add_last_path(node.value);
    }
    return grpc::Status::OK;
  }

  grpc::Status SetLink(Context* context, const admin::v1::SetLinkRequest* request,
                       admin::v1::SetLinkResponse* response) {
    std::optional<NodeSnapshot> snapshot;
    if (auto status = Ask(*context, snapshot); !status.ok()) return status;
    const LinkId id(request->id());
    if (!snapshot->links.contains(id)) {
      return {grpc::StatusCode::NOT_FOUND,
              absl::StrCat("no link '", request->id(), "' at node ", snapshot->self.value)};
    }
    if (const absl::Status set = hooks_.set_link(id, request->up()); !set.ok()) {
      return ToGrpc(set);
    }
    if (auto status = Ask(*context, snapshot); !status.ok()) return status;
    FillLink(*snapshot, id, *response->mutable_link());
    return grpc::Status::OK;
  }

  grpc::Status SetSae(Context* context, const admin::v1::SetSaeRequest* request,
                      admin::v1::SetSaeResponse* response) {
    if (const absl::Status who = hooks_.check_operator(*context); !who.ok()) return ToGrpc(who);
    const absl::Status set = hooks_.set_sae(SaeId(request->id()), !request->suspended());
    if (!set.ok()) return ToGrpc(set);
    response->set_id(request->id());
    response->set_suspended(request->suspended());
    return grpc::Status::OK;
  }

  grpc::Status ListQuotas(Context* context, const admin::v1::ListQuotasRequest*,
                          admin::v1::ListQuotasResponse* response) {
    std::optional<NodeSnapshot> snapshot;
    if (auto status = Ask(*context, snapshot); !status.ok()) return status;
    for (const auto& [of, quota] : snapshot->quotas) {
      FillQuota(of, quota.first, quota.second, *response->add_quotas());
    }
    return grpc::Status::OK;
  }

  grpc::Status SetQuota(Context* context, const admin::v1::SetQuotaRequest* request,
                        admin::v1::SetQuotaResponse* response) {
    if (const absl::Status who = hooks_.check_operator(*context); !who.ok()) return ToGrpc(who);
    const QuotaOf of{SaeId(request->sae_id()), SaeId(request->slave_sae_id())};
    std::optional<Quota> quota;
    if (request->has_limits()) quota = QuotaOfProto(request->limits());
    if (const absl::Status set = hooks_.set_quota(of, quota); !set.ok()) return ToGrpc(set);
    std::optional<NodeSnapshot> snapshot;
    if (auto status = Ask(*context, snapshot); !status.ok()) return status;
    const auto stands = snapshot->quotas.find(of);
    if (stands == snapshot->quotas.end()) return grpc::Status::OK;
    FillQuota(of, stands->second.first, stands->second.second, *response->mutable_quota());
    return grpc::Status::OK;
  }

  grpc::Status RotateStoreKey(Context* context, const admin::v1::RotateStoreKeyRequest*,
                              admin::v1::RotateStoreKeyResponse* response) {
    if (const absl::Status who = hooks_.check_operator(*context); !who.ok()) return ToGrpc(who);
    const Instant began = hooks_.now();
    const absl::StatusOr<uint64_t> number = hooks_.rotate_store_key();
    if (!number.ok()) return ToGrpc(number.status());
    response->set_store_key_number(*number);
    Fill(*response->mutable_took(), hooks_.now() - began);
    return grpc::Status::OK;
  }

 private:
  // Checks the caller, then waits for the core's snapshot.
  grpc::Status Ask(const Context& context, std::optional<NodeSnapshot>& out) {
    if (const absl::Status who = hooks_.check_operator(context); !who.ok()) return ToGrpc(who);
    out = AskCore<NodeSnapshot>([&](auto done) { port_.AskSnapshot(std::move(done)); });
    if (!out) return {grpc::StatusCode::UNAVAILABLE, kCoreTooLate};
    return grpc::Status::OK;
  }

  void FillLink(const NodeSnapshot& snapshot, const LinkId& id, admin::v1::Link& out) const {
    const auto& [peer, levels] = snapshot.links.at(id);
    const auto connected = snapshot.peers.find(peer);
    out.set_id(id.value);
    out.set_peer_id(peer.value);
    const bool admin_up = !snapshot.links_down.contains(id);
    out.set_up(admin_up && levels.session_open && connected != snapshot.peers.end() &&
               connected->second && SaysUp(snapshot, peer, id));
    out.set_admin_up(admin_up);
    out.set_session_open(levels.session_open);
    out.set_qber(static_cast<double>(levels.qber_ppm) / 1e6);
    out.set_key_rate_bps(static_cast<double>(levels.rate_bps));
    out.set_free_pad_send_bytes(levels.send_open_bytes + levels.stock_bytes / 2);
    out.set_free_pad_receive_bytes(levels.receive_open_bytes + levels.stock_bytes / 2);
    out.set_module_up(levels.module_up);
  }

  NodePort& port_;
  const AdminHooks hooks_;
};

class AdminService final : public admin::v1::Admin::CallbackService {
 public:
  AdminService(NodePort& port, AdminHooks hooks) : calls_(port, std::move(hooks)) {}

#define KEYHOP_ADMIN_CALL(Method)                                                          \
  Reactor* Method(Context* context, const admin::v1::Method##Request* request,             \
                  admin::v1::Method##Response* response) override {                        \
    return Run(*context, [=, this] { return calls_.Method(context, request, response); }); \
  }
  KEYHOP_ADMIN_CALL(GetStatus)
  KEYHOP_ADMIN_CALL(ListNodes)
  KEYHOP_ADMIN_CALL(ListLinks)
  KEYHOP_ADMIN_CALL(ListPools)
  KEYHOP_ADMIN_CALL(SetLink)
  KEYHOP_ADMIN_CALL(SetSae)
  KEYHOP_ADMIN_CALL(ListQuotas)
  KEYHOP_ADMIN_CALL(SetQuota)
  KEYHOP_ADMIN_CALL(RotateStoreKey)
#undef KEYHOP_ADMIN_CALL

 private:
  Reactor* Run(Context& context, std::function<grpc::Status()> call) {
    Reactor* const reactor = context.DefaultReactor();
    if (!workers_.Post([reactor, call = std::move(call)] { reactor->Finish(call()); })) {
      reactor->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many admin calls wait; retry"});
    }
    return reactor;
  }

  AdminCalls calls_;
  Workers workers_{kWorkers, kCallsWaitingMax};  // Ends first: what waits uses the calls.
};

}  // namespace

std::unique_ptr<grpc::Service> MakeAdminService(NodePort& port, AdminHooks hooks) {
  return std::make_unique<AdminService>(port, std::move(hooks));
}

}  // namespace keyhop
