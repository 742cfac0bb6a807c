#include "trusted_node/daemon/core_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace keyhop {
namespace {

// A core that does to each input what its slave (or peer) says: "write" answers behind a durable
// record, "hold" never answers, everything else answers at once.
class FakeMachine final : public CoreMachine {
 public:
  Effects Step(Instant now, Input input) override {
    last_step_ns = now.ns;
    ++steps;
    Effects effects;
    if (DrawAsked* draw = std::get_if<DrawAsked>(&input)) {
      const std::string& what = draw->request.slave.value;
      ++draws;
      if (what == "hold") return effects;
      KeyContainer keys;
      keys.keys.push_back({});
      WriteSeq after = 0;
      if (what == "write") {
        after = effects.seq = ++seq_;
        effects.writes.push_back(NodeRecord{after});
      }
      effects.outputs.push_back({after, KeysAnswered{draw->token, std::move(keys)}});
    } else if (PeerMessage* message = std::get_if<PeerMessage>(&input)) {
      effects.outputs.push_back({0, SendToPeer{message->from, std::move(message->message)}});
    } else if (PadBlockArrived* block = std::get_if<PadBlockArrived>(&input)) {
      effects.seq = ++seq_;
      effects.writes.push_back(NodeRecord{seq_});
      effects.outputs.push_back({seq_, PadBlockTaken{block->token, absl::OkStatus()}});
    } else if (LinkSwitched* link = std::get_if<LinkSwitched>(&input)) {
      effects.seq = ++seq_;
      effects.writes.push_back(LinkDownRecord{link->link, link->up});
      effects.outputs.push_back({seq_, SwitchDone{link->token, absl::OkStatus()}});
    } else if (std::holds_alternative<DeadlineReached>(input)) {
      ++deadlines;
      next_ = deadlines < 3 ? std::optional(now + Duration::Millis(1)) : std::nullopt;
    }
    return effects;
  }
  std::optional<Instant> NextDeadline() const override { return next_; }
  std::map<BookId, uint64_t> TakenTops(const LinkId&) const override { return {{{1, 2}, 3}}; }
  NodeSnapshot Snapshot(Instant) const override {
    NodeSnapshot snapshot;
    snapshot.self = NodeId("me");
    return snapshot;
  }

  std::atomic<int> steps = 0;
  std::atomic<int> draws = 0;
  std::atomic<int> deadlines = 0;
  std::atomic<int64_t> last_step_ns = 0;

 private:
  WriteSeq seq_ = 0;
  std::optional<Instant> next_;
};

// In memory; `hold` keeps each commit waiting until it is released.
class FakeLog final : public RecordLog {
 public:
  absl::Status Commit(const std::vector<Record>& batch) override {
    MutexLock lock(mu);
    batches.push_back(batch.size());
    changed.SignalAll();
    while (hold) changed.Wait(mu);
    return status;
  }
  void WaitForBatches(size_t count) {
    MutexLock lock(mu);
    while (batches.size() < count) changed.Wait(mu);
  }
  void Hold(bool value) {
    MutexLock lock(mu);
    hold = value;
    changed.SignalAll();
  }

  Mutex mu;
  CondVar changed;
  bool hold ABSL_GUARDED_BY(mu) = false;
  std::vector<size_t> batches ABSL_GUARDED_BY(mu);
  absl::Status status ABSL_GUARDED_BY(mu);
};

class FakePeers final : public PeerPort {
 public:
  void Send(const NodeId& peer, KxMessage message) override {
    MutexLock lock(mu);
    sent.emplace_back(peer, std::get<LinkState>(message).sequence);
  }
  Mutex mu;
  std::vector<std::pair<NodeId, uint64_t>> sent ABSL_GUARDED_BY(mu);
};

class CoreLoopTest : public ::testing::Test {
 protected:
  CoreLoop& Start(CoreLoopOptions options = {}) {
    loop_ = std::make_unique<CoreLoop>(machine_, log_, peers_, std::move(options));
    loop_->Start();
    return *loop_;
  }
  // Draws with what the fake core shall do; the future is ready once it is answered.
  std::future<Outcome<KeyContainer>> Draw(const std::string& what) {
    auto promise = std::make_shared<std::promise<Outcome<KeyContainer>>>();
    DrawRequest request;
    request.slave = SaeId(what);
    loop_->Draw(std::move(request), [promise](Outcome<KeyContainer> outcome) {
      promise->set_value(std::move(outcome));
    });
    return promise->get_future();
  }
  // Returns when the core has handled all that was posted before.
  NodeSnapshot Snapshot() {
    std::promise<NodeSnapshot> promise;
    loop_->AskSnapshot([&](NodeSnapshot snapshot) { promise.set_value(std::move(snapshot)); });
    return promise.get_future().get();
  }

  FakeMachine machine_;
  FakeLog log_;
  FakePeers peers_;
  std::unique_ptr<CoreLoop> loop_;
};

bool IsRefused(const Outcome<KeyContainer>& outcome, Refusal::Kind kind) {
  const Refusal* refusal = std::get_if<Refusal>(&outcome);
  return refusal != nullptr && refusal->kind == kind && refusal->retry_after.has_value();
}
TEST_F(CoreLoopTest, ADrawThatIsCancelledBeforeTheCoreTookItIsNotDrawn) {
  CoreLoopOptions options;
  options.requests_pending_max = 1;
  CoreLoop& loop = Start(std::move(options));
  std::promise<void> busy;
  std::promise<void> go_on;
  loop.AskSnapshot([&](NodeSnapshot) {
    busy.set_value();
    go_on.get_future().wait();
  });
  busy.get_future().wait();
  const uint64_t call = loop.NewCall();
  EXPECT_NE(loop.NewCall(), call);
  auto answer = std::make_shared<std::promise<Outcome<KeyContainer>>>();
  DrawRequest request;
  request.slave = SaeId("now");
  request.call = call;
  loop.Draw(std::move(request),
            [answer](Outcome<KeyContainer> outcome) { answer->set_value(std::move(outcome)); });
  loop.Cancel(call);
  go_on.set_value();
  EXPECT_TRUE(IsRefused(answer->get_future().get(), Refusal::Kind::kExhausted));
  EXPECT_EQ(machine_.draws, 0);
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(Draw("now").get()));  // Its place is free again.
}

bool IsReady(const std::future<Outcome<KeyContainer>>& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

TEST_F(CoreLoopTest, AnswersADraw) {
  Start();
  EXPECT_EQ(std::get<KeyContainer>(Draw("now").get()).keys.size(), 1u);
}

TEST_F(CoreLoopTest, ACallerThatFindsTheCoreFreeStepsItItself) {
  Start();
  Snapshot();
  // The loop's own thread may still be leaving the core after the answer to that.
  std::thread::id answered_on;
  for (int i = 0; i < 10'000 && answered_on != std::this_thread::get_id(); ++i) {
    std::promise<std::thread::id> promise;
    DrawRequest request;
    request.slave = SaeId("now");
    loop_->Draw(std::move(request), [&](const Outcome<KeyContainer>&) {
      promise.set_value(std::this_thread::get_id());
    });
    answered_on = promise.get_future().get();
  }
  EXPECT_EQ(answered_on, std::this_thread::get_id());
}

TEST_F(CoreLoopTest, WhatIsDueIsDoneWhileCallersKeepTheCoreBusy) {
  Start();
  while (machine_.deadlines < 3) Draw("now").wait();
  EXPECT_EQ(machine_.deadlines, 3);
}

TEST_F(CoreLoopTest, StopsWhileCallersAsk) {
  Start();
  std::atomic<bool> refused = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!IsRefused(Draw("write").get(), Refusal::Kind::kUnavailable)) {
      }
      refused = true;
    });
  }
  Draw("write").wait();
  loop_->Stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(refused);
}

TEST_F(CoreLoopTest, AnswersThatWaitForTheDiskComeWhenItIsDurable) {
  log_.Hold(true);
  Start();
  auto written = Draw("write");
  log_.WaitForBatches(1);
  auto unwritten = Draw("now");
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(unwritten.get()));  // Not behind the disk.
  EXPECT_FALSE(IsReady(written));
  log_.Hold(false);
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(written.get()));
}

TEST_F(CoreLoopTest, WritesThatGatherDuringACommitAreOneBatch) {
  log_.Hold(true);
  Start();
  std::vector<std::future<Outcome<KeyContainer>>> draws;
  draws.push_back(Draw("write"));
  log_.WaitForBatches(1);
  for (int i = 0; i < 50; ++i) draws.push_back(Draw("write"));
  Snapshot();
  log_.Hold(false);
  for (auto& draw : draws) EXPECT_TRUE(std::holds_alternative<KeyContainer>(draw.get()));
  MutexLock lock(log_.mu);
  EXPECT_THAT(log_.batches, ::testing::ElementsAre(1, 50));
}

TEST_F(CoreLoopTest, RefusesRequestsPastTheLimitAndGoesOnAfterwards) {
  log_.Hold(true);
  CoreLoopOptions options;
  options.requests_pending_max = 2;
  Start(options);
  auto first = Draw("write");
  auto second = Draw("write");
  EXPECT_TRUE(IsRefused(Draw("now").get(), Refusal::Kind::kExhausted));
  EXPECT_EQ(Snapshot().counters["requests_refused_overload"], 1u);
  log_.Hold(false);
  first.wait();
  second.wait();
  Snapshot();
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(Draw("now").get()));
}

TEST_F(CoreLoopTest, StepsWhenTheDeadlineComes) {
  Start();
  while (machine_.deadlines < 3) std::this_thread::yield();
  Snapshot();
  EXPECT_EQ(machine_.deadlines, 3);
}

TEST_F(CoreLoopTest, KeepsTheOrderOfAPeersMessages) {
  Start();
  std::atomic<int> processed = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    loop_->PeerSaid(NodeId("b"), LinkState{NodeId("b"), i}, [&] { ++processed; });
  }
  Snapshot();
  EXPECT_EQ(processed, 200);
  MutexLock lock(peers_.mu);
  ASSERT_EQ(peers_.sent.size(), 200u);
  for (uint64_t i = 0; i < 200; ++i) EXPECT_EQ(peers_.sent[i].second, i);
}

TEST_F(CoreLoopTest, ABlockIsTakenWhenItIsDurable) {
  log_.Hold(true);
  Start();
  std::promise<absl::Status> taken;
  loop_->BlockArrived(LinkId("l"), {1, 1}, 0, SecretBytes(8),
                      [&](absl::Status status) { taken.set_value(std::move(status)); });
  log_.WaitForBatches(1);
  auto future = taken.get_future();
  EXPECT_NE(future.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  log_.Hold(false);
  EXPECT_TRUE(future.get().ok());
}

TEST_F(CoreLoopTest, ALinkIsSwitchedWhenThatIsDurable) {
  log_.Hold(true);
  Start();
  std::promise<absl::Status> done;
  auto future = done.get_future();
  loop_->SwitchLink(LinkId("l"), false,
                    [&](absl::Status status) { done.set_value(std::move(status)); });
  log_.WaitForBatches(1);
  EXPECT_NE(future.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  log_.Hold(false);
  EXPECT_TRUE(future.get().ok());
}

TEST_F(CoreLoopTest, AnswersQuestionsAboutTheNode) {
  Start();
  std::promise<std::map<BookId, uint64_t>> tops;
  loop_->AskTakenTops(LinkId("l"), [&](auto answer) { tops.set_value(std::move(answer)); });
  EXPECT_EQ((tops.get_future().get()[{1, 2}]), 3u);
  EXPECT_EQ(Snapshot().self, NodeId("me"));
}

TEST_F(CoreLoopTest, NothingLeavesAfterAFailedWrite) {
  {
    MutexLock lock(log_.mu);
    log_.status = absl::DataLossError("disk");
  }
  std::promise<absl::Status> failure;
  CoreLoopOptions options;
  options.on_storage_failure = [&](absl::Status status) { failure.set_value(std::move(status)); };
  Start(options);
  auto draw = Draw("write");
  EXPECT_EQ(failure.get_future().get().code(), absl::StatusCode::kDataLoss);
  loop_->Stop();
  EXPECT_TRUE(IsRefused(draw.get(), Refusal::Kind::kUnavailable));
}

TEST_F(CoreLoopTest, StopLetsOutWhatIsUnderWayAndRefusesTheRest) {
  log_.Hold(true);
  Start();
  auto written = Draw("write");
  auto held = Draw("hold");
  log_.WaitForBatches(1);
  std::thread stopper([&] { loop_->Stop(); });
  log_.Hold(false);
  stopper.join();
  EXPECT_TRUE(std::holds_alternative<KeyContainer>(written.get()));
  EXPECT_TRUE(IsRefused(held.get(), Refusal::Kind::kUnavailable));
}

TEST_F(CoreLoopTest, ServesManyThreadsAtOnce) {
  Start();
  constexpr int kThreads = 4;
  constexpr int kDraws = 500;
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kDraws; ++i) {
        if (std::holds_alternative<KeyContainer>(Draw((i + t) % 3 == 0 ? "write" : "now").get())) {
          ++answered;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, kThreads * kDraws);
}

}  // namespace
}  // namespace keyhop
