#ifndef KEYHOP_TRUSTED_NODE_DAEMON_DAEMON_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_DAEMON_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/config/config.h"
#include "kms/crypto/secure_heap.h"

namespace keyhop {

inline constexpr char kVersion[] = "0.1.0";

// One key manager of a trusted node: store, core, and all its listeners. The one place where the
// parts are put together.
class Daemon {
 public:
  // Opens the store, recovers, and listens; ready when it returns, with or without peers. The error
  // says what is wrong and where; nothing is left running.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const config::v1::Config& config,
                                                       const SecureHeap& heap);
  ~Daemon();

  // Answers what is under way, ends all streams, makes everything durable, replaces the store key.
  void Stop();
  // Reads the certificates of the HTTPS listeners again (those of gRPC are watched).
  absl::Status ReloadTls();

 private:
  struct Impl;
  explicit Daemon(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_DAEMON_H_
