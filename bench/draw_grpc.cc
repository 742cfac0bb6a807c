#include "bench/draw_grpc.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "keyhop/delivery/v1/delivery.grpc.pb.h"
#include "kms/base/status_macros.h"
#include "kms/tls/grpc_credentials.h"

namespace keyhop::bench {
namespace {

namespace pb = ::keyhop::delivery::v1;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kSettleStep{100};
constexpr std::chrono::seconds kSettleMax{30};

// One server, and the calls to it.
class Target {
 public:
  Target(const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
         const DrawBenchOptions& options)
      : options_(options) {
    for (int i = 0; i < options.channels; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt("keyhop.bench.channel", i);  // Each one a connection of its own.
      stubs_.push_back(
          pb::KeyDelivery::NewStub(grpc::CreateCustomChannel(address, credentials, arguments)));
    }
    request_.set_slave_sae_id(options.slave);
  }
  ~Target() {
    queue_.Shutdown();
    void* tag = nullptr;
    for (bool ok = false; queue_.Next(&tag, &ok);) delete static_cast<Call*>(tag);
  }

  // Calls that succeeded in one window, per second.
  absl::StatusOr<double> Window(Duration length) {
    const Clock::time_point start = Clock::now();
    const Clock::time_point end = start + std::chrono::nanoseconds(length.ns);
    for (int i = 0; i < options_.concurrency; ++i) Begin(*stubs_[i % stubs_.size()]);
    int under_way = options_.concurrency;
    uint64_t done_in_time = 0;
    Clock::time_point last = start;
    absl::Status failure;
    while (under_way > 0) {
      void* tag = nullptr;
      bool ok = false;
      if (!queue_.Next(&tag, &ok)) break;
      const std::unique_ptr<Call> call(static_cast<Call*>(tag));
      const Clock::time_point now = Clock::now();
      if (!call->status.ok() || call->answer.keys_size() != 1) {
        failure = absl::UnavailableError(absl::StrCat(
            "a call failed: code ", call->status.error_code(), ", ", call->status.error_message()));
      } else if (now <= end) {
        ++done_in_time;
        last = now;
      }
      --under_way;
      if (now < end && failure.ok()) {
        Begin(*call->stub);
        ++under_way;
      }
    }
    KEYHOP_RETURN_IF_ERROR(failure);
    return static_cast<double>(done_in_time) / std::chrono::duration<double>(last - start).count();
  }

  // Keys of the default size at hand.
  absl::StatusOr<pb::Status> Ask() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    pb::GetStatusRequest request;
    request.set_slave_sae_id(options_.slave);
    pb::Status answer;
    const grpc::Status status = stubs_.front()->GetStatus(&context, request, &answer);
    if (!status.ok()) return absl::UnavailableError(status.error_message());
    return answer;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    pb::KeyContainer answer;
    grpc::Status status;
    pb::KeyDelivery::Stub* stub = nullptr;
    std::unique_ptr<grpc::ClientAsyncResponseReader<pb::KeyContainer>> reader;
  };

  void Begin(pb::KeyDelivery::Stub& stub) {
    auto* call = new Call;  // Owned by the queue until it comes back from it.
    call->stub = &stub;
    call->context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    call->reader = stub.AsyncGetKey(&call->context, request_, &queue_);
    call->reader->Finish(&call->answer, &call->status, call);
  }

  const DrawBenchOptions& options_;
  grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<pb::KeyDelivery::Stub>> stubs_;
  pb::KeyRequest request_;
};

// Waits until the stock does not grow any more; returns it.
absl::StatusOr<pb::Status> Settle(Target& draw) {
  const Clock::time_point end = Clock::now() + kSettleMax;
  KEYHOP_ASSIGN_OR_RETURN(pb::Status last, draw.Ask());
  for (int still = 0; still < 5 && Clock::now() < end;) {
    std::this_thread::sleep_for(kSettleStep);  // NOLINT(keyhop): samples a level over time
    KEYHOP_ASSIGN_OR_RETURN(pb::Status next, draw.Ask());
    still = next.stored_key_count() > last.stored_key_count() ? 0 : still + 1;
    last = std::move(next);
  }
  return last;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

std::string List(const std::vector<double>& values) {
  return absl::StrCat("[",
                      absl::StrJoin(values, ", ",
                                    [](std::string* out, double value) {
                                      absl::StrAppendFormat(out, "%.0f", value);
                                    }),
                      "]");
}

}  // namespace

absl::StatusOr<std::string> BenchDrawGrpc(const DrawBenchOptions& options) {
  KEYHOP_ASSIGN_OR_RETURN(const GrpcTls tls, GrpcTls::Create(options.files));
  const auto credentials = tls.ChannelToHost();
  Target draw(options.draw_address, credentials, options);
  Target echo(options.echo_address, credentials, options);
  // Connections, and a first touch of everything.
  KEYHOP_RETURN_IF_ERROR(Settle(draw).status());
  KEYHOP_RETURN_IF_ERROR(draw.Window(Duration::Millis(300)).status());
  KEYHOP_RETURN_IF_ERROR(echo.Window(Duration::Millis(300)).status());

  std::vector<double> draws;
  std::vector<double> echoes;
  uint64_t stock_min = UINT64_MAX;
  uint64_t key_size_bits = 0;
  const auto measure = [&](Target& target, std::vector<double>& rates) -> absl::Status {
    KEYHOP_ASSIGN_OR_RETURN(const pb::Status before, Settle(draw));
    stock_min = std::min<uint64_t>(stock_min, before.stored_key_count());
    key_size_bits = before.key_size();
    KEYHOP_ASSIGN_OR_RETURN(const double rate, target.Window(options.window));
    rates.push_back(rate);
    return absl::OkStatus();
  };
  for (int i = 0; i < options.windows; ++i) {
    // Who goes first changes, so that a drift of the machine favours neither.
    Target& first = i % 2 == 0 ? draw : echo;
    Target& second = i % 2 == 0 ? echo : draw;
    KEYHOP_RETURN_IF_ERROR(measure(first, i % 2 == 0 ? draws : echoes));
    KEYHOP_RETURN_IF_ERROR(measure(second, i % 2 == 0 ? echoes : draws));
  }
  const double value = Median(draws);
  const double baseline = Median(echoes);
  return absl::StrFormat(
      R"({"name": "draw_grpc", "value": %.0f, "baseline": %.0f, "ratio": %.3f, )"
      R"("unit": "calls/s", "windows": %d, "window_seconds": %.2f, "values": %s, )"
      R"("baselines": %s, "concurrency": %d, "connections": %d, "key_size_bits": %d, )"
      R"("keys_at_hand_min": %d})",
      value, baseline, value / baseline, options.windows, options.window.ns / 1e9, List(draws),
      List(echoes), options.concurrency, options.channels, key_size_bits, stock_min);
}

}  // namespace keyhop::bench
