#include "sim/linksim/node_credentials.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"

namespace keyhop {
namespace {

constexpr unsigned kReloadSeconds = 10;

class NodeVerifier final : public grpc::experimental::ExternalCertificateVerifier {
 public:
  explicit NodeVerifier(std::string uri) : uri_(std::move(uri)) {}

  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)> /*callback*/, grpc::Status* sync_status) override {
    std::string found;
    for (const grpc::string_ref& uri : request->uri_names()) {
      const absl::string_view name(uri.data(), uri.size());
      if (name == uri_) {
        *sync_status = grpc::Status::OK;
        return true;
      }
      if (found.size() < 200) absl::StrAppend(&found, found.empty() ? "" : ", ", name);
    }
    *sync_status = grpc::Status(
        grpc::StatusCode::UNAUTHENTICATED,
        absl::StrCat("the server's certificate names ", found.empty() ? "no URI" : found,
                     " as subject alternative name; expected ", uri_));
    return true;
  }

  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest* /*request*/) override {}

 private:
  const std::string uri_;
};

absl::Status CheckPem(const std::string& path, absl::string_view field, absl::string_view mark,
                      absl::string_view what) {
  std::ifstream file(path);
  std::string line;
  while (file && std::getline(file, line)) {
    if (absl::StartsWith(line, "-----BEGIN ") && absl::StrContains(line, mark)) {
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("tls.", field, ": ", path, ": expected a readable PEM file with ", what));
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  KEYHOP_RETURN_IF_ERROR(
      CheckPem(files.ca, "ca", "CERTIFICATE", "the CA certificates of the node trust store"));
  KEYHOP_RETURN_IF_ERROR(
      CheckPem(files.cert, "cert", "CERTIFICATE", "the certificate of the QKD modules"));
  return CheckPem(files.key, "key", "PRIVATE KEY", "the private key of tls.cert");
}

std::string NodeUri(absl::string_view node_id) { return absl::StrCat("keyhop://node/", node_id); }

std::shared_ptr<grpc::Channel> DialNode(const std::string& host_port, absl::string_view node_id,
                                        const TlsFiles& files) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          files.key, files.cert, files.ca, kReloadSeconds));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_verify_server_certs(true);
  options.set_check_call_host(false);
  options.set_certificate_verifier(
      grpc::experimental::ExternalCertificateVerifier::Create<NodeVerifier>(NodeUri(node_id)));

  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // gRPC compares names by itself and logs an error for each connection where they differ.
  arguments.SetSslTargetNameOverride(NodeUri(node_id));
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, host_port);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // Also the time that one attempt, with its handshake, may take.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(host_port, grpc::experimental::TlsCredentials(options),
                                   arguments);
}

}  // namespace keyhop
