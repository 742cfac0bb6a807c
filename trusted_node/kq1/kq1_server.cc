#include "trusted_node/kq1/kq1_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "keyhop/kq1/v1/kq1.grpc.pb.h"
#include "kms/base/mutex.h"
#include "trusted_node/kq1/module_stream.h"

namespace keyhop {
namespace {

namespace pb = kq1::v1;
using grpc::ByteBuffer;

constexpr uint32_t kBlockBytesMin = 1024;
constexpr uint32_t kBlockBytesMax = 64 * 1024;
constexpr uint32_t kWindowBlocksMin = 2;
constexpr uint32_t kWindowBlocksMax = 64;
constexpr int kMessageBytesMax = 128 * 1024;
constexpr int kKeepaliveMs = 5000;

pb::Refused Say(pb::Refused::Reason reason, std::string detail) {
  pb::Refused refused;
  refused.set_reason(reason);
  refused.set_detail(std::move(detail));
  return refused;
}

class RefusedModule final : public grpc::ServerBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  explicit RefusedModule(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

struct Kq1Server::Impl final : ModuleHost {
  struct Attached {
    std::shared_ptr<ModuleStream> stream;
    bool up = false;
    uint32_t qber_ppm = 0;
    uint64_t rate_bps = 0;
  };
  struct Link {
    Kq1Link config;
    bool admin_up = true;
    std::map<uint32_t, Attached> pairs;  // By module pair.
    uint64_t blocks = 0;
  };

  explicit Impl(Kq1Options o) : options(std::move(o)) {
    for (const Kq1Link& link : options.links) {
      links[link.id].config = link;
      links[link.id].admin_up = link.admin_up;
    }
  }

  std::optional<pb::Refused> Admit(const std::string& module, const pb::Attach& attach,
                                   std::shared_ptr<ModuleStream> stream,
                                   Admission& admission) override {
    MutexLock lock(mu);
    const auto found = links.find(LinkId(attach.link_id()));
    if (found == links.end()) {
      return Say(pb::Refused::REASON_UNKNOWN_LINK, "no such link ends here");
    }
    Link& link = found->second;
    if (link.config.modules.count(module) == 0) {
      return Say(pb::Refused::REASON_NOT_AUTHORISED,
                 absl::StrCat("module ", module, " is not one of link ", link.config.id.value));
    }
    if (attach.peer_node_id() != link.config.peer.value) {
      return Say(pb::Refused::REASON_MALFORMED,
                 absl::StrCat("peer_node_id: this link leads to ", link.config.peer.value));
    }
    if (attach.block_bytes() < kBlockBytesMin || attach.block_bytes() > kBlockBytesMax ||
        attach.block_bytes() > link.config.block_bytes_max) {
      return Say(pb::Refused::REASON_MALFORMED,
                 absl::StrCat("block_bytes: not between ", kBlockBytesMin, " and ",
                              std::min(kBlockBytesMax, link.config.block_bytes_max)));
    }
    if (link.pairs.count(attach.module_pair()) > 0) {
      return Say(pb::Refused::REASON_ALREADY_ATTACHED,
                 absl::StrCat("module pair ", attach.module_pair(), " is attached already"));
    }
    if (stopping) return Say(pb::Refused::REASON_SHUTTING_DOWN, "not serving now");
    link.pairs[attach.module_pair()].stream = std::move(stream);
    admission.enabled = link.admin_up;
    admission.window_blocks =
        std::clamp(static_cast<uint32_t>(options.window_bytes / attach.block_bytes()),
                   kWindowBlocksMin, kWindowBlocksMax);
    options.log(absl::StrCat("kq1: module ", module, " attached: link ", attach.link_id(),
                             ", pair ", attach.module_pair(), ", run ", attach.run()));
    return std::nullopt;
  }

  void StatusOf(const pb::Attach& attach, const pb::LinkStatus& status,
                std::function<void()> processed) override {
    MutexLock lock(mu);
    Link& link = links.at(LinkId(attach.link_id()));
    Attached& pair = link.pairs[attach.module_pair()];
    pair.up = status.up();
    pair.qber_ppm = status.qber_ppm();
    pair.rate_bps = status.secret_key_rate_bps();
    Tell(link, std::move(processed));
  }
  void BlockTaken(const pb::Attach& attach) override {
    MutexLock lock(mu);
    ++links.at(LinkId(attach.link_id())).blocks;
  }
  void Refused(const std::string& module, const pb::Refused& refused) override {
    options.log(absl::StrCat("kq1: module ", module, " refused: ", refused.detail()));
    MutexLock lock(mu);
    ++refused_streams;
  }
  void Gone(const std::shared_ptr<ModuleStream>& stream, const pb::Attach* attach) override {
    MutexLock lock(mu);
    if (attach != nullptr) {
      Link& link = links.at(LinkId(attach->link_id()));
      link.pairs.erase(attach->module_pair());
      if (!stopping) Tell(link, [] {});
    }
    open.erase(stream);
    changed.SignalAll();
  }

  // What the modules of a link are together.
  void Tell(const Link& link, std::function<void()> processed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    ModuleStatusChanged status;
    status.link = link.config.id;
    for (const auto& [number, pair] : link.pairs) {
      if (!pair.up) continue;
      status.up = true;
      status.qber_ppm = std::max(status.qber_ppm, pair.qber_ppm);
      status.rate_bps += pair.rate_bps;
    }
    if (!link.admin_up) {
      status.up = false;
      status.rate_bps = 0;
    }
    node->ModuleChanged(std::move(status), std::move(processed));
  }

  const Kq1Options options;
  mutable Mutex mu;  // Streams call with theirs held, so they are never called under this one.
  CondVar changed;
  NodePort* node ABSL_GUARDED_BY(mu) = nullptr;
  bool stopping ABSL_GUARDED_BY(mu) = true;
  std::map<LinkId, Link> links ABSL_GUARDED_BY(mu);
  uint64_t refused_streams ABSL_GUARDED_BY(mu) = 0;
  std::set<std::shared_ptr<ModuleStream>> open ABSL_GUARDED_BY(mu);  // Until their OnDone.
};

// Raw: a message that cannot be parsed must be refused, not look like the stream's end.
class Kq1Server::Service final
    : public pb::KeyManagerQ::WithRawCallbackMethod_Attach<pb::KeyManagerQ::Service> {
 public:
  explicit Service(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* Attach(
      grpc::CallbackServerContext* context) override {
    absl::StatusOr<std::string> module = impl_->options.identify(*context->auth_context());
    if (!module.ok()) {
      return new RefusedModule(
          grpc::Status(grpc::StatusCode::UNAUTHENTICATED, std::string(module.status().message())));
    }
    std::shared_ptr<ModuleStream> stream;
    {
      MutexLock lock(impl_->mu);
      if (impl_->stopping) {
        return new RefusedModule(
            grpc::Status(grpc::StatusCode::UNAVAILABLE, "not serving now; attach again"));
      }
      if (impl_->open.size() >= impl_->options.attached_max) {
        return new RefusedModule(
            grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many modules are attached"));
      }
      stream = std::make_shared<ModuleStream>(context, *std::move(module), *impl_->node, *impl_,
                                              impl_->options.retry);
      impl_->open.insert(stream);
    }
    stream->Begin(stream);
    return stream.get();
  }

 private:
  const std::shared_ptr<Impl> impl_;
};

Kq1Server::Kq1Server(Kq1Options options)
    : impl_(std::make_shared<Impl>(std::move(options))),
      service_(std::make_unique<Service>(impl_)) {}

Kq1Server::~Kq1Server() { Stop(); }

grpc::Service* Kq1Server::service() { return service_.get(); }

void Kq1Server::Configure(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kKeepaliveMs / 2);
}

void Kq1Server::Start(NodePort& node) {
  MutexLock lock(impl_->mu);
  impl_->node = &node;
  impl_->stopping = false;
}

void Kq1Server::Stop() {
  std::vector<std::shared_ptr<ModuleStream>> open;
  {
    MutexLock lock(impl_->mu);
    impl_->stopping = true;
    open.assign(impl_->open.begin(), impl_->open.end());
  }
  for (const auto& stream : open) stream->Close();
  open.clear();
  MutexLock lock(impl_->mu);
  while (!impl_->open.empty()) impl_->changed.Wait(impl_->mu);
}

absl::Status Kq1Server::SetLink(const LinkId& id, bool up) {
  std::vector<std::shared_ptr<ModuleStream>> streams;
  {
    MutexLock lock(impl_->mu);
    const auto found = impl_->links.find(id);
    if (found == impl_->links.end()) {
      return absl::NotFoundError(absl::StrCat("no link ", id.value, " ends here"));
    }
    found->second.admin_up = up;
    for (const auto& [number, pair] : found->second.pairs) streams.push_back(pair.stream);
    if (impl_->node != nullptr && !impl_->stopping) impl_->Tell(found->second, [] {});
  }
  for (const auto& stream : streams) stream->Command(up);
  return absl::OkStatus();
}

std::map<LinkId, Kq1LinkStatus> Kq1Server::Status() const {
  std::map<LinkId, Kq1LinkStatus> out;
  MutexLock lock(impl_->mu);
  for (const auto& [id, link] : impl_->links) {
    out[id] = {link.admin_up, link.pairs.size(), link.blocks};
  }
  return out;
}

uint64_t Kq1Server::refused() const {
  MutexLock lock(impl_->mu);
  return impl_->refused_streams;
}

}  // namespace keyhop
