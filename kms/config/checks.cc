#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/base/glob.h"
#include "kms/config/config.h"

namespace keyhop {
namespace {

using config::v1::Config;

constexpr size_t kPskIdentityBytesMax = 256;
constexpr uint32_t kSkipKeyBits = 256;
constexpr char kEverySae[] = "*";  // Of a quota.

class Problems {
 public:
  void Require(bool holds, std::string field, std::string text) {
    if (!holds) found_.push_back({std::move(field), std::move(text)});
  }
  std::vector<ConfigProblem> Take() { return std::move(found_); }

 private:
  std::vector<ConfigProblem> found_;
};

bool IsPowerOfTwo(uint64_t n) { return n != 0 && (n & (n - 1)) == 0; }

void CheckDelivery(const config::v1::Delivery& delivery, const config::v1::Pools& pools,
                   Problems& problems) {
  problems.Require(delivery.key_size_bits() % 8 == 0, "delivery.key_size_bits",
                   "expected a multiple of 8");
  problems.Require(delivery.min_key_size_bits() % 8 == 0, "delivery.min_key_size_bits",
                   "expected a multiple of 8");
  problems.Require(delivery.max_key_size_bits() % 8 == 0, "delivery.max_key_size_bits",
                   "expected a multiple of 8");
  problems.Require(
      delivery.min_key_size_bits() <= delivery.max_key_size_bits(), "delivery.max_key_size_bits",
      absl::StrCat("expected at least min_key_size_bits, which is ", delivery.min_key_size_bits()));
  problems.Require(
      delivery.key_size_bits() >= delivery.min_key_size_bits() &&
          delivery.key_size_bits() <= delivery.max_key_size_bits(),
      "delivery.key_size_bits",
      absl::StrCat("expected from min_key_size_bits to max_key_size_bits: ",
                   delivery.min_key_size_bits(), " to ", delivery.max_key_size_bits()));
  const uint64_t stock_bytes_max =
      uint64_t{delivery.max_key_count()} * (delivery.key_size_bits() / 8);
  problems.Require(
      pools.target_bytes() <= stock_bytes_max, "pools.target_bytes",
      absl::StrCat("expected at most ", stock_bytes_max,
                   ", which is delivery.max_key_count keys of delivery.key_size_bits"));
  problems.Require(
      delivery.max_keys_per_request() <= delivery.max_key_count(), "delivery.max_keys_per_request",
      absl::StrCat("expected at most max_key_count, which is ", delivery.max_key_count()));
}

void CheckLinks(const Config& config, Problems& problems) {
  std::set<std::string> ids;
  std::set<std::string> modules;
  for (int i = 0; i < config.links_size(); ++i) {
    const config::v1::Link& link = config.links(i);
    const std::string path = absl::StrCat("links[", i, "]");
    problems.Require(ids.insert(link.id()).second, absl::StrCat(path, ".id"),
                     "expected an ID that no other link has");
    problems.Require(link.peer() != config.node().id(), absl::StrCat(path, ".peer"),
                     "expected another node than this one");
    problems.Require(!link.peer_kx().empty() || config.node().id() > link.peer(),
                     absl::StrCat(path, ".peer_kx"),
                     absl::StrCat("missing; ", config.node().id(),
                                  " has the lower ID and dials: expected HOST:PORT"));
    problems.Require(IsPowerOfTwo(link.unit_bytes()), absl::StrCat(path, ".unit_bytes"),
                     "expected a power of two");
    problems.Require(link.lease_bytes_min() >= link.unit_bytes(),
                     absl::StrCat(path, ".lease_bytes_min"), "expected at least unit_bytes");
    problems.Require(link.lease_bytes_max() >= link.lease_bytes_min(),
                     absl::StrCat(path, ".lease_bytes_max"), "expected at least lease_bytes_min");
    problems.Require(link.pads_bytes_max() >= link.lease_bytes_max(),
                     absl::StrCat(path, ".pads_bytes_max"), "expected at least lease_bytes_max");
    const auto add_module = [&](const std::string& module, const std::string& field) {
      problems.Require(
          modules.insert(module).second, absl::StrCat(path, ".", field),
          absl::StrCat("expected a module that no other link has; ", module, " is given before"));
    };
    if (link.modules().empty()) add_module(link.id(), "id");
    for (int m = 0; m < link.modules_size(); ++m) {
      add_module(link.modules(m), absl::StrCat("modules[", m, "]"));
    }
  }
}

std::set<std::string> SaesAtHome(const Config& config) {
  std::set<std::string> saes;
  for (const config::v1::Sae& sae : config.saes()) saes.insert(sae.id());
  return saes;
}

void CheckQuotas(const Config& config, Problems& problems) {
  const std::set<std::string> at_home = SaesAtHome(config);
  std::set<std::pair<std::string, std::string>> given;
  for (int i = 0; i < config.quotas_size(); ++i) {
    const config::v1::Quota& quota = config.quotas(i);
    const std::string path = absl::StrCat("quotas[", i, "]");
    problems.Require(quota.sae() == kEverySae || at_home.contains(quota.sae()),
                     absl::StrCat(path, ".sae"), "expected one of saes, or *");
    problems.Require(quota.slave() != quota.sae() && quota.slave() != kEverySae,
                     absl::StrCat(path, ".slave"), "expected one SAE, another than sae");
    problems.Require(quota.slave().empty() || quota.share() == 1, absl::StrCat(path, ".share"),
                     "expected none beside slave: a share is an SAE's, not a pair's");
    problems.Require(given.emplace(quota.sae(), quota.slave()).second, absl::StrCat(path, ".sae"),
                     "expected one quota for each SAE, and for each SAE and slave");
  }
}

// SAE IDs of skip.encryptors.
std::set<std::string> CheckEncryptors(const Config& config, Problems& problems) {
  const std::set<std::string> at_home = SaesAtHome(config);
  std::set<std::string> saes;
  std::set<std::string> identities;
  for (int i = 0; i < config.skip().encryptors_size(); ++i) {
    const config::v1::SkipEncryptor& encryptor = config.skip().encryptors(i);
    const std::string path = absl::StrCat("skip.encryptors[", i, "]");
    problems.Require(at_home.contains(encryptor.sae()), absl::StrCat(path, ".sae"),
                     "expected one of saes");
    problems.Require(saes.insert(encryptor.sae()).second, absl::StrCat(path, ".sae"),
                     "expected an SAE that no other encryptor has");
    const std::string& identity = encryptor.psk_identity();
    const std::string field = absl::StrCat(path, ".psk_identity");
    if (identity.empty()) continue;
    problems.Require(identity.size() <= kPskIdentityBytesMax, field,
                     absl::StrCat("expected at most ", kPskIdentityBytesMax, " bytes"));
    problems.Require(identities.insert(identity).second, field,
                     "expected an identity that no other encryptor has");
    problems.Require(!config.skip().psk_file().empty(), field,
                     "expected skip.psk_file, which has its key");
  }
  return saes;
}

void CheckRemoteSystems(const config::v1::Skip& skip, const std::set<std::string>& encryptors,
                        Problems& problems) {
  std::set<std::string> served;
  for (int i = 0; i < skip.remote_systems_size(); ++i) {
    const config::v1::SkipRemoteSystem& remote = skip.remote_systems(i);
    const std::string path = absl::StrCat("skip.remote_systems[", i, "]");
    for (int e = 0; e < remote.encryptors_size(); ++e) {
      problems.Require(
          encryptors.contains(remote.encryptors(e)) && remote.encryptors(e) != remote.sae(),
          absl::StrCat(path, ".encryptors[", e, "]"),
          "expected the sae of another one of skip.encryptors");
      served.insert(remote.encryptors(e));
    }
    for (const std::string& sae : encryptors) {
      if (remote.encryptors().empty() && sae != remote.sae()) served.insert(sae);
    }
    bool told = skip.advertise().empty();
    for (const std::string& glob : skip.advertise()) {
      told |= glob == remote.system_id() || GlobMatches(glob, remote.system_id());
    }
    problems.Require(told, absl::StrCat(path, ".system_id"),
                     "expected an ID that one of skip.advertise matches");
  }
  for (int i = 0; i < skip.encryptors_size(); ++i) {
    problems.Require(served.contains(skip.encryptors(i).sae()),
                     absl::StrCat("skip.encryptors[", i, "].sae"),
                     "expected one of skip.remote_systems that it may use");
  }
}

void CheckSkip(const Config& config, Problems& problems) {
  const config::v1::Skip& skip = config.skip();
  problems.Require(skip.unavailable_status() == 500 || skip.unavailable_status() == 503,
                   "skip.unavailable_status", "expected 503 or 500");
  const std::set<std::string> encryptors = CheckEncryptors(config, problems);
  CheckRemoteSystems(skip, encryptors, problems);
  if (skip.listen().empty()) return;
  problems.Require(!skip.local_system_id().empty(), "skip.local_system_id",
                   "missing; expected this key provider's ID");
  problems.Require(!encryptors.empty(), "skip.encryptors", "expected one or more");
  problems.Require(config.delivery().min_key_size_bits() <= kSkipKeyBits &&
                       config.delivery().max_key_size_bits() >= kSkipKeyBits,
                   "skip.listen",
                   "expected delivery.min_key_size_bits to max_key_size_bits to hold 256, which "
                   "is what SKIP gives unasked");
}

}  // namespace

std::vector<ConfigProblem> CrossCheck(const Config& config) {
  Problems problems;
  problems.Require(IsPowerOfTwo(config.node().secure_heap_bytes()), "node.secure_heap_bytes",
                   "expected a power of two");
  problems.Require(config.identity().sae_rules_size() > 0, "identity.sae_rules",
                   "expected one rule or more");
  problems.Require(config.identity().node_rules_size() > 0, "identity.node_rules",
                   "expected one rule or more");
  std::set<std::string> saes;
  for (int i = 0; i < config.saes_size(); ++i) {
    problems.Require(saes.insert(config.saes(i).id()).second, absl::StrCat("saes[", i, "].id"),
                     "expected an ID that no other SAE has");
  }
  CheckDelivery(config.delivery(), config.pools(), problems);
  CheckLinks(config, problems);
  CheckSkip(config, problems);
  CheckQuotas(config, problems);
  problems.Require(config.pools().idle_target_bytes() <= config.pools().target_bytes(),
                   "pools.idle_target_bytes", "expected at most target_bytes");
  problems.Require(
      config.lease().stream_lease_bytes_min() <= config.lease().stream_lease_bytes_max(),
      "lease.stream_lease_bytes_max", "expected at least stream_lease_bytes_min");
  problems.Require(config.relay().segment_bytes_max() % 4 == 0, "relay.segment_bytes_max",
                   "expected a multiple of 4");
  problems.Require(FromProto(config.routing().expiry()) > FromProto(config.routing().refresh()),
                   "routing.expiry", "expected more than refresh");
  return problems.Take();
}

}  // namespace keyhop
