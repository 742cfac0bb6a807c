#include "tests/kms/skip/psk_client.h"

#include <algorithm>
#include <cstring>

#include "kms/base/check.h"

namespace keyhop {
namespace {

const PskClient& ClientOf(SSL* ssl) {
  return *static_cast<const PskClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

unsigned GiveKey(SSL* ssl, const char*, char* identity, unsigned identity_room, unsigned char* key,
                 unsigned key_room) {
  const PskClient& client = ClientOf(ssl);
  KEYHOP_CHECK(client.identity.size() < identity_room && client.key.size() <= key_room, "room");
  std::memcpy(identity, client.identity.c_str(), client.identity.size() + 1);
  std::memcpy(key, client.key.data(), client.key.size());
  return static_cast<unsigned>(client.key.size());
}

int GiveSession(SSL* ssl, const EVP_MD*, const unsigned char** identity, size_t* size,
                SSL_SESSION** out) {
  const PskClient& client = ClientOf(ssl);
  const unsigned char number[] = {0x13, static_cast<unsigned char>(client.sha256 ? 0x01 : 0x02)};
  SSL_SESSION* session = SSL_SESSION_new();
  SSL_SESSION_set1_master_key(session, reinterpret_cast<const unsigned char*>(client.key.data()),
                              client.key.size());
  SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, number));
  SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
  *identity = reinterpret_cast<const unsigned char*>(client.identity.data());
  *size = client.identity.size();
  *out = session;
  return 1;
}

}  // namespace

void UsePsk(SSL_CTX* context, const PskClient& client) {
  SSL_CTX_set_app_data(context, const_cast<PskClient*>(&client));
  SSL_CTX_set_min_proto_version(context, client.version);
  SSL_CTX_set_max_proto_version(context, client.version);
  if (client.version == TLS1_3_VERSION) {
    SSL_CTX_set_psk_use_session_callback(context, GiveSession);
  } else {
    KEYHOP_CHECK(SSL_CTX_set_cipher_list(context, client.suites12.c_str()) == 1, "suites");
    SSL_CTX_set_psk_client_callback(context, GiveKey);
  }
}

}  // namespace keyhop
