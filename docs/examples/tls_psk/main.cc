// TLS 1.3 between two SAEs without certificates: each connection is authenticated by a key from
// QKD, and its identity on the wire is the key_ID.
//
//   keyhop-example-tls-psk server --partner sae-a --at HOST:PORT --node HOST:PORT --ca F --cert F
//   --key F keyhop-example-tls-psk client --partner sae-b --at HOST:PORT --node ... --rounds 3
//
// The client draws a key at its node and shows its key_ID in the handshake; the server, which sends
// back what it gets, fetches the key of that key_ID at its own node. The two need no other channel.
// The key never leaves the process: OpenSSL takes it by a callback.
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "docs/examples/tls_psk/psk_session.h"
#include "kms/client/client.h"
#include "kms/core/uuid.h"
#include "kms/crypto/secure_heap.h"

namespace keyhop::example {
namespace {

struct Options {
  ClientConfig client = {};
  SaeId partner = {};
  std::string at = {};
  int rounds = 1;
};

// One connection, found again by OpenSSL's callbacks.
struct Connection {
  Client& client;
  const SaeId& partner;
  std::string key_id = {};
  SecretBytes key = {};
};

Connection& Of(SSL* ssl) { return *static_cast<Connection*>(SSL_get_app_data(ssl)); }

// The server's side of the handshake. "No session" makes it fail: there is no certificate to go on
// with. OpenSSL asks twice when it has the client say hello again, and a key is fetched once.
int FindSession(SSL* ssl, const unsigned char* identity, size_t size, SSL_SESSION** session) {
  Connection& connection = Of(ssl);
  *session = nullptr;
  const std::string key_id(reinterpret_cast<const char*>(identity), size);
  const std::optional<KeyId> id = ParseUuid(key_id);
  if (!id.has_value()) return 1;
  if (connection.key_id != key_id) {
    absl::StatusOr<KeyContainer> fetched = connection.client.Fetch(
        connection.partner, {*id}, {.idempotency_key = NewIdempotencyKey()});
    if (!fetched.ok()) {
      std::printf("%s: %s\n", key_id.c_str(), std::string(fetched.status().message()).c_str());
      return 1;
    }
    connection.key_id = key_id;
    connection.key = std::move(fetched->keys.front().key);
  }
  *session = MakePskSession(ssl, connection.key).release();
  return *session == nullptr ? 0 : 1;
}

// The client's side.
int UseSession(SSL* ssl, const EVP_MD*, const unsigned char** identity, size_t* size,
               SSL_SESSION** session) {
  const Connection& connection = Of(ssl);
  *identity = reinterpret_cast<const unsigned char*>(connection.key_id.data());
  *size = connection.key_id.size();
  *session = MakePskSession(ssl, connection.key).release();
  return *session == nullptr ? 0 : 1;
}

void SetTimeout(BIO* socket) {
  const timeval limit = {.tv_sec = 10, .tv_usec = 0};
  const int fd = static_cast<int>(BIO_get_fd(socket, nullptr));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

bool Failed(const char* what) {
  std::printf("%s: %s\n", what, WhyNot().c_str());
  return false;
}

// Sends back what comes, until the client leaves.
bool Echo(SSL_CTX* context, Client& client, const SaeId& partner, BIO* socket) {
  Connection connection = {.client = client, .partner = partner};
  SetTimeout(socket);
  const SslPtr ssl(SSL_new(context));
  SSL_set_app_data(ssl.get(), &connection);
  SSL_set_bio(ssl.get(), socket, socket);
  errno = 0;
  if (SSL_accept(ssl.get()) != 1) return Failed("handshake");
  std::printf("%s: connected\n", connection.key_id.c_str());
  char bytes[4096];
  int size = 0;
  while ((size = SSL_read(ssl.get(), bytes, sizeof bytes)) > 0) {
    if (SSL_write(ssl.get(), bytes, size) != size) return Failed("write");
  }
  SSL_shutdown(ssl.get());
  return true;
}

bool Serve(const Options& options, Client& client) {
  const ContextPtr context = MakeContext(TLS_server_method());
  const BioPtr listener(BIO_new_accept(options.at.c_str()));
  if (context == nullptr || listener == nullptr) return Failed("set-up");
  SSL_CTX_set_psk_find_session_callback(context.get(), FindSession);
  if (BIO_do_accept(listener.get()) != 1) return Failed(options.at.c_str());
  std::printf("listening on %s:%s\n", BIO_get_accept_name(listener.get()),
              BIO_get_accept_port(listener.get()));
  while (BIO_do_accept(listener.get()) == 1) {
    Echo(context.get(), client, options.partner, BIO_pop(listener.get()));
  }
  return Failed("accept");
}

bool Round(SSL_CTX* context, const Options& options, Client& client, int number) {
  absl::StatusOr<KeyContainer> drawn =
      client.Draw(options.partner, {.size_bits = 256, .idempotency_key = NewIdempotencyKey()});
  if (!drawn.ok()) {
    std::printf("draw: %s\n", std::string(drawn.status().message()).c_str());
    return false;
  }
  DeliveredKey& key = drawn->keys.front();
  Connection connection = {.client = client,
                           .partner = options.partner,
                           .key_id = FormatUuid(key.id),
                           .key = std::move(key.key)};
  BioPtr socket(BIO_new_connect(options.at.c_str()));
  errno = 0;
  if (socket == nullptr || BIO_do_connect(socket.get()) != 1) return Failed(options.at.c_str());
  SetTimeout(socket.get());
  const SslPtr ssl(SSL_new(context));
  SSL_set_app_data(ssl.get(), &connection);
  BIO* const raw = socket.release();
  SSL_set_bio(ssl.get(), raw, raw);
  if (SSL_connect(ssl.get()) != 1) return Failed("handshake");
  const std::string text = "round " + std::to_string(number);
  char back[64] = {};
  if (SSL_write(ssl.get(), text.data(), static_cast<int>(text.size())) <= 0 ||
      SSL_read(ssl.get(), back, sizeof back - 1) <= 0) {
    return Failed("traffic");
  }
  std::printf("%s: %s\n", connection.key_id.c_str(), back);
  SSL_shutdown(ssl.get());
  return text == back;
}

bool Call(const Options& options, Client& client) {
  const ContextPtr context = MakeContext(TLS_client_method());
  if (context == nullptr) return Failed("set-up");
  SSL_CTX_set_psk_use_session_callback(context.get(), UseSession);
  // Who does not know the key might show a certificate instead: none is trusted.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  for (int number = 1; number <= options.rounds; ++number) {
    if (!Round(context.get(), options, client, number)) return false;
  }
  return true;
}

int Main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (!DisableCoreDumps().ok() || !InitSecureHeap().ok()) {
    std::fprintf(stderr, "no place for secrets\n");
    return 1;
  }
  Options options;
  std::string role;
  CLI::App app("TLS 1.3 with pre-shared keys from QKD");
  app.add_option("role", role)->required()->check(CLI::IsMember({"server", "client"}));
  app.add_option("--partner", options.partner.value, "the other end's SAE ID")->required();
  app.add_option("--at", options.at, "HOST:PORT of the TLS server; port 0: any, it says which")
      ->required();
  app.add_option("--node", options.client.node, "HOST:PORT of the own node's gRPC")->required();
  app.add_option("--ca", options.client.tls.peer_ca)->required();
  app.add_option("--cert", options.client.tls.cert)->required();
  app.add_option("--key", options.client.tls.key)->required();
  app.add_option("--rounds", options.rounds, "connections of the client, each with a new key");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(options.client);
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", std::string(client.status().message()).c_str());
    return 1;
  }
  return (role == "server" ? Serve(options, **client) : Call(options, **client)) ? 0 : 1;
}

}  // namespace
}  // namespace keyhop::example

int main(int argc, char** argv) { return keyhop::example::Main(argc, argv); }
