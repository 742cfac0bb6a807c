#ifndef KEYHOP_KMS_TLS_PSK_CONTEXT_H_
#define KEYHOP_KMS_TLS_PSK_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "kms/tls/psk_file.h"

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

namespace keyhop {

// Which suites a listener for encryptors offers (draft-cisco-skip-02: TLS modes).
struct PskSetUp {
  std::shared_ptr<PskFile> keys = {};  // Null: certificates only.
  // TLS 1.2 also with CBC suites, DHE-PSK and static RSA, that the draft names for old clients.
  bool cbc_suites = false;
};

// Narrows a context of MakeServerContext to TLS_AES_256_GCM_SHA384 (TLS 1.3) and AES-256-GCM (TLS
// 1.2), and lets clients authenticate by a pre-shared key instead of a certificate: DHE-PSK and PSK
// in TLS 1.2 (RFC 4279, RFC 5487), an external PSK with a fresh key agreement in TLS 1.3 (RFC 8446
// §4.2.11). A key is copied into OpenSSL's buffer when a handshake asks for it; OpenSSL wipes that.
// ExplainFailedHandshake tells the identity that was offered, and whether it is known.
absl::Status SetUpPsk(SSL_CTX* context, const PskSetUp& set_up);

// Which entry of the file authenticated the other end.
struct PskPeer {
  std::string identity;
  uint64_t serial = 0;
};

// Of a finished handshake; nothing if it was not authenticated by a pre-shared key.
std::optional<PskPeer> PskPeerOf(const SSL* ssl);

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_PSK_CONTEXT_H_
