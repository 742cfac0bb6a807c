#include "kms/skip/skip_peers.h"

#include <algorithm>
#include <utility>

#include "kms/base/glob.h"

namespace keyhop {
namespace {

template <typename T>
void AddOnce(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

}  // namespace

SkipPeers::SkipPeers(std::vector<SkipEncryptor> encryptors, std::vector<SkipRemoteSystem> remotes,
                     std::vector<std::string> advertised)
    : remotes_(std::move(remotes)), advertised_(std::move(advertised)) {
  for (SkipEncryptor& encryptor : encryptors) {
    if (!encryptor.psk_identity.empty()) by_psk_.emplace(encryptor.psk_identity, encryptor.sae);
    const SaeId sae = encryptor.sae;
    encryptors_.emplace(sae, std::move(encryptor));
  }
}

const SkipEncryptor* SkipPeers::Find(const SaeId& sae) const {
  const auto found = encryptors_.find(sae);
  return found == encryptors_.end() ? nullptr : &found->second;
}

std::optional<SaeId> SkipPeers::SaeOfPsk(const std::string& psk_identity) const {
  const auto found = by_psk_.find(psk_identity);
  if (found == by_psk_.end()) return std::nullopt;
  return found->second;
}

bool SkipPeers::MayUse(const SaeId& encryptor, const SkipRemoteSystem& remote) {
  const std::vector<SaeId>& who = remote.encryptors;
  return remote.sae != encryptor &&
         (who.empty() || std::find(who.begin(), who.end(), encryptor) != who.end());
}

std::optional<SaeId> SkipPeers::Resolve(const SaeId& encryptor,
                                        const std::string& system_id) const {
  if (system_id.size() > kSystemIdBytesMax) return std::nullopt;
  for (const SkipRemoteSystem& remote : remotes_) {
    if (MayUse(encryptor, remote) && GlobMatches(remote.system_id, system_id)) return remote.sae;
  }
  return std::nullopt;
}

std::vector<SaeId> SkipPeers::PartnersOf(const SaeId& encryptor) const {
  std::vector<SaeId> partners;
  for (const SkipRemoteSystem& remote : remotes_) {
    if (MayUse(encryptor, remote)) AddOnce(partners, remote.sae);
  }
  return partners;
}

std::vector<std::string> SkipPeers::AdvertisedTo(const SaeId& encryptor) const {
  if (!advertised_.empty()) return advertised_;
  std::vector<std::string> ids;
  for (const SkipRemoteSystem& remote : remotes_) {
    if (MayUse(encryptor, remote)) AddOnce(ids, remote.system_id);
  }
  return ids;
}

}  // namespace keyhop
