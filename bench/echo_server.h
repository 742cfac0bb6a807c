#ifndef KEYHOP_BENCH_ECHO_SERVER_H_
#define KEYHOP_BENCH_ECHO_SERVER_H_

#include <string>

#include "absl/status/status.h"
#include "kms/tls/certificate.h"

namespace keyhop::bench {

// Serves KeyDelivery.GetKey at `address` (HOST:PORT) until SIGTERM or SIGINT, with the key
// manager's credentials and nothing behind it: every call gets the same container of one key of
// `key_bytes` zero bytes. What gRPC and mutual TLS cost alone.
absl::Status ServeEcho(const std::string& address, const PemFiles& files, int key_bytes);

}  // namespace keyhop::bench

#endif  // KEYHOP_BENCH_ECHO_SERVER_H_
