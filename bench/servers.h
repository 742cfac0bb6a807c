#ifndef KEYHOP_BENCH_SERVERS_H_
#define KEYHOP_BENCH_SERVERS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kms/tls/certificate.h"

// What the transports cost alone: servers with the key manager's credentials and nothing behind
// them. Each runs until SIGTERM or SIGINT.

namespace keyhop::bench {

// KeyDelivery.GetKey at `address` (HOST:PORT): every call gets the same container of one key of
// `key_bytes` zero bytes, through gRPC's callback API.
absl::Status ServeGrpcEcho(const std::string& address, const PemFiles& files, int key_bytes);

// HTTP/1.1 with keep-alive over TLS at `address` (IP:PORT), by Boost.Beast on one thread: every
// request gets the same key container. The TLS set-up is the key manager's own.
absl::Status ServeRestEmpty(const std::string& address, const PemFiles& files,
                            const std::vector<std::string>& groups, int key_bytes);

// Blocks SIGTERM and SIGINT for this thread and those that it starts; to be called before a server
// starts its own.
void BlockEndSignals();
void WaitForEndSignal();

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_SERVERS_H_
