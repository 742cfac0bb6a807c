#include "kms/ak/tls_listener.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>

#include "absl/strings/str_cat.h"
#include "kms/ak/https_tls.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

constexpr std::chrono::milliseconds kAcceptPause(50);

std::vector<std::shared_ptr<Loop>> MakeLoops(int count) {
  std::vector<std::shared_ptr<Loop>> loops;
  for (int i = 0; i < std::max(1, count); ++i) loops.push_back(std::make_shared<Loop>());
  return loops;
}

}  // namespace

TlsListener::TlsListener(LoopShared& shared, int threads)
    : shared_(shared),
      loops_(MakeLoops(threads)),
      acceptor_(loops_[0]->io),
      accept_pause_(loops_[0]->io) {}

absl::Status TlsListener::Listen(const std::string& address) {
  KEYHOP_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, ParseEndpoint(address));
  error_code ec;
  acceptor_.open(endpoint.protocol(), ec);
  if (!ec) acceptor_.set_option(net::socket_base::reuse_address(true), ec);
  if (!ec) acceptor_.bind(endpoint, ec);
  if (!ec) acceptor_.listen(net::socket_base::max_listen_connections, ec);
  if (!ec) port_ = acceptor_.local_endpoint(ec).port();
  if (!ec) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", ec.message()));
}

void TlsListener::Run(Serve serve) {
  serve_ = std::move(serve);
  net::co_spawn(loops_[0]->io, Accept(), net::detached);
  for (const std::shared_ptr<Loop>& loop : loops_) {
    net::post(loop->io, [this, loop] { loop->Sweep(shared_); });
    threads_.emplace_back([loop] { loop->io.run(); });
  }
}

void TlsListener::Stop() {
  MutexLock lock(stop_mu_);
  shared_.stopping = true;
  // The first loop accepts for the others: once it has ended, nothing new comes to them.
  for (size_t i = 0; i < threads_.size(); ++i) {
    const std::shared_ptr<Loop>& loop = loops_[i];
    net::post(loop->io, [this, i, loop] {
      error_code ec;
      if (i == 0) acceptor_.close(ec);
      if (i == 0) accept_pause_.cancel();
      loop->End();
    });
    threads_[i].join();
  }
  threads_.clear();
}

// Never waits for a client, and ends with the server only.
Task<void> TlsListener::Accept() {
  for (size_t turn = 0; !shared_.stopping; ++turn) {
    const std::shared_ptr<Loop>& loop = loops_[turn % loops_.size()];
    error_code ec;
    Socket socket = co_await acceptor_.async_accept(loop->io, net::redirect_error(kAwait, ec));
    if (shared_.stopping) break;
    if (ec == net::error::connection_aborted) continue;
    if (ec) {  // Such as no more file descriptors: wait for some to be closed.
      for (const std::shared_ptr<Loop>& other : loops_) {
        net::post(other->io, [this, other] { other->DropOldestStranger(shared_); });
      }
      accept_pause_.expires_after(kAcceptPause);
      co_await accept_pause_.async_wait(net::redirect_error(kAwait, ec));
      continue;
    }
    ++shared_.loop_counters.accepted;
    net::co_spawn(loop->io, serve_(loop, std::move(socket)), net::detached);
  }
}

Task<bool> TlsHandshake(TlsStream& stream, LoopShared& shared, std::string& address,
                        const std::function<void(const std::string& text)>& on_failed) {
  error_code ec;
  stream.next_layer().set_option(tcp::no_delay(true), ec);
  const tcp::endpoint peer = stream.next_layer().remote_endpoint(ec);
  address = peer.address().to_string();
  co_await stream.async_handshake(TlsStream::server, net::redirect_error(kAwait, ec));
  if (!ec) co_return true;
  ++shared.loop_counters.failed_handshakes;
  const std::string why = FailedHandshake(stream.native_handle(), peer, ec);
  if (!why.empty() && on_failed) on_failed(why);
  co_return false;
}

}  // namespace keyhop
