#include "sim/linksim/simulated_link.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

using Level = EventLog::Level;

// A backlog that is full for longer than this counts as "makes no key" in the link's status.
constexpr Duration kPauseShown = Duration::Seconds(1);

// Text of a peer, for the log: short and printable.
std::string Printable(absl::string_view text) {
  constexpr size_t kCharsMax = 400;
  std::string out(text.substr(0, kCharsMax));
  for (char& c : out) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return out;
}

}  // namespace

SimulatedLink::SimulatedLink(LinkConfig config, const TlsFiles& tls, const StateDir& state,
                             EventLog& log)
    : config_(std::move(config)),
      state_(state),
      log_(log),
      source_(config_.id, config_.module_pair, config_.seed),
      pace_(config_.bits_per_second, config_.block_bytes) {
  MutexLock lock(mu_);
  for (int end = 0; end < kEnds; ++end) {
    const LinkEndConfig& km = config_.ends[static_cast<size_t>(end)];
    At(end).stub = kq1::v1::KeyManagerQ::NewStub(DialNode(km.kq1, km.node, tls));
  }
}

SimulatedLink::~SimulatedLink() { Stop(); }

absl::Status SimulatedLink::Tick(Instant now) {
  MutexLock lock(mu_);
  now_ = now;
  for (int end = 0; end < kEnds; ++end) Reap(end);
  KEYHOP_RETURN_IF_ERROR(BeginRunIfDue());
  if (run_floor_.has_value()) return absl::OkStatus();  // The old run's streams still end.
  for (int end = 0; end < kEnds; ++end) AttachIfDue(end);
  MakeBlocks();
  for (int end = 0; end < kEnds; ++end) Pump(end);
  return absl::OkStatus();
}

void SimulatedLink::Stop() {
  MutexLock lock(mu_);
  stopping_ = true;
  for (Module& module : modules_) {
    if (module.session != nullptr) module.session->Cancel();
  }
  for (Module& module : modules_) {
    while (module.session != nullptr && !module.ended) ended_.Wait(mu_);
    module.session.reset();
  }
}

SimulatedLink::Counters SimulatedLink::counters() const {
  MutexLock lock(mu_);
  Counters counters;
  counters.enabled = Enabled();
  if (!backlog_.has_value()) return counters;
  counters.run = backlog_->run();
  counters.blocks_made = backlog_->next_block();
  counters.backlog_blocks = backlog_->size();
  for (int end = 0; end < kEnds; ++end) {
    counters.acknowledged[static_cast<size_t>(end)] = backlog_->acknowledged(end);
  }
  return counters;
}

bool SimulatedLink::Enabled() const {
  return std::all_of(modules_.begin(), modules_.end(),
                     [](const Module& module) { return module.enabled; });
}

void SimulatedLink::Reap(int end) {
  Module& module = At(end);
  if (module.session == nullptr) return;
  if (module.ended) {
    module.session.reset();
    module.retry_at = now_ + module.backoff;
    module.backoff = std::min(kBackoffMax, module.backoff * 2);
  } else if (!module.attached && now_ - module.started_at >= kAnswerWait) {
    module.session->Cancel();
  }
}

absl::Status SimulatedLink::BeginRunIfDue() {
  if (!run_floor_.has_value()) return absl::OkStatus();
  for (Module& module : modules_) {
    if (module.session != nullptr) return absl::OkStatus();
  }
  KEYHOP_ASSIGN_OR_RETURN(const uint64_t run,
                          state_.NextRun(config_.id, config_.module_pair, *run_floor_));
  run_floor_.reset();
  backlog_.emplace(run, config_.backlog_blocks);
  for (Module& module : modules_) module.sent_below = 0;
  log_.Write(Level::kInfo, now_, config_.id, "run begins",
             absl::StrCat("module pair ", config_.module_pair, ", run ", run));
  return absl::OkStatus();
}

void SimulatedLink::AttachIfDue(int end) {
  Module& module = At(end);
  if (module.session != nullptr || now_ < module.retry_at) return;
  module.session = std::make_unique<ModuleSession>(*this, end);
  module.attached = false;
  module.writing = true;  // The Attach itself.
  module.closing = false;
  module.ended = false;
  module.started_at = now_;
  kq1::v1::Attach& attach = *module.session->outgoing().mutable_attach();
  attach.set_link_id(config_.id);
  attach.set_module_pair(config_.module_pair);
  attach.set_run(backlog_->run());
  attach.set_block_bytes(static_cast<uint32_t>(config_.block_bytes));
  attach.set_peer_node_id(config_.ends[static_cast<size_t>(1 - end)].node);
  attach.set_acknowledged_next_block(backlog_->acknowledged(end));
  module.session->Start(*module.stub);
}

void SimulatedLink::MakeBlocks() {
  if (!Enabled()) {
    pace_.Skip(now_);
    return;
  }
  if (!backlog_->full()) {
    pace_.Advance(now_);
    while (!backlog_->full() && pace_.Take()) {
      backlog_->Push(source_.Make(backlog_->run(), backlog_->next_block(), config_.block_bytes));
    }
  } else {
    pace_.Skip(now_);
  }
  if (backlog_->full() && !paused_) paused_since_ = now_;
  paused_ = backlog_->full();
  const bool tell = paused_ && now_ - paused_since_ >= kPauseShown;
  if (tell != pause_told_) {
    pause_told_ = tell;
    for (Module& module : modules_) module.status_due = true;
    log_.Write(Level::kWarning, now_, config_.id, tell ? "makes no key" : "makes key again",
               tell ? "the backlog is full: a KM is away or takes no blocks" : "");
  }
}

void SimulatedLink::Pump(int end) {
  Module& module = At(end);
  if (module.session == nullptr || !module.attached || module.writing || module.closing) return;
  if (now_ - module.status_sent_at >= kStatusInterval) module.status_due = true;
  kq1::v1::ModuleMessage& out = module.session->outgoing();
  if (module.status_due) {
    const double bps = Enabled() && !pause_told_ ? config_.bits_per_second : 0;
    kq1::v1::LinkStatus& status = *out.mutable_link_status();
    status.set_up(Enabled());
    status.set_qber_ppm(static_cast<uint32_t>(std::lround(config_.rate.qber * 1e6)));
    status.set_secret_key_rate_bps(static_cast<uint64_t>(bps));
    module.status_due = false;
    module.status_sent_at = now_;
  } else if (module.next_to_send < backlog_->next_block() &&
             module.next_to_send - backlog_->acknowledged(end) < module.window) {
    kq1::v1::KeyBlock& block = *out.mutable_key_block();
    const std::span<const uint8_t> key =
        backlog_->At(module.next_to_send).Expose(SecretAccess::ForWire());
    block.set_run(backlog_->run());
    block.set_block(module.next_to_send);
    block.mutable_key()->assign(reinterpret_cast<const char*>(key.data()), key.size());
    ++module.next_to_send;
    module.sent_below = std::max(module.sent_below, module.next_to_send);
  } else {
    return;
  }
  module.writing = true;
  module.session->Write();
}

void SimulatedLink::OnMessage(int end, const kq1::v1::ManagerMessage& message) {
  MutexLock lock(mu_);
  if (run_floor_.has_value()) return;  // What the old run's streams still say.
  switch (message.body_case()) {
    case kq1::v1::ManagerMessage::kAttached:
      OnAttached(end, message.attached());
      break;
    case kq1::v1::ManagerMessage::kBlockAck:
      OnBlockAck(end, message.block_ack());
      break;
    case kq1::v1::ManagerMessage::kModuleCommand:
      OnCommand(end, message.module_command());
      break;
    case kq1::v1::ManagerMessage::kRefused:
      Log(Level::kError, end, "refused by the KM",
          absl::StrCat("reason ", message.refused().reason(), ", ",
                       Printable(message.refused().detail())));
      if (message.refused().reason() == kq1::v1::Refused::REASON_OLD_RUN) {
        RequestRun(end, backlog_->run(), "the KM finished this run");
      }
      break;
    case kq1::v1::ManagerMessage::BODY_NOT_SET:
      Breach(end, "a message without known content");
      break;
  }
  Pump(end);
}

void SimulatedLink::OnAttached(int end, const kq1::v1::Attached& attached) {
  Module& module = At(end);
  if (module.attached || attached.window() == 0) {
    return Breach(end, "a second Attached, or one without a window");
  }
  uint64_t highest = 0;
  uint64_t next_block = 0;
  for (const kq1::v1::TakenRun& taken : attached.taken()) {
    highest = std::max(highest, taken.run());
    if (taken.run() == backlog_->run()) next_block = taken.next_block();
  }
  if (highest > backlog_->run()) {
    return RequestRun(end, highest, absl::StrCat("the KM knows run ", highest));
  }
  if (next_block > module.sent_below) {
    return RequestRun(end, highest, "the KM has blocks that this pair never sent");
  }
  if (next_block < backlog_->acknowledged(end)) {
    return RequestRun(end, backlog_->run(), "the KM lost blocks that it acknowledged");
  }
  backlog_->Acknowledge(end, next_block);
  module.attached = true;
  module.backoff = kBackoffMin;
  module.next_to_send = next_block;
  module.window = attached.window();
  module.status_due = true;
  Log(Level::kInfo, end, "attached",
      absl::StrCat("run ", backlog_->run(), ", next block ", next_block));
}

void SimulatedLink::OnBlockAck(int end, const kq1::v1::BlockAck& ack) {
  Module& module = At(end);
  if (!module.attached || ack.run() != backlog_->run() || ack.block() >= module.next_to_send) {
    return Breach(end, "an acknowledgement of a block that was not sent");
  }
  backlog_->Acknowledge(end, ack.block() + 1);
}

void SimulatedLink::OnCommand(int end, const kq1::v1::ModuleCommand& command) {
  Module& module = At(end);
  const bool enable = command.action() == kq1::v1::ModuleCommand::ACTION_ENABLE;
  if (!enable && command.action() != kq1::v1::ModuleCommand::ACTION_DISABLE) {
    return Breach(end, "an unknown command");
  }
  const bool before = Enabled();
  module.enabled = enable;
  if (Enabled() == before) return;
  for (Module& each : modules_) each.status_due = true;
  Log(Level::kInfo, end, enable ? "link up by command" : "link down by command", "");
  Pump(1 - end);
}

void SimulatedLink::OnWritten(int end) {
  MutexLock lock(mu_);
  At(end).writing = false;
  Pump(end);
}

void SimulatedLink::OnClosing(int end) {
  MutexLock lock(mu_);
  At(end).closing = true;
}

void SimulatedLink::OnEnded(int end, const grpc::Status& status) {
  MutexLock lock(mu_);
  Module& module = At(end);
  const bool expected = stopping_ || run_floor_.has_value();
  if (!expected) {
    Log(Level::kWarning, end, module.attached ? "stream lost" : "not attached",
        absl::StrCat("gRPC code ", status.error_code(), ": ", Printable(status.error_message())));
  }
  module.ended = true;
  ended_.SignalAll();
}

void SimulatedLink::Breach(int end, absl::string_view what) {
  Log(Level::kError, end, "the KM broke the Kq-1 protocol", what);
  At(end).session->Cancel();
}

void SimulatedLink::RequestRun(int end, uint64_t floor, absl::string_view why) {
  Log(Level::kWarning, end, "new run", why);
  run_floor_ = std::max(floor, run_floor_.value_or(0));
  for (Module& module : modules_) {
    if (module.session != nullptr) module.session->Cancel();
  }
}

void SimulatedLink::Log(EventLog::Level level, int end, absl::string_view event,
                        absl::string_view detail) {
  const LinkEndConfig& km = config_.ends[static_cast<size_t>(end)];
  log_.Write(level, now_, absl::StrCat(config_.id, " at ", km.node, " (", km.kq1, ")"), event,
             detail);
}

}  // namespace keyhop
