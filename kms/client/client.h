#ifndef KEYHOP_KMS_CLIENT_CLIENT_H_
#define KEYHOP_KMS_CLIENT_CLIENT_H_

#include <cstdint>
#include <map>
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

// For applications: keys of one SAE from its node, over gRPC (proto/keyhop/delivery/v1).
//
//   auto alice = Client::Create({.node = "127.0.0.1:9443", .tls = {...}});
//   auto drawn = (*alice)->Draw(SaeId("bob"));               // at alice's node
//   auto fetched = (*bob)->Fetch(SaeId("alice"), {key_id});  // at bob's node
//
// What is asked again, and what is not. When a call fails, KindOf(status) says what is known of it:
//
//   kNoConnection  the request never left                    asked again
//   kUnavailable   the node said: not now; it drew nothing   asked again, when the node said
//   kLost          the node may have done it                 asked again if that cannot do it
//   twice:
//                                                            a status, or an idempotency key is set
//   kRefused       the node said no                          not asked again
//
// So no key is drawn that nobody gets, unless the caller asks for another. A lost answer without an
// idempotency key means lost keys; the node burns them when their life is over. With one the node
// keeps its answer for a window (by default 60 s) and repeats it, which costs the node a write to
// its disk, and an SAE has a limited number of such answers open (by default 1,000): set one where
// a key counts, draw without one or by a stream where the next key is as good.

namespace keyhop {

struct RetryPolicy {
  int attempts_max = 4;  // 1: a call is never made again.
  // Between two attempts where the node gave no hint; doubled each time.
  Duration wait_min = Duration::Millis(100);
  Duration wait_max = Duration::Seconds(5);
};

struct ClientConfig {
  std::string node = {};  // HOST:PORT of the gRPC listener of the SAE's own node.
  PemFiles tls = {};      // The SAE's certificate and key; the CA of the nodes.
  // For a call with all its attempts, and for the next keys of a stream.
  Duration timeout = Duration::Seconds(10);
  RetryPolicy retry = {};
};

// Names a request for ever: 1 to 255 printable ASCII characters. Make one with NewIdempotencyKey
// and use it for this request alone; who wants to ask again after a restart of its own keeps it on
// disk.
using IdempotencyKey = std::optional<std::string>;

// ETSI GS QKD 014 V1.1.1 §6.2; parameters of extensions are JSON texts by name.
struct DrawOptions {
  uint64_t number = 1;
  std::optional<uint64_t> size_bits = {};  // Absent: the node's default.
  std::vector<SaeId> additional_slaves = {};
  std::map<std::string, std::string> extension_mandatory = {};
  std::map<std::string, std::string> extension_optional = {};
  IdempotencyKey idempotency_key = {};
};

struct FetchOptions {
  IdempotencyKey idempotency_key = {};
};

struct StreamOptions {
  std::optional<uint64_t> size_bits = {};  // Absent: the node's default.
  uint64_t container_keys = 16;            // Keys that one Next() gives at most.
  // Keys that the node may draw before they are asked for. With the stream these are lost.
  uint32_t ahead_keys = 64;
};

// Fresh keys one after the other. For one thread at a time. Ends with its destruction; its client
// may go before it.
class KeyStream {
 public:
  virtual ~KeyStream() = default;
  // The next keys, one or more; waits for them. Where the node says "not now" or there is no
  // connection the stream is opened again, as the head of this file says of a call. After any
  // failure the stream is over and says the same for ever.
  virtual absl::StatusOr<KeyContainer> Next() = 0;
};

// One SAE's way to its node, by mutual TLS. Thread-safe; one connection serves all calls. Key bytes
// are wiped from every message of this library; gRPC's own copy of what came in is out of reach.
class Client {
 public:
  // Opens no connection yet. Fails, with the reason, when a file cannot be used.
  static absl::StatusOr<std::unique_ptr<Client>> Create(ClientConfig config);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // What could be drawn for `slave` now (ETSI GS QKD 014 V1.1.1 §5.1).
  absl::StatusOr<PairStatus> Status(const SaeId& slave);

  // Fresh keys that `slave` can fetch; the caller is their master (§5.2). All or none.
  absl::StatusOr<KeyContainer> Draw(const SaeId& slave, const DrawOptions& options = {});

  // Keys that `master` drew for the caller, each once, all or none (§5.3).
  absl::StatusOr<KeyContainer> Fetch(const SaeId& master, const std::vector<KeyId>& key_ids,
                                     const FetchOptions& options = {});

  // Draws until the stream is destroyed, without a request for each key.
  std::unique_ptr<KeyStream> Stream(const SaeId& slave, const StreamOptions& options = {});

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// 122 random bits as a UUID.
std::string NewIdempotencyKey();

}  // namespace keyhop

#endif  // KEYHOP_KMS_CLIENT_CLIENT_H_
