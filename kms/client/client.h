#ifndef KEYHOP_KMS_CLIENT_CLIENT_H_
#define KEYHOP_KMS_CLIENT_CLIENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/base/instant.h"
#include "kms/client/failure.h"
#include "kms/core/delivery/request.h"
#include "kms/tls/certificate.h"

namespace keyhop {

// How often and when a call is made again. A draw that may already have been done is never made
// again by accident: see Client.
struct RetryPolicy {
  int attempts_max = 4;  // 1: never again.
  // Between two attempts where the node gives no hint; doubled each time.
  Duration wait_min = Duration::Millis(100);
  Duration wait_max = Duration::Seconds(5);
};

struct ClientConfig {
  std::string node;  // HOST:PORT of the gRPC listener of the SAE's own node.
  PemFiles tls;      // The SAE's certificate and key; the CA of the nodes.
  // For a call with all its attempts.
  Duration timeout = Duration::Seconds(10);
  RetryPolicy retry = {};
};

// What a request may carry beside what it asks for.
struct CallOptions {
  // Names this request for ever: the node answers a second one under the same key with the same
  // answer. With a key a call whose answer was lost is made again; without one it is not. Make one
  // with NewIdempotencyKey and keep it where a restart of yours finds it, if it must survive that.
  std::optional<std::string> idempotency_key = {};
};

struct DrawOptions : CallOptions {
  uint64_t number = 1;
  std::optional<uint64_t> size_bits = {};  // Absent: the node's default.
  std::vector<SaeId> additional_slaves = {};
};

// One SAE's way to its node, over gRPC with mutual TLS (proto/keyhop/delivery/v1):
//
//   auto client = Client::Connect({.node = "127.0.0.1:9443", .tls = {...}});
//   auto drawn = (*client)->Draw(SaeId("bob"));          // at alice's node
//   auto fetched = (*client)->Fetch(SaeId("alice"), ids) // at bob's node
//
// When a call fails, KindOf(status) tells what is known, RetryAfter(status) when to come back. A call
// is made again (RetryPolicy) only where that cannot do anything twice:
//   - the node was never reached;
//   - the node answered that it has no key now: it then drew nothing;
//   - the connection broke under a request that has an idempotency key, or that only reads.
// A draw without a key whose answer was lost ends with kLost: its keys are gone, and no other are
// drawn unless you ask.
//
// Thread-safe. Key bytes are wiped from every message of this library; gRPC's own copy of the
// received bytes is out of reach.
class Client {
 public:
  // Opens no connection yet. INVALID_ARGUMENT and others: a file that cannot be used, and why.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(ClientConfig config);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // What could be drawn for `slave` now (ETSI GS QKD 014 V1.1.1 §5.1).
  absl::StatusOr<PairStatus> Status(const SaeId& slave);

  // Fresh keys that `slave` can fetch; the caller is their master (§5.2). All or none.
  absl::StatusOr<KeyContainer> Draw(const SaeId& slave, const DrawOptions& options = {});

  // Keys that `master` drew for the caller, each once, all or none (§5.3). `key_ids` are UUIDs as
  // text.
  absl::StatusOr<KeyContainer> Fetch(const SaeId& master, const std::vector<std::string>& key_ids,
                                     const CallOptions& options = {});

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// 122 random bits as a UUID.
std::string NewIdempotencyKey();

}  // namespace keyhop

#endif  // KEYHOP_KMS_CLIENT_CLIENT_H_
