#ifndef KEYHOP_KMS_SKIP_SKIP_PEERS_H_
#define KEYHOP_KMS_SKIP_SKIP_PEERS_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kms/core/types.h"

namespace keyhop {

// Of a system ID, as of every ID in the configuration: no longer one is matched with a glob.
inline constexpr size_t kSystemIdBytesMax = 64;

// An encryptor: an application that speaks SKIP.
struct SkipEncryptor {
  SaeId sae;
  std::string psk_identity = {};     // Empty: it comes with its certificate only.
  std::string local_system_id = {};  // What it is told that this key provider is called.
};

// A key provider at the other end, as encryptors name it.
struct SkipRemoteSystem {
  std::string system_id;               // A POSIX glob too (kms/base/glob.h).
  SaeId sae;                           // Who shares the keys with the encryptor.
  std::vector<SaeId> encryptors = {};  // Who may use it; empty: all.
};

// Who may come, and which SAE stands behind a remoteSystemID for whom. Constant; thread-safe.
class SkipPeers {
 public:
  // `advertised`: what capabilities tell as remoteSystemID; empty: the system IDs.
  SkipPeers(std::vector<SkipEncryptor> encryptors, std::vector<SkipRemoteSystem> remotes,
            std::vector<std::string> advertised);

  // Null: no encryptor of ours.
  const SkipEncryptor* Find(const SaeId& sae) const;
  std::optional<SaeId> SaeOfPsk(const std::string& psk_identity) const;

  // The SAE behind the first remote system of that ID that the encryptor may use.
  std::optional<SaeId> Resolve(const SaeId& encryptor, const std::string& system_id) const;
  // The SAEs that it may share keys with.
  std::vector<SaeId> PartnersOf(const SaeId& encryptor) const;
  std::vector<std::string> AdvertisedTo(const SaeId& encryptor) const;

 private:
  static bool MayUse(const SaeId& encryptor, const SkipRemoteSystem& remote);

  std::map<SaeId, SkipEncryptor> encryptors_;
  std::map<std::string, SaeId> by_psk_;
  std::vector<SkipRemoteSystem> remotes_;
  std::vector<std::string> advertised_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_SKIP_SKIP_PEERS_H_
