#include "kms/tls/asio_context.h"

#include <openssl/ssl.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kms/base/status_macros.h"
#include "kms/crypto/trust_store.h"
#include "kms/tls/openssl_types.h"
#include "kms/tls/verification.h"

namespace keyhop {
namespace {

constexpr char kTls12Suites[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK:!SRP";

absl::Status Failed(const std::string& file, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", what, ": ", tls::TakeOpensslError()));
}

absl::Status SetGroups(SSL_CTX* ctx, const std::vector<std::string>& groups) {
  std::vector<std::string> known;
  for (const std::string& group : groups) {
    if (SSL_CTX_set1_groups_list(ctx, group.c_str()) == 1) known.push_back(group);
  }
  ERR_clear_error();
  if (groups.empty()) return absl::OkStatus();
  if (known.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tls.groups: expected one that this OpenSSL knows: ", absl::StrJoin(groups, ", ")));
  }
  if (SSL_CTX_set1_groups_list(ctx, absl::StrJoin(known, ":").c_str()) != 1) {
    return Failed("tls.groups", absl::StrJoin(known, ", "));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> MakeServerContext(
    const PemFiles& files, const std::vector<std::string>& groups) {
  KEYHOP_RETURN_IF_ERROR(CheckPemFiles(files));
  auto context = std::make_shared<boost::asio::ssl::context>(boost::asio::ssl::context::tls_server);
  SSL_CTX* ctx = context->native_handle();
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_cipher_list(ctx, kTls12Suites) != 1) {
    return Failed("TLS", "minimum version and suites");
  }
  KEYHOP_RETURN_IF_ERROR(SetGroups(ctx, groups));
  if (SSL_CTX_use_certificate_chain_file(ctx, files.cert.c_str()) != 1) {
    return Failed(files.cert, "expected a certificate with its chain (PEM)");
  }
  if (SSL_CTX_use_PrivateKey_file(ctx, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Failed(files.key, "expected a private key (PEM)");
  }
  if (SSL_CTX_load_verify_file(ctx, files.peer_ca.c_str()) != 1) {
    return Failed(files.peer_ca, "expected CA certificates (PEM)");
  }
  RequireStrengthAndRevocation(SSL_CTX_get_cert_store(ctx));
  // Clients choose among several certificates by the names that the server sends.
  SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(files.peer_ca.c_str()));
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  NoteVerification(ctx, files.peer_ca);
  // Sessions are not resumed: each connection shows its certificate, and an expired one ends there.
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(ctx, 0);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  return context;
}

}  // namespace keyhop
