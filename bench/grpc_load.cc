#include "bench/grpc_load.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/base/mutex.h"
#include "kms/base/status_macros.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop::bench {
namespace {

namespace pb = ::keyhop::delivery::v1;
using Stub = pb::KeyDelivery::Stub;

constexpr std::chrono::seconds kCallTimeout(30);

}  // namespace

class GrpcLoad::Impl {
 public:
  explicit Impl(GrpcTls tls) : tls_(std::move(tls)) {}

  void Open(const GrpcTarget& target) {
    const auto credentials = tls_.ChannelToHost();
    for (int i = 0; i < target.channels; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt("keyhop.bench.channel", i);  // Each one a connection of its own.
      channels_.push_back(grpc::CreateCustomChannel(target.address, credentials, arguments));
      stubs_.push_back(pb::KeyDelivery::NewStub(channels_.back()));
    }
  }
  ~Impl() {
    queue_.Shutdown();
    void* tag = nullptr;
    for (bool ok = false; queue_.Next(&tag, &ok);) delete static_cast<Call*>(tag);
  }

  void DrawFor(const std::string& slave, std::deque<std::string>* drawn) {
    draw_.set_slave_sae_id(slave);
    drawn_ = drawn;
    key_ids_ = nullptr;
  }
  void FetchFrom(const std::string& master, std::deque<std::string>* key_ids) {
    master_ = master;
    key_ids_ = key_ids;
  }

  absl::StatusOr<WindowResult> Run(const WindowPlan& plan) {
    return plan.rate > 0 ? RunOpen(plan) : RunClosed(plan);
  }

  absl::StatusOr<Stock> AskStock(const std::string& slave) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    pb::GetStatusRequest request;
    request.set_slave_sae_id(slave);
    pb::Status answer;
    const grpc::Status status = stubs_.front()->GetStatus(&context, request, &answer);
    if (!status.ok()) return absl::UnavailableError(status.error_message());
    return Stock{static_cast<uint64_t>(answer.stored_key_count()),
                 static_cast<uint64_t>(answer.key_size())};
  }

  absl::Status Connect() {
    for (const auto& channel : channels_) channel->GetState(/*try_to_connect=*/true);
    for (const auto& channel : channels_) {
      if (!channel->WaitForConnected(std::chrono::system_clock::now() + kCallTimeout)) {
        return absl::UnavailableError("no connection");
      }
    }
    return absl::OkStatus();
  }

 private:
  struct Call {
    grpc::ClientContext context;
    pb::KeyContainer answer;
    grpc::Status status;
    size_t channel = 0;
    Clock::time_point due;
    std::unique_ptr<grpc::ClientAsyncResponseReader<pb::KeyContainer>> reader;
  };

  // False when there is nothing to fetch.
  bool Begin(size_t channel, Clock::time_point due) {
    if (key_ids_ != nullptr && key_ids_->empty()) return false;
    auto* call = new Call;  // Owned by the queue until it comes back from it.
    call->channel = channel;
    call->due = due;
    call->context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    Stub& stub = *stubs_[channel];
    if (key_ids_ == nullptr) {
      call->reader = stub.AsyncGetKey(&call->context, draw_, &queue_);
    } else {
      pb::KeyIdsRequest request;
      request.set_master_sae_id(master_);
      request.add_key_ids()->set_key_id(std::move(key_ids_->front()));
      key_ids_->pop_front();
      call->reader = stub.AsyncGetKeyWithKeyIds(&call->context, request, &queue_);
    }
    call->reader->Finish(&call->answer, &call->status, call);
    return true;
  }

  struct Taken {
    size_t channel = 0;
    Clock::time_point now;
  };
  // Waits for one answer, and counts it if it came in time.
  absl::StatusOr<Taken> Take(Clock::time_point end, WindowResult& result) {
    void* tag = nullptr;
    bool ok = false;
    if (!queue_.Next(&tag, &ok)) return absl::InternalError("the queue ended");
    const std::unique_ptr<Call> call(static_cast<Call*>(tag));
    if (!call->status.ok() || call->answer.keys_size() != 1) {
      return absl::UnavailableError(absl::StrCat("a call failed: code ", call->status.error_code(),
                                                 ", ", call->status.error_message()));
    }
    const Clock::time_point now = Clock::now();
    if (drawn_ != nullptr && key_ids_ == nullptr) {
      drawn_->push_back(std::move(*call->answer.mutable_keys(0)->mutable_key_id()));
    }
    if (now <= end) {
      ++result.done;
      result.latencies_ns.push_back((now - call->due).count());
    }
    return Taken{call->channel, now};
  }

  absl::StatusOr<WindowResult> RunClosed(const WindowPlan& plan) {
    WindowResult result;
    const Clock::time_point start = Clock::now();
    const Clock::time_point end = start + std::chrono::nanoseconds(plan.length.ns);
    int under_way = 0;
    while (under_way < plan.concurrency &&
           Begin(static_cast<size_t>(under_way) % stubs_.size(), Clock::now())) {
      ++under_way;
    }
    absl::Status failure;
    Clock::time_point last = start;
    for (; under_way > 0; --under_way) {
      const absl::StatusOr<Taken> taken = Take(end, result);
      if (!taken.ok()) {
        failure = taken.status();
        continue;
      }
      if (taken->now <= end) last = taken->now;
      if (taken->now < end && failure.ok() && Begin(taken->channel, taken->now)) ++under_way;
    }
    KEYHOP_RETURN_IF_ERROR(failure);
    result.seconds = std::chrono::duration<double>(last - start).count();
    return result;
  }

  // One thread sends what is due, this one takes the answers.
  absl::StatusOr<WindowResult> RunOpen(const WindowPlan& plan) {
    WindowResult result;
    const Clock::time_point start = Clock::now();
    const Clock::time_point end = start + std::chrono::nanoseconds(plan.length.ns);
    Mutex mu;
    CondVar changed;
    int under_way = 0;
    bool failed = false;
    bool sent_all = false;
    std::thread sender([&] {
      size_t turn = 0;
      for (Arrivals due(start, plan.rate); due.next() < end; due.Advance()) {
        mu.lock();
        while (!failed && (Clock::now() < due.next() || under_way >= plan.concurrency)) {
          if (under_way >= plan.concurrency) {
            changed.Wait(mu);
          } else {
            changed.WaitUntil(mu, due.next());
          }
        }
        const bool stop = failed;
        if (!stop) ++under_way;
        changed.SignalAll();
        mu.unlock();
        if (stop) break;
        if (!Begin(turn++ % stubs_.size(), due.next())) {  // Nothing is left to fetch.
          MutexLock lock(mu);
          --under_way;
          break;
        }
      }
      MutexLock lock(mu);
      sent_all = true;
      changed.SignalAll();
    });
    absl::Status failure;
    // Late answers count too: who leaves them out sees no overload.
    const Clock::time_point never = Clock::time_point::max();
    Clock::time_point last = start;
    while (true) {
      {
        MutexLock lock(mu);
        while (under_way == 0 && !sent_all) changed.Wait(mu);
        if (under_way == 0) break;
      }
      const absl::StatusOr<Taken> taken = Take(never, result);
      if (taken.ok()) {
        last = taken->now;
      } else {
        failure = taken.status();
      }
      MutexLock lock(mu);
      --under_way;
      failed = !failure.ok();
      changed.SignalAll();
    }
    sender.join();
    KEYHOP_RETURN_IF_ERROR(failure);
    result.seconds = std::chrono::duration<double>(last - start).count();
    return result;
  }

  const GrpcTls tls_;
  grpc::CompletionQueue queue_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<Stub>> stubs_;
  pb::KeyRequest draw_;
  std::string master_;
  std::deque<std::string>* drawn_ = nullptr;
  std::deque<std::string>* key_ids_ = nullptr;
};

absl::StatusOr<std::unique_ptr<GrpcLoad>> GrpcLoad::Create(const GrpcTarget& target) {
  KEYHOP_ASSIGN_OR_RETURN(GrpcTls tls, GrpcTls::Create(target.files));
  auto impl = std::make_unique<Impl>(std::move(tls));
  impl->Open(target);
  return absl::WrapUnique(new GrpcLoad(std::move(impl)));
}

GrpcLoad::GrpcLoad(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcLoad::~GrpcLoad() = default;

void GrpcLoad::DrawFor(const std::string& slave, std::deque<std::string>* drawn) {
  impl_->DrawFor(slave, drawn);
}
void GrpcLoad::FetchFrom(const std::string& master, std::deque<std::string>* key_ids) {
  impl_->FetchFrom(master, key_ids);
}
absl::StatusOr<WindowResult> GrpcLoad::Run(const WindowPlan& plan) { return impl_->Run(plan); }
absl::StatusOr<Stock> GrpcLoad::AskStock(const std::string& slave) {
  return impl_->AskStock(slave);
}
absl::Status GrpcLoad::Connect() { return impl_->Connect(); }

}  // namespace keyhop::bench
