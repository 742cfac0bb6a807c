#include "bench/stream_load.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/base/status_macros.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop::bench {
namespace {

namespace pb = ::keyhop::delivery::v1;

constexpr std::chrono::seconds kCallTimeout(30);
constexpr uint64_t kContainerKeys = 128;
constexpr uint64_t kContainersUnderWay = 4;

// One call from its credit to its end.
class Stream {
 public:
  absl::Status Run(pb::KeyDelivery::Stub& stub, const std::string& slave, uint64_t keys_max,
                   Clock::time_point end) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    const auto stream = stub.DrawStream(&context);
    pb::DrawStreamRequest request;
    request.mutable_draw()->set_slave_sae_id(slave);
    request.mutable_draw()->set_number(kContainerKeys);
    const uint64_t containers = keys_max / kContainerKeys;
    uint64_t asked = std::min(containers, kContainersUnderWay);
    request.set_credit(asked * kContainerKeys);
    for (uint64_t i = 0; i < asked; ++i) credited_.push_back(Clock::now());
    bool open = stream->Write(request);
    request.clear_draw();
    request.set_credit(kContainerKeys);
    pb::KeyContainer container;
    while (stream->Read(&container)) {
      const Clock::time_point now = Clock::now();
      if (now <= end) {
        done_ += static_cast<uint64_t>(container.keys_size());
        last_ = now;
        if (!credited_.empty()) latencies_ns_.push_back((now - credited_.front()).count());
      }
      if (!credited_.empty()) credited_.pop_front();
      if (open && now < end && asked < containers) {
        ++asked;
        credited_.push_back(now);
        open = stream->Write(request);
      } else if (open) {
        open = false;
        stream->WritesDone();
      }
    }
    const grpc::Status status = stream->Finish();
    if (!status.ok()) {
      return absl::UnavailableError(absl::StrCat("a stream failed: code ", status.error_code(),
                                                 ", ", status.error_message()));
    }
    return absl::OkStatus();
  }

  uint64_t done() const { return done_; }
  Clock::time_point last() const { return last_; }
  std::vector<int64_t>& latencies_ns() { return latencies_ns_; }

 private:
  std::deque<Clock::time_point> credited_;
  uint64_t done_ = 0;
  Clock::time_point last_ = {};
  std::vector<int64_t> latencies_ns_;
};

}  // namespace

class StreamLoad::Impl {
 public:
  Impl(GrpcTls tls, std::unique_ptr<GrpcLoad> status, std::string slave)
      : tls_(std::move(tls)), status_(std::move(status)), slave_(std::move(slave)) {}

  void Open(const GrpcTarget& target) {
    for (int i = 0; i < target.channels; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt("keyhop.bench.stream", i);  // Each one a connection of its own.
      stubs_.push_back(pb::KeyDelivery::NewStub(
          grpc::CreateCustomChannel(target.address, tls_.ChannelToHost(), arguments)));
    }
  }

  absl::StatusOr<WindowResult> Run(const WindowPlan& plan) {
    KEYHOP_ASSIGN_OR_RETURN(const Stock stock, status_->AskStock(slave_));
    const uint64_t keys_max = stock.keys / stubs_.size();
    if (keys_max < kContainerKeys) return absl::UnavailableError("the pair has too few keys");
    const Clock::time_point start = Clock::now();
    const Clock::time_point end = start + std::chrono::nanoseconds(plan.length.ns);
    std::vector<Stream> streams(stubs_.size());
    std::vector<absl::Status> statuses(stubs_.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < stubs_.size(); ++i) {
      threads.emplace_back(
          [&, i] { statuses[i] = streams[i].Run(*stubs_[i], slave_, keys_max, end); });
    }
    for (std::thread& thread : threads) thread.join();
    WindowResult result;
    Clock::time_point last = start;
    for (size_t i = 0; i < streams.size(); ++i) {
      KEYHOP_RETURN_IF_ERROR(statuses[i]);
      result.done += streams[i].done();
      last = std::max(last, streams[i].last());
      result.latencies_ns.insert(result.latencies_ns.end(), streams[i].latencies_ns().begin(),
                                 streams[i].latencies_ns().end());
    }
    result.seconds = std::chrono::duration<double>(last - start).count();
    return result;
  }

 private:
  const GrpcTls tls_;
  const std::unique_ptr<GrpcLoad> status_;
  const std::string slave_;
  std::vector<std::unique_ptr<pb::KeyDelivery::Stub>> stubs_;
};

absl::StatusOr<std::unique_ptr<StreamLoad>> StreamLoad::Create(const GrpcTarget& target,
                                                               const std::string& slave) {
  KEYHOP_ASSIGN_OR_RETURN(GrpcTls tls, GrpcTls::Create(target.files));
  KEYHOP_ASSIGN_OR_RETURN(std::unique_ptr<GrpcLoad> status, GrpcLoad::Create(target));
  auto impl = std::make_unique<Impl>(std::move(tls), std::move(status), slave);
  impl->Open(target);
  return absl::WrapUnique(new StreamLoad(std::move(impl)));
}

StreamLoad::StreamLoad(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StreamLoad::~StreamLoad() = default;
absl::StatusOr<WindowResult> StreamLoad::Run(const WindowPlan& plan) { return impl_->Run(plan); }

}  // namespace keyhop::bench
