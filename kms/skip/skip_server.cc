#include "kms/skip/skip_server.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

SkipOptions With(SkipOptions options, TrueRandom* random) {
  options.random = random;
  return options;
}

}  // namespace

SkipServer::SkipServer(SkipPeers peers, SkipOptions options, std::unique_ptr<TrueRandom> random,
                       DeliveryPort& port)
    : peers_(std::move(peers)),
      random_(std::move(random)),
      api_(peers_, port, With(std::move(options), random_.get())) {}

absl::StatusOr<std::string> SkipServer::SaeOf(const PskPeer& peer, PskFile& keys) const {
  const std::string name = absl::StrCat("pre-shared key identity \"",
                                        absl::Utf8SafeCEscape(peer.identity.substr(0, 200)), "\"");
  if (!keys.Holds(peer.identity, peer.serial)) {
    return absl::UnauthenticatedError(
        absl::StrCat(name, ": its key is no longer the one in ", keys.path()));
  }
  const std::optional<SaeId> sae = peers_.SaeOfPsk(peer.identity);
  if (!sae.has_value()) {
    return absl::UnauthenticatedError(
        absl::StrCat(name, ": expected one of skip.encryptors.psk_identity"));
  }
  return sae->value;
}

absl::StatusOr<std::unique_ptr<SkipServer>> SkipServer::Start(HttpsConfig config, PskSetUp psk,
                                                              SkipPeers peers, SkipOptions options,
                                                              std::unique_ptr<TrueRandom> random,
                                                              DeliveryPort& port) {
  auto skip = absl::WrapUnique(
      new SkipServer(std::move(peers), std::move(options), std::move(random), port));
  SkipServer* self = skip.get();
  config.read_psk = [self, keys = psk.keys,
                     tell = config.on_failed_handshake](const PskPeer& peer) {
    absl::StatusOr<std::string> sae = self->SaeOf(peer, *keys);
    if (!sae.ok() && tell) tell(std::string(sae.status().message()));
    return sae;
  };
  config.psk = std::move(psk);
  KEYHOP_ASSIGN_OR_RETURN(
      skip->server_,
      HttpsServer::Start(std::move(config), [self](HttpRequest request, HttpDone done) {
        self->api_.Handle(std::move(request), std::move(done));
      }));
  return skip;
}

}  // namespace keyhop
