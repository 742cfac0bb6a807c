// A client that leaves while its call asks the port: the cancel finds what was asked.
#include "kms/ak/grpc_cancel.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace keyhop {
namespace {

// Notes in which order it was called; `on_draw` runs before a draw is in.
class NotingPort final : public DeliveryPort {
 public:
  void Status(StatusRequest, std::function<void(Outcome<PairStatus>)>) override {}
  void Draw(DrawRequest, std::function<void(Outcome<KeyContainer>)>) override {
    if (on_draw) on_draw();
    noted.push_back("draw");
  }
  void Fetch(FetchRequest, std::function<void(Outcome<KeyContainer>)>) override {}
  void Watch(WatchRequest, std::function<void(Outcome<WatchAnswer>)>) override {}
  uint64_t NewCall() override { return 7; }
  void Cancel(uint64_t call) override { noted.push_back("cancel " + std::to_string(call)); }

  std::function<void()> on_draw;
  std::vector<std::string> noted;
};

using Noted = std::vector<std::string>;

DrawRequest RequestOf(const GrpcCancel& cancel) {
  DrawRequest request;
  request.call = cancel.call();
  return request;
}

TEST(GrpcCancelTest, ACancelBeforeTheRequestIsInIsSaidAgainAfterwards) {
  NotingPort port;
  GrpcCancel cancel(port);
  port.on_draw = [&] { cancel.Ask(); };
  cancel.port().Draw(RequestOf(cancel), [](const Outcome<KeyContainer>&) {});
  cancel.Posted();
  EXPECT_TRUE(cancel.asked());
  EXPECT_EQ(port.noted, (Noted{"cancel 7", "draw", "cancel 7"}));
}

TEST(GrpcCancelTest, WhereNobodyLeavesNothingIsCancelled) {
  NotingPort port;
  GrpcCancel cancel(port);
  cancel.port().Draw(RequestOf(cancel), [](const Outcome<KeyContainer>&) {});
  cancel.Posted();
  EXPECT_FALSE(cancel.asked());
  EXPECT_EQ(port.noted, Noted{"draw"});
}

}  // namespace
}  // namespace keyhop
