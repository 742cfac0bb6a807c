#include "tests/sim/linksim/fake_km.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>

#include "kms/base/check.h"
#include "tests/sim/linksim/test_certificates.h"

namespace keyhop {

using kq1::v1::ManagerMessage;
using kq1::v1::ModuleMessage;

void FakeKm::Start() {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = ReadWholeFile(tls_.ca);
  options.pem_key_cert_pairs = {{ReadWholeFile(tls_.key), ReadWholeFile(tls_.cert)}};
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(address(), grpc::SslServerCredentials(options), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  KEYHOP_CHECK(server_ != nullptr && port != 0, "the fake KM does not listen");
  port_ = port;
}

void FakeKm::Kill() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
  MutexLock lock(mu_);
  staged_.clear();
}

void FakeKm::Command(kq1::v1::ModuleCommand::Action action) {
  ManagerMessage message;
  message.mutable_module_command()->set_action(action);
  MutexLock lock(mu_);
  KEYHOP_CHECK(stream_ != nullptr, "no module is attached");
  stream_->Write(message);
}

std::map<uint64_t, FakeKm::Run> FakeKm::disk() const {
  MutexLock lock(mu_);
  return disk_;
}

size_t FakeKm::DurableBlocks(uint64_t run) const {
  MutexLock lock(mu_);
  const auto found = disk_.find(run);
  return found == disk_.end() ? 0 : found->second.size();
}

void FakeKm::Restore(uint64_t run, size_t blocks) {
  MutexLock lock(mu_);
  disk_[run].resize(blocks);
}

void FakeKm::Know(uint64_t run) {
  MutexLock lock(mu_);
  disk_[run];
}

std::vector<kq1::v1::Attach> FakeKm::attaches() const {
  MutexLock lock(mu_);
  return attaches_;
}

kq1::v1::Attach FakeKm::last_attach() const {
  MutexLock lock(mu_);
  return attaches_.empty() ? kq1::v1::Attach() : attaches_.back();
}

kq1::v1::LinkStatus FakeKm::last_status() const {
  MutexLock lock(mu_);
  return status_;
}

int FakeKm::statuses() const {
  MutexLock lock(mu_);
  return statuses_;
}

int FakeKm::faults() const {
  MutexLock lock(mu_);
  return faults_;
}

void FakeKm::AwaitChange() {
  MutexLock lock(mu_);
  changed_.WaitUntil(mu_, std::chrono::steady_clock::now() + std::chrono::milliseconds(1));
}

grpc::Status FakeKm::Attach(grpc::ServerContext* /*context*/, Stream* stream) {
  ModuleMessage message;
  while (stream->Read(&message)) {
    MutexLock lock(mu_);
    switch (message.body_case()) {
      case ModuleMessage::kAttach:
        Welcome(message.attach(), *stream);
        break;
      case ModuleMessage::kKeyBlock:
        Take(message.key_block(), *stream);
        break;
      case ModuleMessage::kLinkStatus:
        status_ = message.link_status();
        ++statuses_;
        break;
      case ModuleMessage::BODY_NOT_SET:
        ++faults_;
        break;
    }
    changed_.SignalAll();
  }
  MutexLock lock(mu_);
  if (stream_ == stream) stream_ = nullptr;
  return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the fake KM shuts down");
}

void FakeKm::Welcome(const kq1::v1::Attach& attach, Stream& stream) {
  attaches_.push_back(attach);
  stream_ = &stream;
  staged_.clear();
  const auto found = disk_.find(attach.run());
  acknowledged_ = found == disk_.end() ? 0 : found->second.size();
  ManagerMessage answer;
  answer.mutable_attached()->set_window(kWindow);
  for (const auto& [run, blocks] : disk_) {
    kq1::v1::TakenRun& taken = *answer.mutable_attached()->add_taken();
    taken.set_run(run);
    taken.set_next_block(blocks.size());
  }
  stream.Write(answer);
}

void FakeKm::Take(const kq1::v1::KeyBlock& block, Stream& stream) {
  Run& run = disk_[block.run()];
  const bool expected = block.run() == attaches_.back().run() &&
                        block.block() == run.size() + staged_.size() &&
                        block.block() < acknowledged_ + kWindow &&
                        block.key().size() == attaches_.back().block_bytes();
  if (!expected) {
    ++faults_;
    return;
  }
  staged_.push_back(block.key());
  if (staged_.size() < kBatch) return;
  const uint64_t durable_before = run.size();
  for (std::string& key : staged_) run.push_back(std::move(key));
  staged_.clear();
  if (durable_before == 0) return;
  acknowledged_ = durable_before;
  ManagerMessage answer;
  answer.mutable_block_ack()->set_run(block.run());
  answer.mutable_block_ack()->set_block(durable_before - 1);
  stream.Write(answer);
}

}  // namespace keyhop
