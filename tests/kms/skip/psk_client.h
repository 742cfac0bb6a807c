#ifndef KEYHOP_TESTS_KMS_SKIP_PSK_CLIENT_H_
#define KEYHOP_TESTS_KMS_SKIP_PSK_CLIENT_H_

#include <openssl/ssl.h>

#include <string>

namespace keyhop {

// A client context that authenticates by a pre-shared key, in one version of TLS.
struct PskClient {
  std::string identity;
  std::string key;  // Bytes.
  int version = TLS1_3_VERSION;
  std::string suites12 = "DHE-PSK-AES256-GCM-SHA384:PSK-AES256-GCM-SHA384";
  bool sha256 = false;  // In TLS 1.3: the key is for SHA-256, as a draft-blind client has it.
};

// Sets `context` up as `client` says, which outlives it.
void UsePsk(SSL_CTX* context, const PskClient& client);

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_SKIP_PSK_CLIENT_H_
