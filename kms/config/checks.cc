#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kms/config/config.h"

namespace keyhop {
namespace {

using config::v1::Config;

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
